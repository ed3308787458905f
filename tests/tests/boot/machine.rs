//! One boot of a virtual machine, and what it says.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tests::boot::{BOOT, Line, programs};

use crate::kit::{Kernel, Kit};

/// How much of the kernel's console is shown when something failed.
const CONSOLE_LINES: usize = 40;
/// How much is shown of what a kernel said when it found itself broken, whose first lines say why.
const OOPS_LINES: usize = 80;
/// With what such a report begins.
const OOPS: [&str; 8] = [
    "cut here ]",
    "BUG: ",
    "Oops: ",
    "general protection fault",
    "int3: ",
    "watchdog: ",
    "rcu: INFO",
    "Kernel panic",
];

/// A machine that runs. Dropping it cuts its power.
pub struct Machine {
    qemu: Child,
    lines: Receiver<Line>,
    console: PathBuf,
}

/// What it boots from, and when it believes to be.
pub struct Boot<'a> {
    /// 1 or 2.
    pub number: u32,
    /// A cpio archive.
    pub initramfs: &'a Path,
    /// An image of a disk.
    pub disk: &'a Path,
    /// UTC, as QEMU takes it.
    pub clock: &'a str,
    /// A file for the kernel's console.
    pub console: PathBuf,
}

impl Machine {
    /// Switches it on.
    pub fn start(kit: &Kit, kernel: &Kernel, boot: &Boot) -> io::Result<Machine> {
        let mut command = Command::new(&kit.qemu);
        if let Some(libraries) = &kit.qemu_libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        // Always emulated: in a virtual machine `/dev/kvm` may be there and hang.
        command.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.arg("-rtc").arg(format!("base={}", boot.clock));
        command.arg("-serial").arg(format!("file:{}", boot.console.display()));
        command.args(["-serial", "stdio"]);
        command.arg("-drive").arg(format!("file={},format=raw,if=virtio", boot.disk.display()));
        command.arg("-kernel").arg(kernel.folder.join("vmlinuz"));
        command.arg("-initrd").arg(boot.initramfs);
        let environment = format!("PATH=/bin PORTCULLIS_BIN={} {BOOT}={}", programs::GATEWAY, boot.number);
        command.arg("-append").arg(format!("console=ttyS0 panic=-1 quiet {environment}"));
        let messages = fs::File::create(boot.console.with_extension("qemu"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(messages);
        // SAFETY: only an async-signal-safe system call (prctl) is made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                    .map_err(io::Error::from)
            });
        }
        let mut qemu = command.spawn()?;
        let output = qemu.stdout.take().expect("its output was piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let heard = Line::decode(&String::from_utf8_lossy(&line));
                if heard.is_some_and(|line| sender.send(line).is_err()) {
                    return;
                }
            }
        });
        Ok(Machine { qemu, lines, console: boot.console.clone() })
    }

    /// The next line, until the machine is off (`None`) or the time is over.
    pub fn hear(&self, until: Instant) -> Result<Option<Line>, TooSlow> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(TooSlow),
        }
    }

    /// Cuts the power: nothing in the machine gets a chance to do anything about it.
    pub fn cut(mut self) {
        self.end();
    }

    /// The last words of the kernel and of the emulator; of a kernel that broke, the first ones about that.
    pub fn last_words(&self) -> String {
        let text = |file: PathBuf| fs::read(file).unwrap_or_default();
        let [emulator, console] = [self.console.with_extension("qemu"), self.console.clone()].map(text);
        let text = [String::from_utf8_lossy(&emulator), String::from_utf8_lossy(&console)].concat();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let broke = lines.iter().position(|line| is_oops(line));
        let last = lines.len().saturating_sub(CONSOLE_LINES);
        let shown = match broke {
            Some(first) if first < last => &lines[first..lines.len().min(first + OOPS_LINES)],
            _ => &lines[last..],
        };
        shown.join("\n")
    }

    /// Whether its kernel found itself broken.
    pub fn broke(&self) -> bool {
        let console = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&console).lines().any(is_oops)
    }

    fn end(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

fn is_oops(line: &str) -> bool {
    OOPS.iter().any(|sign| line.contains(sign))
}

/// The machine did not say the next line in time.
#[derive(Debug)]
pub struct TooSlow;

/// The time from now in which a machine must be through.
pub const LIMIT: Duration = Duration::from_secs(55 * 60);
