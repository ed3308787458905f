//! Where libxdp pins a dispatcher's programs, and the lock under which it does.
//!
//! Source: lib/libxdp/protocol.org of xdp-tools, "Locking and pinning".

use std::{
    env,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::config::PLACES;

/// `xdp` on the BPF file system, which `LIBXDP_BPFFS` moves for all programs that use libxdp.
pub fn root() -> PathBuf {
    env::var_os("LIBXDP_BPFFS").map_or_else(|| PathBuf::from("/sys/fs/bpf"), PathBuf::from).join("xdp")
}

/// Keeps others who follow the protocol from reading or writing the pins while it lives.
pub fn lock(root: &Path) -> io::Result<File> {
    let directory = File::open(root)?;
    flock(&directory, FlockOperation::LockExclusive)?;
    Ok(directory)
}

/// The directory of one dispatcher.
pub fn directory(root: &Path, interface: u32, dispatcher: u32) -> PathBuf {
    root.join(format!("dispatch-{interface}-{dispatcher}"))
}

/// Pin of the program in a place.
pub fn program(directory: &Path, place: usize) -> PathBuf {
    directory.join(format!("prog{place}-prog"))
}

/// Pin of the link that holds it there.
pub fn link(directory: &Path, place: usize) -> PathBuf {
    directory.join(format!("prog{place}-link"))
}

/// Makes the directory of a dispatcher, for root alone, as libxdp does.
pub fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory)
}

/// Removes the directory with everything that the protocol puts there.
pub fn remove(directory: &Path) {
    for place in 0..PLACES {
        // Most places are empty; what cannot be removed keeps the directory, and changes no verdict.
        let _ = fs::remove_file(link(directory, place));
        let _ = fs::remove_file(program(directory, place));
    }
    let _ = fs::remove_dir(directory);
}
