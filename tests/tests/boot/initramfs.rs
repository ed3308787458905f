//! The first file system of a machine: a cpio archive ("newc", as the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst` has it) of a few programs, the libraries that `ldd` names
//! for them, and modules.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An archive that is being written, in memory.
#[derive(Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    inode: u32,
    /// Paths that are in it, without the leading `/`.
    known: BTreeSet<String>,
}

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

impl Initramfs {
    /// Adds a program at `place` (absolute), without its debug information, and the libraries that it loads at the
    /// places where they are here. `scratch` is a folder for a file in between.
    pub fn program(&mut self, place: &str, program: &Path, scratch: &Path) -> io::Result<()> {
        let stripped = scratch.join("stripped");
        let strip = Command::new("strip").args(["--strip-debug", "-o"]).arg(&stripped).arg(program).status();
        // A machine without binutils boots a larger archive.
        let source = if strip.is_ok_and(|status| status.success()) { &stripped } else { program };
        self.file(place, &fs::read(source)?);
        for library in libraries(program)? {
            if !self.known.contains(relative(&library)) {
                self.file(&library, &fs::read(&library)?);
            }
        }
        Ok(())
    }

    /// Adds a file, and the folders above it.
    pub fn file(&mut self, place: &str, content: &[u8]) {
        self.folders_above(place);
        self.entry(relative(place), EXECUTABLE, content);
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn folders_above(&mut self, place: &str) {
        let place = relative(place);
        for (at, _) in place.match_indices('/') {
            if !self.known.contains(&place[..at]) {
                self.entry(&place[..at], DIRECTORY, &[]);
            }
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.known.insert(name.to_owned());
        self.inode += 1;
        let size = u32::try_from(content.len()).expect("no file here has 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("no name has 4 GiB");
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents begin at multiples of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn relative(place: &str) -> &str {
    place.trim_start_matches('/')
}

/// The libraries that a program loads, and the loader; none for a static one.
fn libraries(program: &Path) -> io::Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(paths(&said).map(|path| path.to_string_lossy().into_owned()).collect())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`
fn paths(said: &str) -> impl Iterator<Item = PathBuf> {
    said.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
}
