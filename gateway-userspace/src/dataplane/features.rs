//! What the kernel stage needs of this machine, what it is faster or safer with, and what its interfaces are like.
//!
//! Nothing is changed: a map that is made to see whether it can be is gone at once, and nothing is attached. Where a try
//! takes a privilege that this process lacks, the answer is [`Found::Unknown`].

use std::fs;
use std::io;
use std::path::Path;

use gateway_common::maps::Kind;
use serde::Serialize;

use super::attach::interface;
use super::netlink::{self, driver};
use super::{clock, load, pins, syscall};

/// The least Linux, by the helpers and kinds of maps that the program uses.
const LINUX_MIN: (u32, u32) = (5, 15);
/// The longest tick that is fine: 250 Hz, the default of most distributions.
const TICK_NS_FINE: u32 = 4_000_000;

/// What the feature is called that only the process lacks, not the machine.
pub const CAPABILITIES: &str = "capabilities";

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// It is.
    Present,
    /// It is not.
    Missing,
    /// It cannot be seen without more privilege.
    Unknown,
}

impl From<bool> for Found {
    fn from(present: bool) -> Found {
        if present { Found::Present } else { Found::Missing }
    }
}

/// Something that the kernel stage needs or uses.
#[derive(Debug, Clone, Serialize)]
pub struct Feature {
    /// In a few words.
    pub name: &'static str,
    /// Whether it is there.
    pub found: Found,
    /// Whether there is no kernel stage without it.
    pub required: bool,
    /// What was seen.
    pub detail: String,
    /// What it costs to be without it, and the way to have it.
    pub without: &'static str,
}

/// Looks for everything. `pin_root` is where the maps would be pinned.
pub fn probe(pin_root: &Path) -> Vec<Feature> {
    let needed = |name, (found, detail): (Found, String), without| Feature {
        name,
        found,
        required: true,
        detail,
        without,
    };
    let useful = |name, (found, detail): (Found, String), without| Feature {
        name,
        found,
        required: false,
        detail,
        without,
    };
    let linux = linux();
    let at_least = |least: (u32, u32)| {
        let found = linux.map_or(Found::Unknown, |linux| Found::from(linux >= least));
        (found, format!("since Linux {}.{}", least.0, least.1))
    };
    vec![
        needed("kernel program", program(), "bans hold at layer 7 only; build with `cargo xtask build`"),
        needed("Linux", at_least(LINUX_MIN), "the kernel does not take the program"),
        needed(
            CAPABILITIES,
            capabilities(),
            "this process may not load it; run as root, or grant them (systemd: AmbientCapabilities=)",
        ),
        needed(
            "bpf(2)",
            tried(syscall::map_create(Kind::Array, 4, 8, 1)),
            "there is no kernel stage; CONFIG_BPF_SYSCALL, and a seccomp profile that allows it",
        ),
        needed(
            "ring buffer",
            tried(syscall::map_create(Kind::RingBuf, 0, 0, 1 << 16)),
            "the kernel does not take the program",
        ),
        needed("links", links(), "an attachment would end with the process, so it is refused"),
        needed(
            "BPF file system",
            (pins::is_bpf_filesystem(pin_root).into(), pin_root.display().to_string()),
            "bans would end with the process; `mount -t bpf bpf /sys/fs/bpf`, which the gateway does itself as root",
        ),
        useful(
            "JIT compiler",
            setting("/proc/sys/net/core/bpf_jit_enable"),
            "each packet is judged by an interpreter, several times slower; CONFIG_BPF_JIT, \
             `sysctl net.core.bpf_jit_enable=1`",
        ),
        useful(
            "counters without a call",
            at_least((6, 10)),
            "each counted packet costs a call of the kernel more",
        ),
        useful(
            "place beside libxdp's programs",
            at_least((5, 10)),
            "an interface where libxdp has loaded programs is refused",
        ),
        useful(
            "SYN cookies",
            setting("/proc/sys/net/ipv4/tcp_syncookies"),
            "SYNs from many forged sources, which no budget of a source sheds, keep clients out; \
             `sysctl net.ipv4.tcp_syncookies=1`",
        ),
        useful(
            "fine clock",
            ((clock::tick_ns() <= TICK_NS_FINE).into(), format!("{} Hz", 1_000_000_000 / clock::tick_ns())),
            "bans end and budgets fill in steps of 10 ms, and a budget admits 20 ms at once",
        ),
    ]
}

/// Release of the kernel, as `uname -r` says it.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn linux() -> Option<(u32, u32)> {
    version(&release())
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn program() -> (Found, String) {
    let present = load::has_program();
    (present.into(), String::from(if present { "in this binary" } else { "not in this binary" }))
}

