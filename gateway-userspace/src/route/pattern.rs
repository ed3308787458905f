//! What a route matches: `"GET,POST api.example.com/v1/users/*"`.

mod parse;

use std::ops::Range;
use std::sync::Arc;

/// A parsed `match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Methods in upper case, sorted; empty matches all.
    pub methods: Vec<Box<str>>,
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
}

/// Which hosts a pattern matches, most specific first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Exactly this host, lower case, without port.
    Exact(Box<str>),
    /// `*.example.com`: one or more labels before this suffix (kept without `*.`).
    Wildcard(Box<str>),
    /// Any host.
    Any,
}

/// A path: segments, and what comes after them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The segments between the slashes.
    pub segments: Vec<Segment>,
    /// What may follow them.
    pub tail: Tail,
    /// The text as written, for logs and metrics.
    pub text: Arc<str>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// These bytes, in normal form.
    Literal(Box<str>),
    /// `{name}`: any one segment that is not empty.
    Parameter(Box<str>),
}

/// What may follow the segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tail {
    /// Nothing: the whole path is matched.
    End,
    /// `/*`: nothing, or `/` and anything. Whole segments only: `/v1/*` matches `/v1` and `/v1/x`, never `/v10`.
    Prefix,
    /// `/{name+}`: one or more segments, kept under the name.
    Rest(Box<str>),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Which bytes of the text are meant.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}
