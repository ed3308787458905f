//! Every way in which the gateway itself ends a request, and the one table that says what the client gets.
//!
//! A rejection holds no text. The table is exhaustive, and so is [`Rejection::signal`], so a new rejection does not
//! compile until somebody has decided what the client sees and whether it counts as abuse.

use std::sync::Arc;

use crate::abuse::signal;
use crate::request::context::LimitState;

/// Why the gateway refused a request or could not complete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The target, the path or its percent-encoding is not valid, or escapes the root.
    BadTarget,
    /// `Host` is missing, repeated or not a host.
    BadHost,
    /// Framing that two readers could understand differently, or a header section that is malformed.
    BadFraming,
    /// The request line's target is longer than allowed.
    UriTooLong,
    /// The header section is larger than allowed, or has too many fields.
    HeadersTooLarge,
    /// The header section was begun and not completed in time.
    HeadersTooSlow,
    /// The body is larger than the route allows.
    BodyTooLarge,
    /// A multipart body has more parts than the route allows.
    TooManyParts,
    /// The body arrived slower than the least rate, or stopped.
    BodyTooSlow,
    /// The client went away, or broke the framing, before its body was complete.
    BodyIncomplete,
    /// A method that the gateway never forwards (`CONNECT`, `TRACE`).
    MethodRefused,
    /// An `Expect` that is not `100-continue`.
    ExpectationFailed,
    /// The host named in the request is not served on the certificate that the client asked for.
    Misdirected,
    /// No route matches.
    NoRoute,
    /// A route matches the path and none of those matching takes the method.
    MethodNotAllowed {
        /// Methods that would match, ready for the `Allow` field.
        allow: Arc<str>,
    },
    /// The client's address is not admitted on this route.
    AddressDenied,
    /// The client or its address is banned at layer 7 (the ban in the kernel is not possible for it).
    Banned,
    /// No credential where the route asks for one.
    NoCredential(Challenge),
    /// A credential that does not hold.
    BadCredential(Challenge, CredentialFault),
    /// A valid token lacks a claim that the route maps to a header.
    MissingClaim,
    /// The issuer's keys were never loaded, so no token can be judged.
    KeysUnavailable,
    /// A limit is exhausted.
    RateLimited {
        /// The limit's state.
        state: LimitState,
        /// Seconds until one more request would pass, rounded up, at least 1.
        retry_after_s: u64,
    },
    /// Every target of the upstream is down.
    NoHealthyUpstream,
    /// The connection to the upstream was refused or broke before an answer.
    UpstreamUnreachable,
    /// No connection to the upstream in time.
    UpstreamConnectTimeout,
    /// The upstream did not begin its answer in time.
    UpstreamTimeout,
    /// The upstream's answer is not valid HTTP.
    UpstreamInvalid,
    /// The gateway holds as many connections or requests as it may.
    Overloaded,
    /// A fault of the gateway.
    Internal,
}

/// Which challenge a 401 carries in `WWW-Authenticate` (RFC 9110 §11.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// `Bearer` (RFC 6750 §3).
    Bearer,
    /// `ApiKey`: not registered, but clients need to be told something.
    ApiKey,
}

/// Why a credential does not hold: a fixed list, so that nothing internal reaches a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialFault {
    /// Not a credential of the asked form, or larger than allowed.
    Malformed,
    /// Several credentials where one is allowed.
    Repeated,
    /// An algorithm that the key or the config does not allow, `none` included.
    Algorithm,
    /// No key with this `kid`.
    UnknownKey,
    /// The signature does not verify.
    Signature,
    /// `exp` is over, or missing.
    Expired,
    /// `nbf` or `iat` is in the future.
    NotYetValid,
    /// `iss` is another issuer.
    Issuer,
    /// `aud` names other audiences.
    Audience,
    /// A critical header extension that is not understood (RFC 7515 §4.1.11).
    Critical,
    /// An API key that is not known.
    UnknownCredential,
    /// An API key that is switched off.
    Disabled,
}

impl CredentialFault {
    /// A short text for clients and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            CredentialFault::Malformed => "malformed",
            CredentialFault::Repeated => "more than one credential",
            CredentialFault::Algorithm => "algorithm not allowed",
            CredentialFault::UnknownKey => "unknown key",
            CredentialFault::Signature => "invalid signature",
            CredentialFault::Expired => "expired",
            CredentialFault::NotYetValid => "not yet valid",
            CredentialFault::Issuer => "wrong issuer",
            CredentialFault::Audience => "wrong audience",
            CredentialFault::Critical => "unknown critical extension",
            CredentialFault::UnknownCredential => "unknown",
            CredentialFault::Disabled => "disabled",
        }
    }
}

