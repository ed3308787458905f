//! One kernel: its two boots on one disk, and what is heard of the tests in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tests::boot::{FIRST_CLOCK, Line, MODULES, SECOND_CLOCK, programs, steps};
use tests::gateway;

use crate::harness::Verdict;
use crate::initramfs::Initramfs;
use crate::kit::{Kernel, Kit, executable, xdp_objects};
use crate::machine::{Boot, LIMIT, Machine};

/// Programs of this host that the machine needs: the harness makes namespaces with the first and pins with the second,
/// and the kernel stage stands beside what the others load.
const HOST_PROGRAMS: [&str; 4] = ["ip", "bpftool", "xdp-filter", "xdp-loader"];
/// Size of the disk.
const DISK_BYTES: u64 = 64 << 20;

/// Boots the kernel twice and sends a verdict for each of `wanted`, whatever happens.
pub fn run(kit: &Kit, kernel: &Kernel, wanted: &[String], verdicts: &Sender<Verdict>) {
    let folder = gateway::folder();
    let mut session = Session { kit, kernel, verdicts, missing: wanted.to_vec() };
    let mut end = session.boot_twice(&folder);
    // An emulated kernel was seen to fall over while it sent a frame, once in some tens of runs. What our program breaks
    // breaks again.
    if let Err(End::Broke(words)) = &end {
        println!("linux-{}: the kernel broke, and is booted once more; it said:\n{words}", kernel.series);
        end = session.boot_twice(&folder);
    }
    let reason = match end {
        Ok(()) => "the machine did not run it".to_owned(),
        Err(End::Broke(reason) | End::Other(reason)) => reason,
    };
    for test in session.missing {
        // Nobody listens any more only when the run is over.
        let _ = verdicts.send(Verdict { test, failure: Some(reason.clone()) });
    }
    let _ = fs::remove_dir_all(&folder);
}

/// Why the machine did not get to its end.
enum End {
    /// Its kernel found itself broken.
    Broke(String),
    /// Anything else.
    Other(String),
}

struct Session<'a> {
    kit: &'a Kit,
    kernel: &'a Kernel,
    verdicts: &'a Sender<Verdict>,
    missing: Vec<String>,
}

impl Session<'_> {
    fn boot_twice(&mut self, folder: &Path) -> Result<(), End> {
        let until = Instant::now() + LIMIT;
        let (initramfs, disk) =
            self.prepare(folder).map_err(|error| End::Other(format!("no machine can be made: {error}")))?;
        for (number, clock) in [(1, FIRST_CLOCK), (2, SECOND_CLOCK)] {
            let console = folder.join(format!("console-{number}"));
            let boot = Boot { number, initramfs: &initramfs, disk: &disk, clock, console };
            self.boot(&boot, until)?;
        }
        Ok(())
    }

    /// Listens until the machine is to be cut off, or is done. A story that broke off does not keep the second boot
    /// from running the tests.
    fn boot(&mut self, boot: &Boot, until: Instant) -> Result<(), End> {
        let machine = Machine::start(self.kit, self.kernel, boot)
            .map_err(|error| End::Other(format!("{} does not start: {error}", self.kit.qemu.display())))?;
        // What a filter left out is not waited for.
        while !self.missing.is_empty() {
            let why = match machine.hear(until) {
                Ok(Some(Line::Fact(fact))) => {
                    println!("linux-{}, boot {}: {fact}", self.kernel.series, boot.number);
                    continue;
                }
                Ok(Some(Line::Passed(test))) => {
                    self.verdict(&test, None);
                    continue;
                }
                Ok(Some(Line::Failed(test, why))) => {
                    self.verdict(&test, Some(format!("{why}\n--- console ---\n{}", machine.last_words())));
                    continue;
                }
                Ok(Some(Line::Cut)) => {
                    machine.cut();
                    return Ok(());
                }
                Ok(Some(Line::Done)) => return Ok(()),
                Ok(None) => "ended early".to_owned(),
                Err(_) => format!("was not done within {LIMIT:?}"),
            };
            let words = machine.last_words();
            let end = if machine.broke() { End::Broke } else { End::Other };
            return Err(end(format!(
                "boot {} of {} {why}; its last words:\n{words}",
                boot.number, self.kernel.release
            )));
        }
        Ok(())
    }

    fn verdict(&mut self, test: &str, failure: Option<String>) {
        let step = steps::ALL.contains(&test);
        let test = if step { self.kernel.story(test) } else { self.kernel.verdict(test) };
        // Already heard before the kernel broke.
        if !self.missing.contains(&test) {
            return;
        }
        self.missing.retain(|missing| *missing != test);
        // Nobody listens any more only when the run is over.
        let _ = self.verdicts.send(Verdict { test, failure });
    }

    /// Writes the archive that is booted from, and an empty disk.
    fn prepare(&self, folder: &Path) -> io::Result<(PathBuf, PathBuf)> {
        let mut archive = Initramfs::default();
        archive.program(programs::GUEST, env!("CARGO_BIN_EXE_boot-guest").as_ref(), folder)?;
        archive.program(programs::GATEWAY, &gateway::binary(), folder)?;
        archive.program(programs::VERDICT, &self.kit.verdict, folder)?;
        for name in HOST_PROGRAMS {
            let program =
                executable(name).ok_or_else(|| io::Error::other(format!("there is no `{name}` here")))?;
            archive.program(&format!("/bin/{name}"), &program, folder)?;
        }
        for entry in fs::read_dir(xdp_objects()?)? {
            let object = entry?.path();
            archive.file(&object.to_string_lossy(), &fs::read(&object)?);
        }
        for entry in fs::read_dir(self.kernel.folder.join("modules"))? {
            let entry = entry?;
            let place = format!("{MODULES}/{}", entry.file_name().to_string_lossy());
            archive.file(&place, &fs::read(entry.path())?);
        }
        let (initramfs, disk) = (folder.join("initramfs"), folder.join("disk"));
        fs::write(&initramfs, archive.finish())?;
        fs::File::create(&disk)?.set_len(DISK_BYTES)?;
        let mkfs = executable("mkfs.ext4").ok_or_else(|| io::Error::other("there is no `mkfs.ext4` here"))?;
        let output = Command::new(mkfs).args(["-q", "-F"]).arg(&disk).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok((initramfs, disk))
    }
}
