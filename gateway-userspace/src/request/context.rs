//! What is known about one request while it is being served.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::{Identity, Peer};
use crate::abuse::parole::Visit;
use crate::abuse::shadow::Shadows;
use crate::header::Value;

/// The id of a request: a UUIDv7, or what a trusted proxy sent in `X-Request-Id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Value);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

/// What stands in a path for a parameter of its route's pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the pattern.
    pub name: Box<str>,
    /// The value as it stands in the normal form of the path.
    pub value: Box<str>,
    /// The same for every spelling that an upstream reads as this value, so that nobody is counted apart for writing
    /// it in another way.
    pub canonical: Box<str>,
}

/// Everything found out about a request so far; policies read it and add to it.
#[derive(Debug)]
pub struct Context {
    /// The request's id, also in the answer and in the log.
    pub id: RequestId,
    /// The connection's two ends.
    pub peer: Arc<Peer>,
    /// The client's address by the trusted-proxy rule; equals the socket's peer unless that is a trusted proxy.
    pub client: IpAddr,
    /// When the head was complete, by the monotonic clock.
    pub started: Instant,
    /// The same moment by the wall clock.
    pub started_at: SystemTime,
    /// Name of the route, once found.
    pub route: Option<Arc<str>>,
    /// Names and values of the path's parameters, where the route has a use for them.
    pub parameters: Vec<Parameter>,
    /// Who the client is, once authenticated.
    pub identity: Option<Arc<Identity>>,
    /// The shadow bans that would have kept it out.
    pub shadow: Option<Shadows>,
    /// The ban, or the list that others keep, by which it is refused.
    pub banned: Option<u32>,
    /// The connection's visit, where its peer was let through on parole.
    pub parole: Option<Rc<Visit>>,
    /// The state of the limit that is nearest to refusing, which answers tell the client.
    pub limit: Option<LimitState>,
}

impl Context {
    /// A parameter of the path.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| *parameter.name == *name)
    }
}

/// What a limit says about a request that it let through or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitState {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Requests per period, plus nothing: what `X-RateLimit-Limit` shows.
    pub quota: u64,
    /// Requests that would pass right now.
    pub remaining: u64,
    /// Seconds until the whole quota is there again, rounded up.
    pub reset_s: u64,
    /// Whether answers have the `X-RateLimit-*` fields.
    pub x_ratelimit: bool,
    /// `RateLimit-Policy`, if answers have the IETF's fields.
    pub policy: Option<Value>,
}
