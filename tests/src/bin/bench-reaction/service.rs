//! A program in the background, with a log of what it says; asked to end when dropped, by its own process id.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tests::interrupt;

/// How long it may take to be ready, on a machine that does other things too.
const START_MAX: Duration = Duration::from_secs(90);
/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(10);

/// A running program.
pub struct Service {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it in the namespace of this thread, which must outlive it.
    pub fn start(name: &'static str, mut command: Command, folder: &Path) -> Result<Service> {
        let log = folder.join(format!("{name}.said"));
        let said = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        // Ctrl-C ends the bench, and the bench ends this.
        command.process_group(0);
        // SAFETY: only an async-signal-safe system call (prctl) is made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)
            });
        }
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Service { name, child, log })
    }

    /// Waits until it is ready; an error with the end of its log if it ends before or takes too long.
    pub fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !ready() {
            let trouble = match self.child.try_wait()? {
                Some(status) => Some(format!("ended with {status}")),
                None if started.elapsed() > START_MAX => Some("is not ready".to_owned()),
                None => None,
            };
            if let Some(trouble) = trouble {
                bail!("{} {trouble}: {}", self.name, self.last_words());
            }
            interrupt::sleep(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// Whether it has said this.
    pub fn said(log: &Path, words: &str) -> bool {
        fs::read_to_string(log).is_ok_and(|text| text.contains(words))
    }

    /// Where what it says is kept.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // If it has ended already there is nobody to signal.
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        let asked = Instant::now();
        while asked.elapsed() < END_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
