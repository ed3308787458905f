//! Changing the configuration by command, and its history.

use serde::{Deserialize, Serialize};

/// `portcullis reload [--dry-run]`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reload {
    /// Check and compare only.
    pub dry_run: bool,
}

/// What a reload did or found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether the new configuration is in force (with `dry_run`: could be).
    pub ok: bool,
    /// Generation in force now.
    pub generation: u64,
    /// One line for each difference: `+ route users`, `~ limit per-user`, `- auth old`.
    pub changes: Vec<String>,
    /// Problems, rendered for a terminal without colour.
    pub report: String,
    /// How many errors.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
    /// The command that undoes it, if anything changed and the history has what was in force before.
    #[serde(default)]
    pub undo: Option<String>,
}

/// `portcullis apply FILE`: texts in place of the files on the disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The new text of the main file; none: it stays as it is.
    #[serde(default)]
    pub text: Option<String>,
    /// Drop-ins, `NAME.toml` in `conf.d` beside the main file.
    #[serde(default)]
    pub drop_ins: Vec<DropIn>,
    /// Remove the drop-ins that are not named here.
    #[serde(default)]
    pub prune: bool,
    /// The fingerprint of all files that the caller saw, as [`Applied::found`] says it. Where they are others now,
    /// nothing is changed.
    #[serde(default)]
    pub expected: Option<String>,
    /// What for; kept in the history.
    #[serde(default)]
    pub why: String,
    /// Check and compare only.
    #[serde(default)]
    pub dry_run: bool,
}

/// One file of `conf.d`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropIn {
    /// `10-users.toml`
    pub name: String,
    /// Its text; none: it is removed.
    pub text: Option<String>,
}

/// `portcullis rollback [NUMBER]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// To what; none: to what was in force before the last change.
    #[serde(default)]
    pub number: Option<u64>,
    /// What for; kept in the history.
    #[serde(default)]
    pub why: String,
    /// Check and compare only.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an `apply` or a `rollback` did or found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Applied {
    /// As of a reload.
    #[serde(flatten)]
    pub reloaded: Reloaded,
    /// Its number in the history; none if it is not in force.
    pub number: Option<u64>,
    /// The number that was gone back to, by `rollback`.
    pub back_to: Option<u64>,
    /// The fingerprint of the files that were found.
    pub found: String,
}

/// `portcullis history`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetHistory {}

/// The configurations that were in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// Newest first.
    pub entries: Vec<Entry>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// From 1.
    pub number: u64,
    /// When it came into force, RFC 3339.
    pub at: String,
    /// Who put it in force: `uid 1000 (alice)`, `SIGHUP`, `start`.
    pub who: String,
    /// By which command; `edited` for what was found on the disk, not in force, when a command replaced it.
    pub verb: String,
    /// What for.
    pub why: String,
    /// Whether it is the one in force.
    pub in_force: bool,
    /// The SHA-256 of its files.
    pub fingerprint: String,
    /// Bytes of its files.
    pub bytes: usize,
    /// How it differs from the one before.
    pub changes: Vec<String>,
}

/// `portcullis history show NUMBER`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowHistory {
    /// Which.
    pub number: u64,
}

/// One configuration with its texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// What is known of it.
    pub entry: Entry,
    /// The main file first. Secrets that stand in them as they are are not shown.
    pub files: Vec<ShownFile>,
}

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShownFile {
    /// Relative to the main file's folder if it lies under it.
    pub path: String,
    /// Its text.
    pub text: String,
}
