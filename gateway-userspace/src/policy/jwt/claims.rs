//! The registered claims (RFC 7519 §4.1): who issued a token, for whom, and when it is good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::config::Config;
use crate::http::rejection::CredentialFault;

/// Latest moment that a date may name: the end of the year 9999, as milliseconds since 1970.
const DATE_MAX_MS: u64 = 253_402_300_799_000;

/// When a token is good, in milliseconds since 1970, the leeway already counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub from_ms: u64,
    /// First moment at which it is over.
    pub until_ms: u64,
}

impl Validity {
    /// Whether `now_ms` is within.
    pub fn contains(self, now_ms: u64) -> bool {
        self.from_ms <= now_ms && now_ms < self.until_ms
    }
}

/// The wall clock in milliseconds since 1970.
pub fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Checks `exp`, `nbf`, `iat`, `iss` and `aud`, in this order.
pub fn check(claims: &Map<String, Value>, config: &Config, now_ms: u64) -> Result<Validity, CredentialFault> {
    let validity = validity(claims, config.leeway)?;
    if now_ms >= validity.until_ms {
        return Err(CredentialFault::Expired);
    }
    if now_ms < validity.from_ms {
        return Err(CredentialFault::NotYetValid);
    }
    if let Some(issuer) = &config.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(CredentialFault::Issuer);
    }
    if !config.audiences.is_empty() && !names_audience(claims.get("aud"), &config.audiences) {
        return Err(CredentialFault::Audience);
    }
    Ok(validity)
}

/// A token without `exp` would be good for ever, so it counts as expired.
fn validity(claims: &Map<String, Value>, leeway: Duration) -> Result<Validity, CredentialFault> {
    let leeway_ms = u64::try_from(leeway.as_millis()).unwrap_or(u64::MAX);
    let expires = date(claims, "exp")?.ok_or(CredentialFault::Expired)?;
    let not_before = date(claims, "nbf")?.unwrap_or(0);
    let issued = date(claims, "iat")?.unwrap_or(0);
    Ok(Validity {
        from_ms: not_before.max(issued).saturating_sub(leeway_ms),
        until_ms: expires.saturating_add(leeway_ms),
    })
}

/// A NumericDate (RFC 7519 §2): seconds since 1970, fractions allowed, nothing but a number.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, CredentialFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().ok_or(CredentialFault::Malformed)?;
    let ms = seconds * 1000.0;
    if !(0.0..=DATE_MAX_MS as f64).contains(&ms) {
        return Err(CredentialFault::Malformed);
    }
    Ok(Some(ms as u64))
}

/// `aud` is one text or a list of texts (RFC 7519 §4.1.3); one match is enough. A list with anything else in it names
/// nobody.
fn names_audience(claim: Option<&Value>, accepted: &[std::sync::Arc<str>]) -> bool {
    let is_accepted = |audience: &str| accepted.iter().any(|own| **own == *audience);
    match claim {
        Some(Value::String(audience)) => is_accepted(audience),
        Some(Value::Array(audiences)) => {
            audiences.iter().all(Value::is_string)
                && audiences.iter().filter_map(Value::as_str).any(is_accepted)
        }
        _ => false,
    }
}
