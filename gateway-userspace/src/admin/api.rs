//! The admin API's types: what each command takes and answers, shared by server, command line and tests.
//!
//! HTTP/1.1 with JSON. Types only: nothing here reads, writes or decides. Who may call what stands in one table, in
//! [`command`].

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

mod bans;
mod command;
mod deny;
mod tables;
mod verify;

pub use bans::{
    AllowPrefix, Allowed, AllowedPrefix, Ban, BanPrefix, Bans, Changed, GetOffender, ListAllowed, ListBans,
    ListShadows, ListSuppressions, Offender, Parole, Promote, PromoteRule, Shadow, ShadowRule, Shadows,
    Suppression, Suppressions, Unban, Unsuppress,
};
pub use command::{COMMANDS, Command, Role, Signature};
pub use deny::{
    DenyExported, DenyImported, DenyList, DenyLists, ExportDeny, ImportDeny, ListDeny, RemoveDeny,
};
pub use tables::{
    DeleteTable, GetTables, ListRoutes, Precondition, RouteView, Routes, SetTable, Table, TableChanged,
    Tables,
};
pub use verify::{Compared, Difference, Verification, VerifyBans};

mod configuration;

pub use configuration::{
    Applied, Apply, DropIn, Entry, GetHistory, History, Reload, Reloaded, RollBack, ShowHistory, Shown,
    ShownFile,
};

/// `portcullis status`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetStatus {}

/// The state of the gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Version of the binary.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whether it is draining.
    pub draining: bool,
    /// Configuration file.
    pub config: String,
    /// Generation in force, from 1.
    pub generation: u64,
    /// The last reload's failure, if it failed.
    pub last_reload_error: Option<String>,
    /// Worker threads.
    pub workers: usize,
    /// Where it listens, `name → address`.
    pub listeners: Vec<ListenerStatus>,
    /// Where the admin API listens beside its socket.
    #[serde(default)]
    pub admin: Option<String>,
    /// The kernel stage.
    pub kernel: KernelStatus,
    /// Requests served since the start.
    pub requests: u64,
    /// Client connections open now.
    pub connections: u64,
    /// Bans in force.
    pub bans: usize,
    /// What bans by rule have saved.
    #[serde(default)]
    pub saved: Vec<Saved>,
    /// Upstream targets and their state.
    pub upstreams: Vec<UpstreamStatus>,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
}

/// What the bans of one rule have saved since the start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saved {
    /// Its name.
    pub rule: String,
    /// Connections that were not opened: dropped SYNs, those that were sent again included.
    pub connections: u64,
    /// Seconds of CPU time that refusing them would have cost, by what the refusals cost that led to the bans.
    pub cpu_s: f64,
}

/// One listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// `[listen.NAME]`
    pub name: String,
    /// Bound address.
    pub address: String,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// One upstream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Targets as `host:port`.
    pub targets: Vec<String>,
}

/// The kernel stage's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KernelStatus {
    /// Whether it is on.
    pub on: bool,
    /// Why it is off.
    pub off_because: Option<String>,
    /// `enforce` or `observe`.
    pub mode: String,
    /// Where it is attached.
    pub attachments: Vec<Attachment>,
    /// Where it should be attached and is not.
    pub lost: Vec<LostInterface>,
    /// Packets by verdict since the maps were made.
    pub counters: Vec<Counter>,
    /// Entries in the denylist.
    pub entries: usize,
    /// The lists that have no room, with their capacity: bans that do not fit hold at layer 7 only.
    pub full: Vec<String>,
    /// What was found in the kernel otherwise than it was written, since the start; each was put right at once.
    pub drift: u64,
    /// Whether something presses on this machine, or has in the last ten seconds.
    pub pressure: bool,
    /// Whether the SYN budget is armed, or rests; none if there is no SYN budget.
    pub syns_armed: Option<bool>,
}

/// One interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attachment {
    /// Name.
    pub interface: String,
    /// `native` or `generic`.
    pub mode: String,
    /// Whether it stands beside other programs, in the dispatcher of libxdp.
    pub shared: bool,
}

/// An interface on which nothing is enforced.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LostInterface {
    /// Name.
    pub interface: String,
    /// Why.
    pub because: String,
}

/// One counter of the kernel stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counter {
    /// Verdict or reason, as in the metric's label.
    pub verdict: String,
    /// Packets.
    pub packets: u64,
}

/// `portcullis explain METHOD URL`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explain {
    /// Method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Client address.
    pub from: Option<IpAddr>,
    /// Header fields.
    pub headers: Vec<(String, String)>,
}

/// What would happen to a request, step by step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// Step and finding, in order.
    pub steps: Vec<Step>,
    /// The answer: `forward to users (10.0.0.1:80)`, `404 no-route` …
    pub outcome: String,
}

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// `listener`, `path`, `route`, `address`, `auth`, `limit`, `upstream`, `ban`
    pub step: String,
    /// What was found.
    pub finding: String,
}

/// `portcullis key list`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListKeys {}

/// The API keys in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keys {
    /// All of them.
    pub keys: Vec<KeyView>,
}

/// One key, without its secret, which the gateway does not have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyView {
    /// `[auth.NAME]`
    pub auth: String,
    /// Id.
    pub id: String,
    /// Owner.
    pub consumer: String,
    /// First eight digits of the SHA-256.
    pub fingerprint: String,
    /// `active`, `disabled` or `expired`.
    pub state: String,
    /// When it expires, RFC 3339; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// `portcullis top`: one frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetTop {}

/// Counters since the start; the reader subtracts two frames.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Top {
    /// Monotonic milliseconds at which the frame was taken.
    pub at_ms: u64,
    /// By route.
    pub routes: Vec<RouteTop>,
    /// Kernel counters.
    pub kernel: Vec<Counter>,
    /// Sources with the highest scores or most drops.
    pub sources: Vec<SourceTop>,
    /// Sources that the packet budgets shed in the last minute or two, heaviest first. They have no ban.
    pub shed: Vec<ShedSource>,
    /// Connections open now.
    pub connections: u64,
}

/// One route's counters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteTop {
    /// Name, or `(none)`.
    pub route: String,
    /// Requests by class of status: 1xx to 5xx.
    pub by_class: [u64; 5],
    /// Sum of durations, seconds.
    pub seconds: f64,
}

/// One source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceTop {
    /// Address or prefix.
    pub source: IpNet,
    /// Denials in the window now.
    pub score: f64,
    /// Packets dropped.
    pub dropped: u64,
    /// Ban id.
    pub ban: Option<u32>,
}

/// One source over a packet budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShedSource {
    /// Address, or /64. It can be forged.
    pub source: IpNet,
    /// Verdict: `over_packets` or `over_syns`, `observed_packets` or `observed_syns`.
    pub reason: String,
    /// Packets, estimated from samples.
    pub packets_estimated: u64,
}
