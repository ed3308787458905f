//! Bans, exemptions, and who is behind an address: what those commands take and answer.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::abuse::crowd::Others;
use crate::abuse::harm::Harm;
use crate::abuse::receipt::RuleAtBan;
use crate::abuse::signal::Evidence;
use crate::abuse::target::Subject;

/// `portcullis bans [ID]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ListBans {
    /// Only this ban.
    pub id: Option<u32>,
    /// Only bans that the request with this id led to: what `X-Ban-Ticket` said.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Also those that are over (as many as are remembered).
    pub ended: bool,
}

/// A list of bans.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bans {
    /// Newest first.
    pub bans: Vec<Ban>,
}

/// One ban with its receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ban {
    /// Its id, also in the kernel's entry.
    pub id: u32,
    /// Whom it keeps out: addresses, or a client at layer 7.
    pub target: String,
    /// The addresses; none for a client.
    pub prefix: Option<IpNet>,
    /// `active`, `expired`, `lifted`, or `paroled`: its client was let through, and behaved.
    pub state: String,
    /// Where it is enforced: `kernel`, `gateway` (layer 7 only), or `observed` (counted, not enforced).
    pub enforced: String,
    /// Whether it is a shadow ban: counted, whatever `[shield] mode` says.
    #[serde(default)]
    pub observed: bool,
    /// Why: the rule that was met, or what the operator wrote.
    pub reason: String,
    /// The rule that was met, with what it had counted; none for an operator's ban.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleAtBan>,
    /// The clients that were served at these addresses in the hour before; absent if that was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
    /// The bans that it took the place of, when many neighbours became one network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived_from: Vec<u32>,
    /// Who made it: `rule`, or `operator` with the user id.
    pub by: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; none: for ever.
    pub until: Option<String>,
    /// Seconds left.
    pub left_s: Option<u64>,
    /// Which return this is: 1 for the first ban of this source.
    pub offence: u32,
    /// Packets dropped by this very ban.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
    /// Those packets that would have opened a TCP connection.
    #[serde(default)]
    pub syns: u64,
    /// The refused requests that led to it.
    pub evidence: Vec<Evidence>,
    /// Microseconds from the last denial to the entry in the kernel.
    pub latency_us: Option<u64>,
    /// When its client is let through; none: never, or it is over.
    #[serde(default)]
    pub parole: Option<Parole>,
    /// When it was renewed last, RFC 3339: its client had been let through and was refused again.
    #[serde(default)]
    pub renewed: Option<String>,
    /// The command that undoes it.
    pub undo: String,
}

/// The end of a ban, in which one connection now and then is let through and judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parole {
    /// When it begins, RFC 3339.
    pub from: String,
    /// Seconds from one connection to the next.
    pub every_s: u64,
}

/// `portcullis bans --shadow`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListShadows {}

/// What shadow bans would have done in the last 24 hours, by the clock's hours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shadows {
    /// Those in force, newest first.
    pub shadows: Vec<Shadow>,
    /// What those of each rule would have done, in force or over.
    pub rules: Vec<ShadowRule>,
    /// What those would have done that are over, or drop by now.
    pub over: Harm,
    /// All together.
    pub total: Harm,
}

/// The shadow bans of one rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShadowRule {
    /// `NAME` of `[ban.NAME]`, or `shield`.
    pub rule: String,
    /// What they would have dropped.
    #[serde(flatten)]
    pub harm: Harm,
}

/// One shadow ban.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shadow {
    /// Its id.
    pub id: u32,
    /// Whom it would keep out.
    pub target: String,
    /// Who made it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when it counts, RFC 3339.
    pub since: String,
    /// Seconds left; none: for ever.
    pub left_s: Option<u64>,
    /// What it would have dropped.
    #[serde(flatten)]
    pub harm: Harm,
    /// The command that makes it drop; none where all bans only count (`[shield] mode`).
    pub arm: Option<String>,
}

