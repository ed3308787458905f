//! What stands between the flood and the victim's TCP.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use aya::Ebpf;
use aya::programs::XdpMode;
use gateway_userspace::dataplane::{AttachMode, Dataplane, DenyEntry, Options};
use ipnet::IpNet;
use tests::namespace::{Namespace, pins};

use crate::flood;

/// A defence to be measured, in the order of the turns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Each SYN comes to the listener's queue, and is answered.
    Nothing,
    /// A set in a chain before routing.
    NftPrerouting,
    /// A set in a chain at the device.
    NftIngress,
    /// Ours, behind the driver.
    Generic,
    /// Ours, in the driver.
    Native,
    /// In the driver: reads the source, then drops.
    Touch,
    /// In the driver: drops.
    Floor,
}

impl Subject {
    /// All of them.
    pub const ALL: [Subject; 7] = [
        Subject::Nothing,
        Subject::NftPrerouting,
        Subject::NftIngress,
        Subject::Generic,
        Subject::Native,
        Subject::Touch,
        Subject::Floor,
    ];

    /// What the table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Subject::Nothing => "no defence",
            Subject::NftPrerouting => "nft set, prerouting",
            Subject::NftIngress => "nft set, netdev ingress",
            Subject::Generic => "portcullis, generic XDP",
            Subject::Native => "portcullis, native XDP",
            Subject::Touch => "read the source, XDP_DROP",
            Subject::Floor => "return XDP_DROP",
        }
    }

    /// Whether it is done with `nft`.
    pub const fn needs_nft(self) -> bool {
        matches!(self, Subject::NftPrerouting | Subject::NftIngress)
    }
}

/// Whether there is an `nft`.
pub fn has_nft() -> bool {
    std::process::Command::new("nft").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// A defence that stands; it goes when dropped.
pub enum Defence<'a> {
    /// None.
    Nothing,
    /// A table of nftables, in a namespace.
    Nft(&'a Namespace),
    /// Our kernel stage.
    Ours(Box<Dataplane>),
    /// A program of the bench.
    Program(#[expect(dead_code, reason = "it is held, not used")] Box<Ebpf>),
}

impl<'a> Defence<'a> {
    /// Puts it up on the interface of the victim. Run in its namespace.
    pub fn put_up(subject: Subject, victim: &'a Namespace) -> Result<Defence<'a>> {
        Ok(match subject {
            Subject::Nothing => Defence::Nothing,
            Subject::NftPrerouting => {
                nft(victim, &ruleset("inet", "hook prerouting priority -300"))?;
                Defence::Nft(victim)
            }
            Subject::NftIngress => {
                let hook = format!("hook ingress device {} priority -500", victim.interface);
                nft(victim, &ruleset("netdev", &hook))?;
                Defence::Nft(victim)
            }
            Subject::Generic => Defence::Ours(ours(victim, AttachMode::Generic)?),
            Subject::Native => Defence::Ours(ours(victim, AttachMode::Native)?),
            Subject::Touch => program(victim, "touch")?,
            Subject::Floor => program(victim, "floor")?,
        })
    }

    /// Takes what the kernel stage has told so far, as a gateway does.
    pub fn drain(&mut self) {
        if let Defence::Ours(dataplane) = self {
            dataplane.drain_diagnostics();
            dataplane.drain_events(usize::MAX);
        }
    }
}

impl Drop for Defence<'_> {
    fn drop(&mut self) {
        let down = match self {
            Defence::Nothing | Defence::Program(_) => Ok(()),
            Defence::Nft(victim) => nft(victim, "flush ruleset\n"),
            Defence::Ours(dataplane) => dataplane.detach(true).map_err(Into::into),
        };
        if let Err(error) = down {
            eprintln!("a defence is left standing: {error:#}");
        }
    }
}

/// Each source is a ban of its own with a lease, and what a gateway always allows is allowed.
fn ours(victim: &Namespace, mode: AttachMode) -> Result<Box<Dataplane>> {
    let mut dataplane = Dataplane::open(&Options {
        interfaces: vec![victim.interface.clone()],
        pin_root: pins(),
        mode,
        ..Options::default()
    })?;
    let bans: Vec<(IpNet, DenyEntry)> = flood::sources()
        .zip(1..)
        .map(|(source, id)| {
            let address = IpAddr::from(Ipv4Addr::from(source));
            (address.into(), DenyEntry::lasting(Duration::from_secs(3600), id))
        })
        .collect();
    dataplane.deny_many(&bans)?;
    for allowed in ["127.0.0.0/8", "::1/128", "198.18.0.0/30", "fe80::/10"] {
        dataplane.allow(allowed.parse()?)?;
    }
    Ok(Box::new(dataplane))
}

fn program(victim: &Namespace, name: &str) -> Result<Defence<'static>> {
    let mut ebpf = flood::object()?;
    flood::load(&mut ebpf, name)?.attach(&victim.interface, XdpMode::Driver)?;
    Ok(Defence::Program(Box::new(ebpf)))
}

fn ruleset(family: &str, hook: &str) -> String {
    let sources: Vec<String> = flood::sources().map(|source| Ipv4Addr::from(source).to_string()).collect();
    format!(
        "table {family} bench {{\n set listed {{ type ipv4_addr; elements = {{ {} }}; }}\n \
         chain defence {{ type filter {hook}; policy accept; ip saddr @listed drop; }}\n}}\n",
        sources.join(", ")
    )
}

fn nft(victim: &Namespace, rules: &str) -> Result<()> {
    let mut command = victim.command("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "nft failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
