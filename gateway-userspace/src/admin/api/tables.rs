//! The tables of the configuration and the routes, as the admin API shows and changes them.

use serde::{Deserialize, Serialize};

/// `portcullis config list` and `portcullis config get`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GetTables {
    /// Only this kind: `route`, `upstream`, `shield` …
    pub kind: Option<String>,
    /// Only this one of the kind; then it has to be there.
    pub name: Option<String>,
}

/// Tables, in the order of the reference, then by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tables {
    /// All that were asked for.
    pub tables: Vec<Table>,
}

/// One table as it stands in a file, with secrets replaced by asterisks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// `route`, `upstream`, `shield` …
    pub kind: String,
    /// Its name; none of tables that there is only one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file in which it stands, relative to the main file's folder.
    pub file: String,
    /// The line in which it begins, from 1.
    pub line: usize,
    /// Whether the API may change it: it stands in the file that is kept for that.
    pub managed: bool,
    /// For `If-Match`: another one as soon as anything in the table is another.
    pub etag: String,
    /// Its keys and values.
    pub values: serde_json::Value,
    /// The same as TOML, with its comments.
    pub toml: String,
}

/// `portcullis config set`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SetTable {
    /// `route`, `upstream`, `shield` …
    pub kind: String,
    /// Its name; none for tables that there is only one of.
    pub name: Option<String>,
    /// Its keys and values as TOML, without a header, or …
    pub toml: Option<String>,
    /// … as JSON.
    pub values: Option<serde_json::Value>,
    /// Whether it must be new, must be as it was seen, or may be anything.
    #[serde(flatten)]
    pub only: Precondition,
    /// Say what would change, and do not do it.
    pub dry_run: bool,
}

/// `portcullis config delete`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteTable {
    /// `route`, `upstream`, `shield` …
    pub kind: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether it must be as it was seen.
    #[serde(flatten)]
    pub only: Precondition,
    /// Say what would change, and do not do it.
    pub dry_run: bool,
}

/// The optimistic lock (RFC 9110 §13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Precondition {
    /// The table must have one of these; `*` stands for any, so it must be there.
    pub if_match: Option<String>,
    /// The table must not be there: `*` is all that is understood.
    pub if_none_match: Option<String>,
}

/// What a change of a table did, or with `dry_run` would do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableChanged {
    /// Whether the table is new.
    pub created: bool,
    /// One line for each difference between what was in force and what is now.
    pub changes: Vec<String>,
    /// Warnings, as `portcullis check` prints them.
    pub report: String,
    /// Generation in force now.
    pub generation: u64,
    /// Number in the history; none with `dry_run`.
    pub number: Option<u64>,
    /// Of the table as it is now; none if it is gone.
    pub etag: Option<String>,
    /// The file that was written.
    pub file: String,
    /// The command that undoes it.
    pub undo: Option<String>,
}

/// `portcullis routes`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListRoutes {
    /// Only this one; then it has to be there.
    pub name: Option<String>,
}

/// The routes in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Routes {
    /// By name.
    pub routes: Vec<RouteView>,
}

/// One route in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteView {
    /// The name that logs, metrics, errors and `top` call it by.
    pub name: String,
    /// Where it stands, `FILE:LINE`, if it still stands in a file.
    pub at: Option<String>,
    /// What it matches.
    pub matches: Vec<String>,
    /// Where requests go: the name of an upstream, targets, or a status.
    pub to: String,
    /// Every setting with the value in force, defaults included.
    pub settings: Vec<(String, String)>,
    /// Requests by class of status, 1xx to 5xx, since the start.
    pub requests: [u64; 5],
}
