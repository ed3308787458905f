//! Whether ledger, kernel and state file agree: what `portcullis bans --verify` takes and answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `portcullis bans --verify`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyBans {}

/// What was compared, and what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Why the kernel was left out: there is no kernel stage.
    pub kernel_off: Option<String>,
    /// Whether there is a state file to compare with.
    pub state_file: bool,
    /// How much was compared.
    pub compared: Compared,
    /// How many differences there are of each kind.
    pub differing: BTreeMap<String, u64>,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// How much was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Bans in force.
    pub bans: usize,
    /// Entries of bans in the kernel's lists, read back one by one.
    pub entries: usize,
    /// Entries of lists there.
    pub list_entries: usize,
    /// Prefixes that are allowed there.
    pub allowed: usize,
    /// Words of the filter.
    pub filter_words: usize,
    /// Lines of the state file.
    pub state_lines: usize,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Of which kind; the operations page lists them.
    pub kind: String,
    /// Whom it is about.
    pub target: Option<String>,
    /// The ban that it is about.
    pub ban: Option<u32>,
}
