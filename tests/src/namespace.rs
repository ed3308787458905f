//! A victim and an attacker: two network namespaces joined by a veth pair, for benches.
//!
//! Neither end is on this host, so no flood reaches its stack, no answer to a forged source leaves it, and the packet
//! filters that a bench installs are not the host's. Needs root and `ip`.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Both hosts. Each reaches every address through the other, without asking for its hardware address.
pub struct Pair {
    /// The one that is attacked.
    pub victim: Namespace,
    /// The other one.
    pub attacker: Namespace,
}

/// One namespace with one interface; removed when dropped.
pub struct Namespace {
    /// Its name, as `ip netns` knows it.
    pub name: String,
    /// Its end of the pair.
    pub interface: String,
    /// The address of that.
    pub address: Ipv4Addr,
    /// The hardware address.
    pub hardware: [u8; 6],
}

const PREFIX: &str = "portcullis-bench-";
/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";
/// Where maps and links are pinned.
const PINS: &str = "/sys/fs/bpf";

/// A folder for the pins of this process; what a process leaves there that is killed, the next bench removes.
pub fn pins() -> PathBuf {
    Path::new(PINS).join(format!("{PREFIX}{}", std::process::id()))
}

impl Pair {
    /// Makes both, named by this process, after what dead processes have left is removed.
    pub fn make() -> Result<Pair> {
        sweep();
        let own = std::process::id();
        let side = |role: &str, last: u8| Namespace {
            name: format!("{PREFIX}{role}-{own}"),
            interface: format!("p{}{own}", &role[..1]),
            address: Ipv4Addr::new(198, 18, 0, last),
            hardware: [2, 0, 0, 0, 0, last],
        };
        // From here on both are removed whatever fails.
        let pair = Pair { victim: side("victim", 1), attacker: side("attacker", 2) };
        let Pair { victim, attacker } = &pair;
        ip(&format!("netns add {}", victim.name))?;
        ip(&format!("netns add {}", attacker.name))?;
        ip(&format!(
            "link add {} netns {} address {} type veth peer name {} netns {} address {}",
            victim.interface,
            victim.name,
            victim.hardware_text(),
            attacker.interface,
            attacker.name,
            attacker.hardware_text()
        ))?;
        for (own, peer) in [(victim, attacker), (attacker, victim)] {
            let interface = &own.interface;
            for step in [
                format!("address add {}/30 dev {interface}", own.address),
                "link set lo up".to_owned(),
                format!("link set {interface} up"),
                format!(
                    "neigh add {} lladdr {} dev {interface} nud permanent",
                    peer.address,
                    peer.hardware_text()
                ),
                format!("route add default via {}", peer.address),
            ] {
                ip(&format!("-n {} {step}", own.name))?;
            }
        }
        Ok(pair)
    }
}

impl Namespace {
    /// Runs `f` on a thread inside and waits for its result. Sockets and processes that `f` makes belong to the
    /// namespace; `/sys` is still the host's.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = Path::new(NAMES).join(&self.name);
        let namespace = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter {}", path.display()))?;
                f()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A program inside, with the namespace's own `/sys`.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Takes every address of a network as the host's own.
    pub fn own_all(&self, network: &str) -> Result<()> {
        ip(&format!("-n {} route add local {network} dev lo", self.name))
    }

    fn hardware_text(&self) -> String {
        self.hardware.map(|byte| format!("{byte:02x}")).join(":")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may never have been made.
        if Path::new(NAMES).join(&self.name).exists()
            && let Err(error) = ip(&format!("netns del {}", self.name))
        {
            eprintln!("the namespace {} is left behind: {error:#}", self.name);
        }
    }
}

/// Removes the namespaces and pins of benches whose process is gone.
fn sweep() {
    let names = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    };
    let is_left = |name: &String| {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit('-').next());
        owner.is_some_and(|process| !Path::new("/proc").join(process).exists())
    };
    // What another bench removes at the same time is gone too.
    for name in names(NAMES).filter(is_left) {
        drop(ip(&format!("netns del {name}")));
    }
    for name in names(PINS).filter(is_left) {
        drop(fs::remove_dir_all(Path::new(PINS).join(name)));
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("`ip` cannot be run")?;
    if !output.status.success() {
        bail!("`ip {arguments}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
