//! What can go wrong with the kernel stage, and the way out of it.

use std::{io, path::PathBuf};

use aya::maps::MapError;

/// An error of the kernel stage. The text says what is wrong and what to do; the source says why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary carries no program.
    #[error("this binary was built without the kernel program; build it with `cargo xtask build`")]
    NoProgram,
    /// The process may not load or attach.
    #[error(
        "the kernel stage needs the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and this process lacks \
         {}; run it as root, or grant them (systemd: AmbientCapabilities=)", missing.join(" and ")
    )]
    Privilege {
        /// The capabilities that are missing.
        missing: Vec<&'static str>,
    },
    /// The kernel says no although the capabilities are there.
    #[error(
        "the kernel refused {doing} although the capabilities are there; a container's seccomp profile, a user \
         namespace or kernel lockdown does this: allow the bpf(2) system call, and run in the first user namespace"
    )]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No bpf(2).
    #[error(
        "this kernel was built without BPF; the kernel stage needs Linux 5.15 with CONFIG_BPF_SYSCALL and XDP"
    )]
    NoBpf,
    /// The pin directory is not on a BPF file system.
    #[error(
        "{} is not on a BPF file system, and mounting one at /sys/fs/bpf did not work; run \
         `mount -t bpf bpf /sys/fs/bpf`, or name a pin directory on one", path.display()
    )]
    NoBpfFilesystem {
        /// The pin directory.
        path: PathBuf,
        /// Why mounting did not work, if it was tried.
        #[source]
        source: Option<io::Error>,
    },
    /// Another gateway has the pin directory.
    #[error("another gateway has {}; stop it, or give this one a `shield.pins` of its own", path.display())]
    InUse {
        /// The pin directory.
        path: PathBuf,
    },
    /// A file below the pin directory.
    #[error("cannot {doing} {}", path.display())]
    Pin {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A pinned map is not the one this program needs.
    #[error(
        "the pinned map {} has {what} {found}, this program needs {expected}; if the configuration changed, change \
         it back; else stop what uses the map and remove {}: the entries in it are lost then",
        path.display(), path.display()
    )]
    PinMismatch {
        /// The pin.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the map has.
        found: u32,
        /// What the program needs.
        expected: u32,
    },
    /// The room that is asked for is less than what is in force needs.
    #[error(
        "{setting} is {capacity}, which is too small: {addresses} IPv4 addresses and {networks} IPv6 networks \
         are in force; set it to {} or more, or lift bans first: `portcullis unban`", addresses.max(networks)
    )]
    Capacity {
        /// The key of the configuration.
        setting: &'static str,
        /// Entries that it asks for.
        capacity: u32,
        /// IPv4 addresses in force.
        addresses: usize,
        /// IPv6 /64s in force.
        networks: usize,
    },
    /// The program does not load.
    #[error("the kernel does not take the program; it needs Linux 5.15 or later")]
    Load(#[source] Box<aya::EbpfError>),
    /// The program was refused by the verifier or at load time.
    #[error("the kernel does not take the program; it needs Linux 5.15 or later")]
    Verifier(#[source] Box<aya::programs::ProgramError>),
    /// The object lacks a part: it was built from another source.
    #[error("the kernel program has no {what} {name}; rebuild it with `cargo xtask build`")]
    Object {
        /// Map or program.
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// No such interface.
    #[error("there is no network interface {name}; there are: {}", known.join(", "))]
    NoInterface {
        /// The name asked for.
        name: String,
        /// The interfaces of this network namespace.
        known: Vec<String>,
    },
    /// Another program is attached.
    #[error(
        "another XDP program is attached to {interface}; see it with `ip link show {interface}` and remove it with \
         `ip link set {interface} xdp off` (or with the tool that attached it), or take {interface} off the list; \
         only programs that were loaded through libxdp's dispatcher can stay beside it, and to see that takes \
         CAP_SYS_ADMIN"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// Programs of libxdp are attached, and we could not join them.
    #[error(
        "{interface} carries programs of libxdp, and there is no joining them; see them with \
         `xdp-loader status {interface}`, take them off with `xdp-loader unload {interface} --all`, or take \
         {interface} off the list"
    )]
    CannotShare {
        /// The interface.
        interface: String,
        /// Why.
        #[source]
        source: Box<super::Problem>,
    },
    /// The interface does not take the program.
    #[error("{interface} does not take an XDP program in {mode} mode")]
    Attach {
        /// The interface.
        interface: String,
        /// The last mode tried.
        mode: super::Mode,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A list is full.
    #[error("the {list} is full: it has room for {capacity} entries")]
    Full {
        /// Which list.
        list: &'static str,
        /// Its room.
        capacity: u32,
    },
    /// Members came for a list that nobody had begun.
    #[error("the list {id} was not begun")]
    NotBegun {
        /// Its number.
        id: u32,
    },
    /// Too many management ports.
    #[error("{count} management ports are set, and there is room for {max}")]
    ManagementPorts {
        /// Ports given.
        count: usize,
        /// Most ports.
        max: usize,
    },
    /// A map operation failed.
    #[error("cannot {doing} the map {map}")]
    Map {
        /// What was tried.
        doing: &'static str,
        /// The map.
        map: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The program could not be run on a frame.
    #[error("cannot run the program on a test frame")]
    TestRun(#[source] Box<aya::programs::ProgramError>),
}

impl Error {
    /// For a failed map operation.
    pub(super) fn map(doing: &'static str, map: &'static str, error: MapError) -> Self {
        Self::Map { doing, map, source: into_io(error) }
    }
}

/// The kernel's answer inside an error of `aya`.
pub(super) fn into_io(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        MapError::CreateError { io_error, .. } | MapError::IoError(io_error) => io_error,
        MapError::KeyNotFound | MapError::ElementNotFound => io::Error::from_raw_os_error(libc::ENOENT),
        other => io::Error::other(other),
    }
}
