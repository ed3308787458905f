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
    /// `{name}` or `{name:kind}`: any one segment that is not empty and of this kind.
    Parameter(Box<str>, Kind),
}

/// What the segment of a parameter may be. In the order in which kinds are tried: narrower before wider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `{id:uuid}`: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562 §4), in either case.
    Uuid,
    /// `{id:int}`: one to twenty decimal digits, as many as an unsigned number of 64 bits has.
    Int,
    /// `{id}`: anything.
    Any,
}

impl Kind {
    /// As written after the colon, with what it stands for.
    pub const NAMED: [(&'static str, Kind); 2] = [("uuid", Kind::Uuid), ("int", Kind::Int)];

    /// Whether a segment, which is in normal form, is of this kind. An empty one is of none.
    pub fn takes(self, segment: &str) -> bool {
        const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
        match self {
            Kind::Any => !segment.is_empty(),
            Kind::Int => {
                (1..=20).contains(&segment.len()) && segment.bytes().all(|byte| byte.is_ascii_digit())
            }
            Kind::Uuid => {
                segment.len() == 36
                    && segment.split('-').map(str::len).eq(GROUPS)
                    && segment.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
            }
        }
    }
}

impl PathPattern {
    /// The names of the parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        let segments = self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name, _) => Some(&**name),
            Segment::Literal(_) => None,
        });
        segments.chain(match &self.tail {
            Tail::Rest(name) => Some(&**name),
            Tail::End | Tail::Prefix => None,
        })
    }
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