fn capabilities() -> (Found, String) {
    match &load::missing_capabilities()[..] {
        [] => (Found::Present, String::from("CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON")),
        missing => (Found::Missing, format!("without {}", missing.join(" and "))),
    }
}

/// A refusal says nothing about the kernel if this process may not ask.
fn tried<T>(result: io::Result<T>) -> (Found, String) {
    match result {
        Ok(_) => (Found::Present, String::from("tried")),
        Err(error) if is_refusal(&error) && !load::missing_capabilities().is_empty() => {
            (Found::Unknown, String::from("not tried: it takes the capabilities"))
        }
        Err(error) => (Found::Missing, error.to_string()),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn links() -> (Found, String) {
    match syscall::has_links() {
        Ok(true) => (Found::Present, String::from("tried")),
        Ok(false) => (Found::Missing, String::from("the command is not known")),
        Err(error) => tried::<()>(Err(error)),
    }
}

/// Whether a number below `/proc/sys` is more than 0.
fn setting(path: &str) -> (Found, String) {
    match fs::read_to_string(path).map(|text| text.trim().to_owned()) {
        Ok(value) => (Found::from(value != "0"), format!("{} is {value}", name_of(path))),
        Err(error) if is_refusal(&error) => (Found::Unknown, error.to_string()),
        Err(_) => (Found::Missing, format!("there is no {}", name_of(path))),
    }
}

/// As sysctl(8) calls it.
fn name_of(path: &str) -> String {
    path.trim_start_matches("/proc/sys/").replace('/', ".")
}

/// What an interface is like.
#[derive(Debug, Clone, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether its driver runs the program; `None` if the kernel does not tell (before Linux 6.3).
    pub native: Option<bool>,
    /// Name of the driver; `None` for an interface without a device.
    pub driver: Option<String>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// In Mbit/s, if it says so.
    pub speed_mbit: Option<u32>,
    /// Queues of received packets: on so many processors programs run at once.
    pub receive_queues: usize,
    /// Id of the program that is attached.
    pub program: Option<u32>,
    /// Where that runs: `native`, `generic`, or nothing if it is on the card or in several places.
    pub program_mode: Option<&'static str>,
}

/// Looks at an interface.
pub fn interface(name: &str) -> Interface {
    let index = interface::index_of(name);
    let at = |file: &str| format!("/sys/class/net/{name}/{file}");
    let number = |file: &str| fs::read_to_string(at(file)).ok()?.trim().parse().ok();
    let driver = fs::read_link(at("device/driver")).ok();
    let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let queues = fs::read_dir(at("queues")).into_iter().flatten().flatten();
    let program = index.and_then(|index| netlink::program_of(index).ok().flatten());
    Interface {
        name: name.to_owned(),
        exists: index.is_some(),
        native: index.and_then(|index| driver::runs_xdp(index).ok()),
        driver,
        mtu: number("mtu"),
        speed_mbit: number("speed"),
        receive_queues: queues.filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-")).count(),
        program: program.map(|on| on.program),
        program_mode: program.and_then(|on| Some(on.mode?.name())),
    }
}

/// Names of all interfaces of this network namespace.
pub fn interfaces() -> Vec<String> {
    interface::names()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_two_numbers_of_a_release() {
        for (release, expected) in [
            ("6.1.0-28-amd64", Some((6, 1))),
            ("5.15", Some((5, 15))),
            ("6.18.44", Some((6, 18))),
            ("linux", None),
            ("6", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn every_feature_says_what_it_costs_to_be_without_it_and_what_was_seen() {
        let features = probe(Path::new("/sys/fs/bpf/portcullis"));
        for feature in &features {
            assert!(feature.without.len() > 20 && !feature.detail.is_empty(), "{feature:?}");
        }
        // Whoever runs this: what takes no privilege is known.
        let found = |name| features.iter().find(|feature| feature.name == name).map(|feature| feature.found);
        assert_eq!(found("Linux"), Some(Found::Present));
        assert!(found("SYN cookies").is_some_and(|found| found != Found::Unknown));
    }

    #[test]
    fn a_folder_on_another_file_system_is_none_for_pins() {
        let features = probe(Path::new("/proc"));
        let pins =
            features.iter().find(|feature| feature.name == "BPF file system").expect("it is looked for");
        assert_eq!((pins.found, pins.required), (Found::Missing, true));
    }

    #[test]
    fn loopback_is_described_and_what_is_not_there_is_not() {
        let loopback = interface("lo");
        assert!(loopback.exists && loopback.mtu.is_some() && loopback.driver.is_none(), "{loopback:?}");
        assert!(loopback.native != Some(true));
        let none = interface("no-such-interface");
        assert!(!none.exists && none.mtu.is_none() && none.receive_queues == 0, "{none:?}");
    }
}
