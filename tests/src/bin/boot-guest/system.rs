//! As much of a system as the gateway needs: file systems, modules, loopback, and the way out.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use tests::boot::{BOOT, MODULES};

/// Where the disk is mounted.
pub const DISK: &str = "/disk";

/// Makes the system; which boot this is.
///
/// # Panics
/// If anything is refused. The end of the first process is a panic of the kernel, which ends the machine.
pub fn set_up() -> u32 {
    for (kind, place) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("bpf", "/sys/fs/bpf"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
    ] {
        mount(kind, kind, place).unwrap_or_else(|error| panic!("cannot mount {place}: {error}"));
    }
    load_modules().expect("the kernel takes its own modules");
    mount("/dev/vda", "ext4", DISK).expect("the disk can be mounted");
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.is_ok_and(|status| status.success()), "loopback is up");
    let boot = std::env::var(BOOT).ok().and_then(|number| number.parse().ok());
    boot.expect("the test says which boot this is")
}

/// The kernel, its processors and its compiler of BPF, for a person.
pub fn description() -> String {
    let word = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    format!(
        "Linux {} {}, {} processors, JIT {}, up {} s",
        word("/proc/sys/kernel/osrelease"),
        word("/proc/sys/kernel/version"),
        std::thread::available_parallelism().map_or(1, usize::from),
        word("/proc/sys/net/core/bpf_jit_enable"),
        word("/proc/uptime").split('.').next().unwrap_or("?"),
    )
}

/// Brings the disk to rest and switches the machine off.
pub fn power_off() -> ! {
    rustix::fs::sync();
    let _ = rustix::mount::unmount(DISK, rustix::mount::UnmountFlags::DETACH);
    let error = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    panic!("the machine does not switch off: {error:?}");
}

fn mount(source: &str, kind: &str, place: &str) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let mounted = rustix::mount::mount(source, place, kind, rustix::mount::MountFlags::empty(), None);
    match mounted {
        // Some kernels mount /dev themselves.
        Err(rustix::io::Errno::BUSY) if kind == "devtmpfs" => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

/// Loads the modules in the order of their file names, in which each comes after what it needs.
fn load_modules() -> io::Result<()> {
    let mut files: Vec<_> =
        fs::read_dir(Path::new(MODULES))?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    for file in files {
        let loaded = rustix::system::finit_module(File::open(&file)?, c"", 0);
        match loaded {
            Err(rustix::io::Errno::EXIST) => {}
            other => other.map_err(|error| {
                io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", file.display()))
            })?,
        }
    }
    Ok(())
}
