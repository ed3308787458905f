//! `[auth.NAME]` with `api-key`.

use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;

use crate::header::Name;

/// Settings of one API-key authentication.
#[derive(Debug, Clone)]
pub struct Config {
    /// The `[auth.NAME]`.
    pub name: Arc<str>,
    /// Where the key stands, in the order in which it is looked for; not empty.
    pub from: Vec<Location>,
    /// The keys that are accepted.
    pub keys: Vec<Key>,
    /// Header that tells the upstream the consumer, if any.
    pub consumer_header: Option<Name>,
    /// Whether the key stays in the request that goes upstream (default: it is removed).
    pub forward: bool,
}

/// Where a key may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A header field.
    Header(Name),
    /// A query parameter.
    Query(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Public id of the key, for logs.
    pub id: Arc<str>,
    /// Who owns it; what limits and logs call the client.
    pub consumer: Arc<str>,
    /// SHA-256 of the secret. Keys are random and long, so one digest is enough.
    pub sha256: [u8; 32],
    /// Under which conditions it is accepted.
    pub terms: Terms,
}

/// Under which conditions a key is accepted; with none of them always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whether it is switched off for now.
    pub disabled: bool,
    /// From when on it is refused, by the wall clock.
    pub expires: Option<SystemTime>,
    /// Whence it is accepted; empty: from everywhere.
    pub addresses: Vec<IpNet>,
}

impl Terms {
    /// `active`, `disabled` or `expired`.
    pub fn state(&self, now: SystemTime) -> &'static str {
        match self {
            Terms { disabled: true, .. } => "disabled",
            Terms { expires: Some(expires), .. } if now >= *expires => "expired",
            _ => "active",
        }
    }
}
