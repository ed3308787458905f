//! Lists of addresses that others keep: what those commands take and answer.

use serde::{Deserialize, Serialize};

/// `portcullis deny list`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListDeny {}

/// All lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DenyLists {
    /// By name.
    pub lists: Vec<DenyList>,
}

/// One list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DenyList {
    /// Its name.
    pub name: String,
    /// Its number, of the same sequence as those of bans; the access log has it for requests that the list refuses.
    pub id: u32,
    /// Where it comes from: a path, a URL, or `import`.
    pub source: String,
    /// Whether `[list.NAME]` of the configuration has it; else a command brought it.
    pub is_configured: bool,
    /// What it was read as.
    pub format: String,
    /// Whether it is counted only.
    pub observed: bool,
    /// Addresses and networks in force.
    pub entries: usize,
    /// Those that its source names.
    pub expected: usize,
    /// Entries of its source that could not be read.
    pub skipped: u64,
    /// Addresses and networks that were left out: never banned, or too wide.
    pub guarded: usize,
    /// The first ten of these, with why.
    pub guarded_first: Vec<String>,
    /// Those that the kernel has no room for; the gateway refuses them.
    pub without_room: usize,
    /// When it was read last, RFC 3339; none: never yet.
    pub told: Option<String>,
    /// Until when it holds, RFC 3339; none: for ever.
    pub until: Option<String>,
    /// Seconds left; 0: it is over, and nothing of it holds.
    pub left_s: Option<u64>,
    /// Why it could not be read again, if that failed last time.
    pub failure: Option<String>,
    /// Why the kernel does not have it, where there is a kernel stage; the gateway refuses whom it names.
    pub outside: Option<String>,
    /// Packets dropped, or counted, for it.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
    /// Requests that it would have refused, if it only counts.
    pub requests: u64,
}

/// `portcullis deny import`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportDeny {
    /// Name of the list; what it held before is replaced.
    pub name: String,
    /// The list as it is.
    #[serde(default)]
    pub list: String,
    /// auto, text, crowdsec, nft or ipset.
    #[serde(default = "auto")]
    pub format: String,
    /// Seconds that it holds, for ever from a hundred years on; none: as long as the longest of its entries if each has
    /// an end, else for ever.
    #[serde(default)]
    pub for_s: Option<u64>,
    /// Count what it would drop, and drop nothing.
    #[serde(default)]
    pub observe: bool,
    /// Also networks that are very wide, or that cover what is never banned.
    #[serde(default)]
    pub force: bool,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

fn auto() -> String {
    "auto".into()
}

/// What became of an import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DenyImported {
    /// What it was read as.
    pub format: String,
    /// Entries that were read.
    pub taken: u64,
    /// Entries that could not be read.
    pub skipped: u64,
    /// The first ten of these, `line 7: text`.
    pub skipped_first: Vec<String>,
    /// Addresses and networks in force.
    pub entries: usize,
    /// Those that were left out: never banned, or too wide.
    pub guarded: usize,
    /// The first ten of these, with why.
    pub guarded_first: Vec<String>,
    /// Those that the kernel has no room for; the gateway refuses them.
    pub without_room: usize,
    /// What was done, or would be.
    pub changes: Vec<String>,
    /// The command that undoes it.
    pub undo: Option<String>,
}

/// `portcullis deny export`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportDeny {
    /// Name of the list.
    pub name: String,
    /// text, nft, ipset or json.
    #[serde(default = "text")]
    pub format: String,
}

fn text() -> String {
    "text".into()
}

/// A list as it is in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DenyExported {
    /// In the format that was asked for.
    pub list: String,
    /// Entries that were written.
    pub entries: u64,
    /// Those that were not, for they lie within a wider one and the format has no room for both.
    pub covered: u64,
}

/// `portcullis deny remove`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveDeny {
    /// Name of the list.
    pub name: String,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}
