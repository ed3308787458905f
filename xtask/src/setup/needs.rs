//! The table of needs: what each verb wants from the machine, how to see it, how to get it.

use std::{fmt, fs, process::Command};

use anyhow::{Context, Result, bail};

use super::{Verb, crowdsec, kernels, linker, node, python, qemu, toolchain};
use crate::{paths, privilege::Privilege, process};

/// One thing a machine has or lacks.
pub struct Need {
    pub name: &'static str,
    pub state: State,
    /// About how long the repair takes on two cores.
    pub duration: &'static str,
    look: fn() -> State,
}

/// What [`Need`] found.
pub enum State {
    /// There, with its version or place.
    Present(String),
    /// Not there, with the repair.
    Missing { reason: String, remedy: Remedy },
}

/// A repair, in the order in which they are carried out.
pub enum Remedy {
    /// Debian packages; all of them are installed in one call.
    Packages(Vec<&'static str>),
    /// Commands of ours.
    Steps(fn() -> Result<()>),
    /// Only a person can do it; the text says what.
    ByHand(String),
}

impl Need {
    pub fn is_missing(&self) -> bool {
        matches!(self.state, State::Missing { .. })
    }

    /// Looks once more, after a repair.
    pub fn still_missing(&self) -> Option<String> {
        match (self.look)() {
            State::Present(_) => None,
            State::Missing { reason, .. } => Some(reason),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages(names) => write!(out, "to install: {}", names.join(" ")),
            Self::Steps(_) => write!(out, "to do by setup"),
            Self::ByHand(how) => write!(out, "by hand: {how}"),
        }
    }
}

/// A row of the table: a name, the verbs that need it themselves, the look, the repair's duration.
type Row = (&'static str, &'static [Verb], fn() -> State, &'static str);

/// Every need there is. A repair may rely on the rows above it.
const TABLE: &[Row] = {
    use Verb::{Bench, Boot, Build, Lint, Run, Test};
    &[
        ("eBPF compiler", &[Build], toolchain::look, "about 1 min"),
        ("LLVM for bpf-linker", &[Build], linker::look_for_llvm, "about 1 min"),
        ("bpf-linker", &[Build], linker::look, "about 2 min"),
        ("ip", &[Run], || program("ip", "-V", "iproute2"), "seconds"),
        ("BPF file system", &[Run], bpf_file_system, "seconds"),
        ("nginx", &[Test, Bench], || program("nginx", "-v", "nginx"), "seconds"),
        ("curl", &[Test], || program("curl", "--version", "curl"), "seconds"),
        ("openssl", &[Test], || program("openssl", "version", "openssl"), "seconds"),
        ("chromium", &[Test], || program("chromium", "--version", "chromium"), "about 1 min"),
        ("slowhttptest", &[Test], || program("slowhttptest", "-h", "slowhttptest"), "seconds"),
        ("h2load", &[Test], || program("h2load", "--version", "nghttp2-client"), "seconds"),
        ("sslscan", &[Test], || program("sslscan", "--version", "sslscan"), "seconds"),
        ("testssl", &[Test], || program("testssl", "--version", "testssl.sh"), "seconds"),
        ("ss", &[Test], || program("ss", "-V", "iproute2"), "seconds"),
        ("node", &[Test], node::look, "seconds"),
        ("npm", &[Test], || program("npm", "--version", "npm"), "about 1 min"),
        ("npm packages", &[Test], node::look_for_packages, "about 20 s"),
        ("bpftool", &[Test, Boot], || program("bpftool", "version", "bpftool"), "seconds"),
        ("python3", &[Test], python::look, "seconds"),
        ("Python packages", &[Test], python::look_for_packages, "seconds"),
        ("tcpdump", &[Test], || program("tcpdump", "--version", "tcpdump"), "seconds"),
        ("nft", &[Test, Bench], || program("nft", "--version", "nftables"), "seconds"),
        ("haproxy", &[Test, Bench], || program("haproxy", "-v", "haproxy"), "seconds"),
        ("ipset", &[Test], || program("ipset", "--version", "ipset"), "seconds"),
        ("fail2ban", &[Test, Bench], || program("fail2ban-client", "--version", "fail2ban"), "seconds"),
        ("xdp-filter", &[Test, Boot, Bench], || program("xdp-filter", "--version", "xdp-tools"), "seconds"),
        ("inotify for fail2ban", &[Bench], inotify_for_python, "seconds"),
        ("CrowdSec", &[Test, Bench], crowdsec::look, "about 10 s, 35 MB"),
        ("rustfmt", &[Lint], || component("fmt", || add_component("rustfmt")), "seconds"),
        ("clippy", &[Lint], || component("clippy", || add_component("clippy")), "seconds"),
        ("clippy for eBPF", &[Lint], toolchain::look_for_clippy, "seconds"),
        ("cargo-deny", &[Lint], crate::lint::deny::look, "about 3 min"),
        // Last, for an archive without such packages ends the repairs here.
        ("QEMU", &[Boot], qemu::look, "about 1 min, 20 MB"),
        ("mkfs.ext4", &[Boot], || program("mkfs.ext4", "-V", "e2fsprogs"), "seconds"),
        ("xz", &[Boot], || program("xz", "--version", "xz-utils"), "seconds"),
        ("kernels to boot", &[Boot], kernels::look, "about 1 min, 60 MB"),
    ]
};

/// The needs of `verbs` with their present state.
pub fn list(verbs: &[Verb]) -> Vec<Need> {
    let wanted: Vec<_> = verbs.iter().flat_map(|verb| with_foundations(*verb)).copied().collect();
    let rows = TABLE.iter().filter(|(_, verbs, ..)| verbs.iter().any(|verb| wanted.contains(verb)));
    rows.map(|&(name, _, look, duration)| Need { name, state: look(), duration, look }).collect()
}

/// `verb` and the verbs it builds on.
fn with_foundations(verb: Verb) -> &'static [Verb] {
    match verb {
        Verb::Build => &[Verb::Build],
        Verb::Run => &[Verb::Build, Verb::Run],
        Verb::Test => &[Verb::Build, Verb::Run, Verb::Test],
        Verb::Boot => &[Verb::Build, Verb::Run, Verb::Boot],
        Verb::Bench => &[Verb::Build, Verb::Run, Verb::Bench],
        Verb::Lint => &[Verb::Build, Verb::Lint],
    }
}

/// A program from a Debian package; `version` is the argument that makes it tell its version.
fn program(name: &'static str, version: &str, package: &'static str) -> State {
    match paths::executable(name) {
        Some(path) => State::Present(version_line(&mut Command::new(path), version)),
        None => State::Missing {
            reason: "not installed".into(),
            remedy: packages_or_by_hand(vec![package], || {
                format!("install `{name}` with your package manager")
            }),
        },
    }
}

/// What Debian's Python, which runs fail2ban, needs to be told of changed files instead of polling them.
fn inotify_for_python() -> State {
    const MODULE: &str = "/usr/lib/python3/dist-packages/pyinotify.py";
    match fs::exists(MODULE) {
        Ok(true) => State::Present(MODULE.into()),
        _ => State::Missing {
            reason: "not installed".into(),
            remedy: packages_or_by_hand(vec!["python3-pyinotify"], || {
                "install Python's `pyinotify` for fail2ban".into()
            }),
        },
    }
}

/// The first line that `program` says about itself, on whichever stream, cut to the width of the table.
fn version_line(program: &mut Command, argument: &str) -> String {
    let place = program.get_program().to_string_lossy().into_owned();
    let Some(output) = program.arg(argument).output().ok().filter(|output| output.status.success()) else {
        return place;
    };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
    if line.is_empty() { place } else { line.chars().take(60).collect() }
}

/// A part of the Rust toolchain that the workspace is built with. Asked for its version, because rustup puts a
/// program of that name on `PATH` whether the component is there or not.
fn component(subcommand: &'static str, add: fn() -> Result<()>) -> State {
    match process::capture(process::cargo().args([subcommand, "--version"])) {
        Ok(version) => State::Present(version.trim().to_owned()),
        Err(_) => State::Missing {
            reason: format!("`cargo {subcommand}` does not run"),
            remedy: Remedy::Steps(add),
        },
    }
}

fn add_component(name: &str) -> Result<()> {
    let added = process::run(Command::new("rustup").args(["component", "add", name]));
    added.with_context(|| format!("install `{name}` for the Rust that builds the workspace"))
}

/// Packages where apt is, else what a person should do.
pub fn packages_or_by_hand(names: Vec<&'static str>, by_hand: impl FnOnce() -> String) -> Remedy {
    match paths::executable("apt-get") {
        Some(_) => Remedy::Packages(names),
        None => Remedy::ByHand(by_hand()),
    }
}

const BPF_MOUNT: &str = "/sys/fs/bpf";

/// Pinned maps and links live in this file system; systemd mounts it at boot, containers often do not have it.
fn bpf_file_system() -> State {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    if has_bpf_mount(&mounts) {
        return State::Present(BPF_MOUNT.into());
    }
    let reason = format!("nothing of type bpf is mounted on {BPF_MOUNT}");
    State::Missing { reason, remedy: Remedy::Steps(mount_bpf_file_system) }
}

fn has_bpf_mount(mounts: &str) -> bool {
    let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    mounts.lines().map(fields).any(|fields| fields.len() > 2 && fields[1] == BPF_MOUNT && fields[2] == "bpf")
}

fn mount_bpf_file_system() -> Result<()> {
    let by_hand = format!("mount -t bpf bpf {BPF_MOUNT}");
    let Some(mut mount) = Privilege::current().command("mount", &[]) else {
        bail!("mounting the BPF file system needs root and there is no sudo; as root type: {by_hand}");
    };
    let mounted = process::run(mount.args(["-t", "bpf", "bpf", BPF_MOUNT]));
    mounted.with_context(|| format!("as root type: {by_hand}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bpf_file_system_at_its_usual_place_counts() {
        assert!(has_bpf_mount("proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw,relatime 0 0\n"));
        assert!(!has_bpf_mount("tmpfs /sys/fs/bpf tmpfs rw 0 0\nbpf /mnt bpf rw 0 0\n"));
    }

    #[test]
    fn running_installs_no_test_servers_and_testing_installs_no_kernels() {
        let names = |verb| list(&[verb]).iter().map(|need| need.name).collect::<Vec<_>>();
        assert!(names(Verb::Run).contains(&"bpf-linker") && !names(Verb::Run).contains(&"nginx"));
        assert!(names(Verb::Test).contains(&"nginx") && !names(Verb::Test).contains(&"rustfmt"));
        assert!(names(Verb::Boot).contains(&"QEMU") && !names(Verb::Test).contains(&"QEMU"));
        assert!(names(Verb::Bench).contains(&"haproxy") && !names(Verb::Lint).contains(&"ip"));
    }

    #[test]
    fn a_version_is_read_from_either_stream_and_a_silent_program_is_named_by_its_place() {
        let says = |script: &str| version_line(Command::new("sh").args(["-c", script]), "x");
        assert_eq!(says("echo one 1.2; echo two"), "one 1.2");
        assert_eq!(says("echo only 3 >&2"), "only 3");
        assert_eq!(says(":"), "sh");
        assert_eq!(says("echo no such option; exit 2"), "sh");
    }

    #[test]
    fn a_missing_program_comes_with_its_remedy() {
        let State::Missing { reason, remedy } = program("no-such-program-anywhere", "-v", "a-package") else {
            panic!("found a program that does not exist");
        };
        assert_eq!(reason, "not installed");
        assert!(remedy.to_string().contains("a-package") || remedy.to_string().contains("no-such-program"));
    }
}
