//! What the request path tells the abuse loop about a refusal.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::target::Subject;

/// What a client did. Rules say which kinds they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A request that is not HTTP as it should be (400, 414, 431).
    Malformed,
    /// No credential or a wrong one (401).
    Unauthenticated,
    /// An address or identity that is not admitted (403).
    Forbidden,
    /// A limit was exhausted (429).
    RateLimited,
    /// A body that was too large or too slow (413, 408).
    Greedy,
    /// A connection that broke TLS, the protocol or a deadline before it made a request.
    BrokenConnection,
    /// A path that no route has (404). Counts only where a rule names it, since people mistype and links die.
    NotFound,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Malformed,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::RateLimited,
        Kind::Greedy,
        Kind::BrokenConnection,
        Kind::NotFound,
    ];

    /// Label in metrics, logs and receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Malformed => "malformed",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::RateLimited => "rate-limited",
            Kind::Greedy => "greedy",
            Kind::BrokenConnection => "broken-connection",
            Kind::NotFound => "not-found",
        }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// All but [`Kind::NotFound`]: what a rule counts that names none.
    pub const USUAL: Kinds = Kinds((1 << Kind::NotFound as u8) - 1);

    /// Whether a kind is among them.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Those that are among them.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Kinds {
        Kinds(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

/// One refusal, with what a receipt needs to show it later. Made only for refusals, so it may allocate.
#[derive(Debug, Clone)]
pub struct Signal {
    /// The socket's peer: the only address that the kernel may drop. An address read from a header never stands here.
    pub source: IpAddr,
    /// Whether `source` is a trusted proxy, which is never banned.
    pub trusted_proxy: bool,
    /// What happened.
    pub kind: Kind,
    /// When the refusal was decided, by the monotonic clock.
    pub at: Instant,
    /// CPU time that the gateway spent until then, as far as it was measured: the time of the worker, which also runs
    /// where the kernel gives the core to somebody else for a moment.
    pub cost: Duration,
    /// The request, for the receipt; none when the connection broke before there was one.
    pub evidence: Option<Box<Evidence>>,
}

/// A refused request as a receipt shows it. Query and credentials are never part of it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// When, by the wall clock.
    #[serde(with = "crate::observe::timestamp")]
    pub time: SystemTime,
    /// The request's id, as in the access log.
    pub request_id: String,
    /// Method, at most 16 bytes.
    pub method: String,
    /// Host as the client named it, at most 255 bytes.
    pub host: String,
    /// Normalised path without the query, at most 256 bytes.
    pub path: String,
    /// Status that was answered.
    pub status: u16,
    /// Reason label of the rejection.
    pub reason: String,
    /// Route, if one was found.
    pub route: Option<Arc<str>>,
    /// The `[auth.NAME]` that knew the client, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Arc<str>>,
    /// Who the client was, if known.
    pub principal: Option<Arc<str>>,
    /// The TLS client's fingerprint, if it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ja4: Option<Box<str>>,
}

impl Evidence {
    /// The client, if it was known, by a name that is whole.
    pub fn who(&self) -> Option<Subject> {
        let (auth, principal) = self.auth.clone().zip(self.principal.clone())?;
        (!principal.is_empty()).then_some(Subject { auth, principal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unless_it_is_named_a_missing_page_is_no_denial() {
        assert!(!Kinds::USUAL.contains(Kind::NotFound));
        assert_eq!(Kinds::USUAL.iter().count(), Kind::ALL.len() - 1);
        let named: Kinds = [Kind::NotFound, Kind::Malformed].into_iter().collect();
        assert_eq!(named.iter().collect::<Vec<_>>(), [Kind::Malformed, Kind::NotFound]);
    }

    #[test]
    fn a_kind_is_called_the_same_everywhere() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