/// What a rejection looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appearance {
    /// Status code.
    pub status: u16,
    /// Label in metrics, the log's `deny.reason` and `X-Gateway-Reason`; also the end of the problem type's URN.
    pub reason: &'static str,
    /// For people: the body's `title` and `error`.
    pub title: &'static str,
    /// Whether the connection must end because its framing can no longer be trusted.
    pub close: bool,
}

impl Rejection {
    /// The table.
    pub fn appearance(&self) -> Appearance {
        use Rejection as R;
        let (status, reason, title) = match self {
            R::BadTarget => (400, "bad-target", "Bad request target"),
            R::BadHost => (400, "bad-host", "Bad Host field"),
            R::BadFraming => (400, "bad-framing", "Bad request"),
            R::UriTooLong => (414, "uri-too-long", "URI too long"),
            R::HeadersTooLarge => (431, "headers-too-large", "Request header fields too large"),
            R::HeadersTooSlow => (408, "headers-too-slow", "Request headers arrived too slowly"),
            R::BodyTooLarge => (413, "body-too-large", "Request body too large"),
            R::TooManyParts => (413, "too-many-parts", "Too many parts in the request body"),
            R::BodyTooSlow => (408, "body-too-slow", "Request body arrived too slowly"),
            R::BodyIncomplete => (400, "body-incomplete", "Request body incomplete"),
            R::MethodRefused => (405, "method-refused", "Method not allowed"),
            R::ExpectationFailed => (417, "expectation-failed", "Expectation failed"),
            R::Misdirected => (421, "misdirected", "Misdirected request"),
            R::NoRoute => (404, "no-route", "Not found"),
            R::MethodNotAllowed { .. } => (405, "method-not-allowed", "Method not allowed"),
            R::AddressDenied => (403, "address-denied", "Forbidden"),
            R::Banned => (403, "banned", "Forbidden"),
            R::NoCredential(Challenge::Bearer) => (401, "no-token", "No token provided"),
            R::NoCredential(Challenge::ApiKey) => (401, "no-key", "No API key provided"),
            R::BadCredential(Challenge::Bearer, _) => (401, "invalid-token", "Invalid token"),
            R::BadCredential(Challenge::ApiKey, _) => (401, "invalid-key", "Invalid API key"),
            R::MissingClaim => (401, "missing-claim", "Invalid token"),
            R::KeysUnavailable => (503, "keys-unavailable", "Token keys are not available"),
            R::RateLimited { .. } => (429, "rate-limited", "Too many requests"),
            R::NoHealthyUpstream => (503, "no-healthy-upstream", "No healthy upstream"),
            R::UpstreamUnreachable => (502, "upstream-unreachable", "Upstream unreachable"),
            R::UpstreamConnectTimeout => (504, "upstream-connect-timeout", "Upstream timed out"),
            R::UpstreamTimeout => (504, "upstream-timeout", "Upstream timed out"),
            R::UpstreamInvalid => (502, "upstream-invalid", "Upstream answer invalid"),
            R::Overloaded => (503, "overloaded", "Overloaded"),
            R::Internal => (500, "internal", "Internal server error"),
        };
        let close = matches!(
            self,
            R::BadFraming
                | R::BodyTooLarge
                | R::TooManyParts
                | R::BodyTooSlow
                | R::BodyIncomplete
                | R::HeadersTooLarge
                | R::HeadersTooSlow
        );
        Appearance { status, reason, title, close }
    }

    /// Whether and how this counts against the client in the abuse loop.
    pub fn signal(&self) -> Option<signal::Kind> {
        use Rejection as R;
        match self {
            R::BadTarget
            | R::BadHost
            | R::BadFraming
            | R::HeadersTooLarge
            | R::UriTooLong
            | R::MethodRefused => Some(signal::Kind::Malformed),
            R::NoCredential(_) | R::BadCredential(..) | R::MissingClaim => {
                Some(signal::Kind::Unauthenticated)
            }
            R::HeadersTooSlow => Some(signal::Kind::BrokenConnection),
            R::AddressDenied => Some(signal::Kind::Forbidden),
            R::RateLimited { .. } => Some(signal::Kind::RateLimited),
            R::BodyTooLarge | R::TooManyParts | R::BodyTooSlow => Some(signal::Kind::Greedy),
            R::NoRoute => Some(signal::Kind::NotFound),
            // Not a new offence.
            R::Banned
            | R::BodyIncomplete
            | R::ExpectationFailed
            | R::Misdirected
            | R::MethodNotAllowed { .. }
            | R::KeysUnavailable
            | R::NoHealthyUpstream
            | R::UpstreamUnreachable
            | R::UpstreamConnectTimeout
            | R::UpstreamTimeout
            | R::UpstreamInvalid
            | R::Overloaded
            | R::Internal => None,
        }
    }
}
