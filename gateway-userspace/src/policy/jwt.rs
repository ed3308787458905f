//! Bearer tokens: JSON Web Tokens (RFC 7519) signed by an issuer whose keys are read from a file or fetched.
//!
//! The order of the checks: size, cache, form, header, algorithm allowed by the configuration, claims, key, signature.
//! Claims come before the signature because they are cheaper; a token is accepted only when all hold (RFC 8725).
//! What is refused and why has one short name each ([`CredentialFault`]); nothing else is told to the client.

pub mod cache;
pub mod claims;
pub mod config;
pub mod identity;
pub mod kept;
mod strict_json;
pub mod token;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use cache::{Known, TokenCache};
use config::{Config, KeySource};
use token::Token;

use crate::header;
use crate::http::rejection::{Challenge, CredentialFault, Rejection};
use crate::keyring::document::{Author, DocumentError, Selection, Skipped};
use crate::keyring::fetch::Job;
use crate::keyring::issuer::{Origin, Want};
use crate::keyring::{Issuer, KeySet, Keyring};
use crate::request::{Head, Identity};

/// One `[auth.NAME]` with `jwt`, ready to judge requests. Shared by all workers.
pub struct Authenticator {
    config: Config,
    issuer: Arc<Issuer>,
    cache: TokenCache,
    skipped: Vec<Skipped>,
}

/// What authentication says about a request.
#[derive(Debug)]
pub enum Outcome {
    /// The request brings no bearer token; another way to authenticate may apply.
    Absent,
    /// The token holds.
    Accepted(Arc<Identity>),
    /// The token does not hold, or cannot be judged.
    Refused(Rejection),
}

/// What judging a token came to.
enum Verdict {
    Accepted(Arc<Identity>),
    Refused(Rejection),
    /// Newer keys could change the answer, which else is the rejection.
    Ask(Want, Rejection),
}

impl Authenticator {
    /// Prepares an authentication. Keys from the configuration are parsed here. Issuers that are fetched come from
    /// `keyring` and keep the keys that they have.
    pub fn compile(config: Config, keyring: &Keyring) -> Result<Authenticator, DocumentError> {
        let mut skipped = Vec::new();
        let issuer = match &config.keys {
            KeySource::Discovery(issuer) => keyring.issuer(&config.name, &Origin::Discovery(issuer.clone())),
            KeySource::Url(url) => keyring.issuer(&config.name, &Origin::Url(url.clone())),
            KeySource::Inline(text) => {
                let (keys, left_out) = KeySet::parse(text.as_bytes(), Author::Operator)?;
                skipped = left_out;
                Arc::new(Issuer::fixed(config.name.clone(), keys))
            }
        };
        Ok(Authenticator { config, issuer, cache: TokenCache::default(), skipped })
    }

    /// The settings: which headers to strip and whether the token goes on are for the caller to heed.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Keys of the configuration that were left out.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// What the fetcher has to do for this authentication; none for keys that stand in the configuration.
    pub fn job(&self) -> Option<Job> {
        self.issuer.origin()?;
        Some(Job { issuer: self.issuer.clone(), refresh: self.config.refresh, ca: self.config.ca.clone() })
    }

    /// What is known without judging: that there is no token, that it cannot be one, or what was found out lately.
    pub fn recall(&self, head: &Head, now: SystemTime) -> Option<Outcome> {
        let token = match bearer(head) {
            Ok(Some(token)) => token,
            Ok(None) => return Some(Outcome::Absent),
            Err(fault) => return Some(Outcome::Refused(refusal(fault))),
        };
        match self.cache.get(token, claims::milliseconds(now))? {
            Known::Accepted(identity) => Some(Outcome::Accepted(identity)),
            Known::Forged => Some(Outcome::Refused(refusal(CredentialFault::Signature))),
        }
    }

