//! `[limit.NAME]`.

use std::sync::Arc;
use std::time::Duration;

use crate::header::Name;

/// Settings of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The `[limit.NAME]`.
    pub name: Arc<str>,
    /// Requests per `per`, at least 1.
    pub requests: u64,
    /// The period.
    pub per: Duration,
    /// Requests that may come at once beyond the even pace, as `burst` of NGINX `limit_req` with `nodelay`: with burst 20,
    /// 21 requests pass back to back. Default: `requests` − 1, so that the whole quota may be spent at once.
    pub burst: u64,
    /// What is counted; several make a tuple. Never empty.
    pub by: Vec<Key>,
    /// What answers say about it.
    pub headers: Headers,
}

/// Which fields tell a client how much is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Headers {
    /// `X-RateLimit-*`, and those of the IETF's draft.
    #[default]
    Both,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    XRateLimit,
    /// `RateLimit` and `RateLimit-Policy`.
    Ietf,
    /// None.
    Off,
}

/// One part of what a limit counts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The token's subject, else the API key's consumer, else the client address.
    User,
    /// The API key's id, else the client address.
    ApiKey,
    /// The client address by the trusted-proxy rule; IPv6 by /64.
    Address,
    /// The API key's consumer, who may have several keys, else the client address.
    Consumer,
    /// The host that the request is for: one bucket for all clients of it.
    Host,
    /// The route: one bucket for all clients of it.
    Route,
    /// A claim of the token, by a dotted path.
    Claim(Box<str>),
    /// A header field.
    Header(Name),
    /// A cookie.
    Cookie(Box<str>),
    /// The TLS client's fingerprint: one bucket for all who use the same software.
    Ja4,
    /// A parameter of the route's path.
    Parameter(Box<str>),
}

impl Key {
    /// Whether the key is known only after authentication.
    pub fn needs_identity(&self) -> bool {
        matches!(self, Key::User | Key::ApiKey | Key::Consumer | Key::Claim(_))
    }
}
