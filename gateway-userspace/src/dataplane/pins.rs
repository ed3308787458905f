//! Files on the BPF file system: what keeps maps and links alive without us.
//!
//! Maps are below `v{ABI_VERSION}`, so that builds which disagree about a layout never share one. Links are
//! not: a new version takes over the link of the old one and replaces its program without a gap.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::{MapInfo, MapType};
use gateway_common::{
    ABI_VERSION,
    maps::{Kind, Spec},
    v1,
};
use rustix::mount::MountFlags;

use super::{Error, Mode, error::into_io};

/// Where the kernel's documentation, systemd and every distribution mount it.
const BPF_FILESYSTEM: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_MAGIC: u64 = 0xcafe_4a11;

/// Directory below `links` of the programs that stand in a dispatcher.
const SHARED: &str = "shared";

/// Directory of the maps.
pub fn maps(root: &Path) -> PathBuf {
    root.join(format!("v{ABI_VERSION}"))
}

/// Directory of the maps of the version before.
pub fn old_maps(root: &Path) -> PathBuf {
    root.join(format!("v{}", v1::ABI_VERSION))
}

/// Pin of the link to an interface. The mode is part of the path because the kernel does not tell it.
pub fn link(root: &Path, interface: &str, mode: Mode) -> PathBuf {
    // A BPF file system has no dots in names, a VLAN interface has.
    root.join("links").join(mode.name()).join(interface.replace('.', "%2e"))
}

/// Pin of our program in the dispatcher of libxdp on an interface.
pub fn shared(root: &Path, interface: &str) -> PathBuf {
    root.join("links").join(SHARED).join(interface.replace('.', "%2e"))
}

/// Interfaces that we share, and the pins of our programs there.
pub fn shares(root: &Path) -> Vec<(String, PathBuf)> {
    pinned_in(&root.join("links").join(SHARED))
}

/// Interfaces with a pinned link, and the pins. Empty if there is no such directory, or it cannot be read.
pub fn links(root: &Path) -> Vec<(String, PathBuf)> {
    [Mode::Native, Mode::Generic]
        .iter()
        .flat_map(|mode| pinned_in(&root.join("links").join(mode.name())))
        .collect()
}

fn pinned_in(directory: &Path) -> Vec<(String, PathBuf)> {
    let pins = fs::read_dir(directory).into_iter().flatten().flatten();
    pins.map(|pin| (pin.file_name().to_string_lossy().replace("%2e", "."), pin.path())).collect()
}

/// Makes the directories, and the file system if nothing is mounted at its usual place.
pub fn prepare(root: &Path) -> Result<(), Error> {
    if !is_bpf_filesystem(root) {
        let mounted = if root.starts_with(BPF_FILESYSTEM) {
            rustix::mount::mount("bpf", BPF_FILESYSTEM, "bpf", MountFlags::empty(), None).map_err(Some)
        } else {
            Err(None)
        };
        if let Err(error) = mounted {
            return Err(Error::NoBpfFilesystem { path: root.into(), source: error.map(Into::into) });
        }
    }
    for directory in [
        maps(root),
        root.join("links").join(Mode::Native.name()),
        root.join("links").join(Mode::Generic.name()),
        root.join("links").join(SHARED),
    ] {
        fs::create_dir_all(&directory).map_err(|source| Error::Pin {
            doing: "make the directory",
            path: directory,
            source,
        })?;
    }
    Ok(())
}

/// Whether the nearest existing ancestor of a path is on a BPF file system.
pub fn is_bpf_filesystem(path: &Path) -> bool {
    path.ancestors()
        .find_map(|ancestor| rustix::fs::statfs(ancestor).ok())
        .is_some_and(|stat| stat.f_type as u64 & 0xffff_ffff == BPF_MAGIC)
}

/// Compares a pinned map with what the program needs. `Ok(false)` if nothing is pinned. `aya` opens a pin
/// without looking at it, and a map with larger values would then be read beyond the end of ours.
pub fn check(directory: &Path, spec: &Spec) -> Result<bool, Error> {
    let Some(found) = check_layout(directory, spec)? else { return Ok(false) };
    if found == spec.max_entries {
        return Ok(true);
    }
    let path = directory.join(spec.name);
    Err(Error::PinMismatch { path, what: "capacity", found, expected: spec.max_entries })
}

/// The same but for the capacity, which it returns; `None` if nothing is pinned.
pub fn check_layout(directory: &Path, spec: &Spec) -> Result<Option<u32>, Error> {
    let path = directory.join(spec.name);
    if !path.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    let info = MapInfo::from_pin(&path).map_err(|error| Error::Pin {
        doing: "open the pinned map",
        path: path.clone(),
        source: into_io(error),
    })?;
    let kind = info.map_type().map_or(u32::MAX, number);
    let comparisons = [
        ("type", kind, spec.kind as u32),
        ("key size", info.key_size(), spec.key_bytes),
        ("value size", info.value_size(), spec.value_bytes),
        ("flags", info.map_flags(), spec.flags),
    ];
    match comparisons.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(Error::PinMismatch { path, what, found, expected }),
        None => Ok(Some(info.max_entries())),
    }
}

/// The kernel's number of a map type; `u32::MAX` for one that the program does not use.
fn number(kind: MapType) -> u32 {
    match kind {
        MapType::Hash => Kind::Hash as u32,
        MapType::Array => Kind::Array as u32,
        MapType::PerCpuHash => Kind::PerCpuHash as u32,
        MapType::PerCpuArray => Kind::PerCpuArray as u32,
        MapType::LpmTrie => Kind::LpmTrie as u32,
        MapType::RingBuf => Kind::RingBuf as u32,
        _ => u32::MAX,
    }
}

/// Removes a pin. A pin that is not there is fine.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Pin { doing: "remove the pin", path: path.into(), source })
        }
        _ => Ok(()),
    }
}

/// Removes the directories if they are empty.
pub fn remove_directories(root: &Path) {
    for directory in [
        maps(root),
        root.join("links").join(Mode::Native.name()),
        root.join("links").join(Mode::Generic.name()),
        root.join("links").join(SHARED),
        root.join("links"),
        root.to_path_buf(),
    ] {
        // One that is not empty holds something that is not ours to remove.
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_carry_the_version_the_mode_and_no_dot() {
        let root = Path::new("/sys/fs/bpf/portcullis");
        assert_eq!(maps(root), root.join(format!("v{ABI_VERSION}")));
        assert_eq!(link(root, "eth0.100", Mode::Native), root.join("links/native/eth0%2e100"));
    }

    #[test]
    fn a_directory_on_another_file_system_is_refused_with_the_way_out() {
        let error = prepare(Path::new("/tmp/portcullis-no-bpffs")).unwrap_err();
        assert!(matches!(error, Error::NoBpfFilesystem { .. }));
        assert!(error.to_string().contains("mount -t bpf"));
    }
}