    /// Judges the request's bearer token. `now` and `monotonic` are the same moment by the two clocks.
    ///
    /// A token that was verified lately is answered without allocating and without waiting. Only a key id that is not
    /// known, or keys that were never loaded, make a request wait for a fetch, for at most
    /// [`WAIT_MAX`](crate::keyring::issuer::WAIT_MAX).
    pub async fn authenticate(&self, head: &Head, now: SystemTime, monotonic: Instant) -> Outcome {
        if let Some(outcome) = self.recall(head, now) {
            return outcome;
        }
        let Ok(Some(token)) = bearer(head) else { return Outcome::Absent };
        let now_ms = claims::milliseconds(now);
        let (want, otherwise) = match self.judge(token, now_ms, monotonic) {
            Verdict::Accepted(identity) => return Outcome::Accepted(identity),
            Verdict::Refused(rejection) => return Outcome::Refused(rejection),
            Verdict::Ask(want, otherwise) => (want, otherwise),
        };
        let Some(waiting) = self.issuer.ask(want, monotonic) else { return Outcome::Refused(otherwise) };
        waiting.wait().await;
        match self.judge(token, now_ms, monotonic) {
            Verdict::Accepted(identity) => Outcome::Accepted(identity),
            Verdict::Refused(rejection) | Verdict::Ask(_, rejection) => Outcome::Refused(rejection),
        }
    }

    fn judge(&self, bytes: &[u8], now_ms: u64, monotonic: Instant) -> Verdict {
        let refuse = |fault| Verdict::Refused(refusal(fault));
        let token = match Token::parse(bytes) {
            Ok(token) => token,
            Err(fault) => return refuse(fault),
        };
        if !self.config.algorithms.contains(&token.algorithm) {
            return refuse(CredentialFault::Algorithm);
        }
        let checked = token.claims().and_then(|claims| {
            let validity = claims::check(&claims, &self.config, now_ms)?;
            Ok((claims, validity))
        });
        let (claims, validity) = match checked {
            Ok(checked) => checked,
            Err(fault) => return refuse(fault),
        };
        let Some(keys) = self.issuer.keys(monotonic, self.config.max_stale) else {
            return Verdict::Ask(Want::AnyKeys, Rejection::KeysUnavailable);
        };
        let key = match keys.select(token.key_id.as_deref(), token.algorithm) {
            Selection::Found(key) => key,
            Selection::WrongAlgorithm => return refuse(CredentialFault::Algorithm),
            Selection::Unknown => {
                return Verdict::Ask(Want::UnknownKey, refusal(CredentialFault::UnknownKey));
            }
        };
        if !key.verify(token.algorithm, token.signed, &token.signature) {
            self.cache.forge(bytes, key.clone());
            return refuse(CredentialFault::Signature);
        }
        match identity::identity(claims, &self.config) {
            Ok(identity) => {
                let identity = Arc::new(identity);
                self.cache.accept(bytes, identity.clone(), key.clone(), validity, now_ms);
                Verdict::Accepted(identity)
            }
            Err(rejection) => Verdict::Refused(rejection),
        }
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 §2.1); none when there is no such field or it is of another
/// scheme. Several fields are refused whatever is in them: upstreams differ in which one they read.
fn bearer(head: &Head) -> Result<Option<&[u8]>, CredentialFault> {
    let field = match head.fields.single(&header::AUTHORIZATION) {
        Ok(field) => field.as_bytes(),
        Err(0) => return Ok(None),
        Err(_) => return Err(CredentialFault::Repeated),
    };
    let scheme_end = field.iter().position(|byte| *byte == b' ').unwrap_or(field.len());
    let (scheme, rest) = field.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let token = rest.trim_ascii_start();
    if token.is_empty() || token.len() > token::BYTES_MAX {
        return Err(CredentialFault::Malformed);
    }
    Ok(Some(token))
}

/// Removes what may be read as a bearer token, however it is written, and so also what [`bearer`] finds to be none.
pub fn remove_bearer(head: &mut Head) {
    let is_bearer = |value: &header::Value| {
        value
            .as_bytes()
            .trim_ascii_start()
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    };
    if head.fields.get_all(&header::AUTHORIZATION).any(is_bearer) {
        head.fields.remove(&header::AUTHORIZATION);
    }
}

fn refusal(fault: CredentialFault) -> Rejection {
    Rejection::BadCredential(Challenge::Bearer, fault)
}

#[cfg(test)]
mod tests;