/// `portcullis promote ID`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Promote {
    /// The shadow ban.
    pub id: u32,
    /// Even when it would have kept out good requests or logins.
    #[serde(default)]
    pub force: bool,
    /// Say what would happen, and do not do it.
    #[serde(default)]
    pub dry_run: bool,
}

/// `portcullis promote RULE`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PromoteRule {
    /// The rule that observes.
    pub rule: String,
    /// Even when its bans would have kept out good requests or logins.
    #[serde(default)]
    pub force: bool,
    /// Say what would happen, and do not do it.
    #[serde(default)]
    pub dry_run: bool,
}

/// `portcullis ban [PREFIX] [--client AUTH/NAME]`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BanPrefix {
    /// Which addresses; of a client, those from which it is refused, from everywhere if there are none.
    #[serde(default)]
    pub prefix: Option<IpNet>,
    /// Only this client, at layer 7: `AUTH/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Subject>,
    /// How long, seconds; none: for ever.
    pub for_s: Option<u64>,
    /// Why.
    pub reason: String,
    /// Even when it covers an exempt address, is wider than /8 (IPv6: /19), or would cut good clients.
    pub force: bool,
    /// Count what it would drop, and drop nothing.
    #[serde(default)]
    pub observe: bool,
    /// Say what would happen, and do not do it.
    pub dry_run: bool,
}

/// `portcullis unban PREFIX|ID`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unban {
    /// A prefix, or …
    pub prefix: Option<IpNet>,
    /// … a ban's id.
    pub id: Option<u32>,
    /// Every ban in force.
    pub all: bool,
    /// Only what was banned for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds for which its rule is not to ban the same again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress_s: Option<u64>,
    /// Say what would happen, and do not do it.
    pub dry_run: bool,
}

/// `portcullis suppress --list`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListSuppressions {}

/// Whom rules do not ban, because an operator said so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suppressions {
    /// All of them, lowest number first.
    pub suppressions: Vec<Suppression>,
}

/// One suppression.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suppression {
    /// By which it is removed.
    pub number: u32,
    /// The rule that does not ban …
    pub rule: String,
    /// … this target: addresses, or a client.
    pub target: String,
    /// Until when, RFC 3339.
    pub until: String,
}

/// `portcullis suppress --remove NUMBER`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unsuppress {
    /// Which.
    pub number: u32,
    /// Say what would happen, and do not do it.
    #[serde(default)]
    pub dry_run: bool,
}

/// `portcullis offender AUTH/NAME|ADDRESS`: one of the two.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetOffender {
    /// A client.
    #[serde(default)]
    pub client: Option<Subject>,
    /// An address.
    #[serde(default)]
    pub address: Option<IpAddr>,
}

/// What is known about a client or an address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offender {
    /// Where the client was served in the last hour; the address itself, or its /64.
    pub sources: Vec<IpNet>,
    /// Some of those who were served at the address in the last hour, `AUTH/NAME`.
    pub clients: Vec<String>,
    /// Bans of it, in force and over, newest first.
    pub bans: Vec<Ban>,
}

/// What a change did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Changed {
    /// One line for each thing that changed.
    pub changes: Vec<String>,
    /// The command that undoes it.
    pub undo: Option<String>,
}

/// `portcullis allow`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AllowPrefix {
    /// What is never dropped.
    pub prefix: IpNet,
    /// Take it off the list instead.
    pub remove: bool,
    /// Say what would happen, and do not do it.
    pub dry_run: bool,
}

/// `portcullis allow --list`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListAllowed {}

/// What is never dropped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Allowed {
    /// Prefix and where it comes from.
    pub allowed: Vec<AllowedPrefix>,
}

/// One exempt prefix.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AllowedPrefix {
    /// What.
    pub prefix: IpNet,
    /// Why: `operator`, `never`, `loopback`, `own address`, `next hop`, `trusted proxy`, `upstream`, `ssh session`,
    /// `cdn`.
    pub because: String,
}
