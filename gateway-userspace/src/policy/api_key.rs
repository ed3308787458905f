//! API keys: a random secret in a header, a query parameter or a cookie, kept as its SHA-256.
//!
//! A key is looked up by its digest and the digests are compared in constant time; the key itself is nowhere kept,
//! logged or compared. One plain digest is enough because keys are long and random: there is nothing to guess that a
//! slow hash would protect. A request with two keys, in whatever places, is refused: gateway and upstream could each
//! believe another one.

pub mod config;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use rapidhash::quality::RandomState;

use crate::header::Value;
use crate::http::rejection::{Challenge, CredentialFault, Rejection};
use crate::request::identity::Credential;
use crate::request::{Head, Identity, query};
use config::{Config, Location, Terms};

/// Longest key that is looked at; a longer one is malformed.
pub const KEY_BYTES_MAX: usize = 512;

/// One `[auth.NAME]` with API keys.
#[derive(Debug)]
pub struct Authenticator {
    from: Vec<Location>,
    /// By the first eight bytes of the digest.
    keys: HashMap<u64, Vec<Entry>, RandomState>,
    forward: bool,
}

struct Entry {
    sha256: [u8; 32],
    identity: Arc<Identity>,
    terms: Terms,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.identity.credential.fmt(f)
    }
}

/// The consumer of this key cannot stand in a header field, though one is configured for it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the consumer of key `{key}` cannot stand in a header field")]
pub struct UnusableConsumer {
    /// The key's public id.
    pub key: Arc<str>,
}

impl Authenticator {
    /// Compiles the keys, each with the identity that it stands for. Of equal digests the first counts.
    pub fn new(config: &Config) -> Result<Authenticator, UnusableConsumer> {
        let mut keys: HashMap<u64, Vec<Entry>, RandomState> = HashMap::default();
        for key in &config.keys {
            let identity = Arc::new(identity(config, key)?);
            keys.entry(beginning(&key.sha256)).or_default().push(Entry {
                sha256: key.sha256,
                identity,
                terms: key.terms.clone(),
            });
        }
        let mut from: Vec<Location> = Vec::new();
        for location in &config.from {
            // A place named twice would make every key a repeated one.
            if !from.contains(location) {
                from.push(location.clone());
            }
        }
        Ok(Authenticator { from, keys, forward: config.forward })
    }

    /// Who the key in the request belongs to; `None` when the request has none. An empty value is none. `now` is the
    /// wall clock's, `client` the address that the client has.
    pub fn authenticate(
        &self,
        head: &Head,
        now: SystemTime,
        client: IpAddr,
    ) -> Option<Result<Arc<Identity>, Rejection>> {
        let mut sha256 = None;
        for location in &self.from {
            let mut present = |presented: Presented<'_>| match sha256.replace(presented.sha256()) {
                None => Ok(()),
                Some(_) => Err(CredentialFault::Repeated),
            };
            let presented = match location {
                Location::Header(name) => {
                    let values = head.fields.get_all(name).map(Value::as_bytes);
                    values.filter(|value| !value.is_empty()).map(Presented::Plain).try_for_each(&mut present)
                }
                Location::Query(name) => {
                    let values = head.query_parameters(name).filter(|value| !value.is_empty());
                    values.map(Presented::Encoded).try_for_each(&mut present)
                }
                Location::Cookie(name) => {
                    let values = head.cookies(name).filter(|value| !value.is_empty());
                    values.map(Presented::Plain).try_for_each(&mut present)
                }
            };
            if let Err(fault) = presented {
                return Some(Err(refused(fault)));
            }
        }
        let sha256 = sha256?;
        let found = sha256.and_then(|sha256| self.find(&sha256)).map_err(refused);
        Some(found.and_then(|entry| {
            entry.terms.check(now, client)?;
            Ok(entry.identity.clone())
        }))
    }

    /// Where a key may stand.
    pub fn locations(&self) -> &[Location] {
        &self.from
    }

    /// Removes the key from what goes upstream, unless the configuration says that it stays.
    pub fn strip(&self, head: &mut Head) {
        if !self.forward {
            self.remove(head, &[]);
        }
    }

    /// Removes the key from every place but these.
    pub fn remove(&self, head: &mut Head, keep: &[Location]) {
        for location in self.from.iter().filter(|location| !keep.contains(location)) {
            match location {
                Location::Header(name) => {
                    head.fields.remove(name);
                }
                Location::Query(name) => head.remove_query_parameter(name),
                Location::Cookie(name) => head.remove_cookie(name),
            }
        }
    }

    fn find(&self, sha256: &[u8; 32]) -> Result<&Entry, CredentialFault> {
        let candidates = self.keys.get(&beginning(sha256)).into_iter().flatten();
        let mut equal = candidates.filter(|entry| verify_slices_are_equal(&entry.sha256, sha256).is_ok());
        equal.next().ok_or(CredentialFault::UnknownCredential)
    }
}

impl Terms {
    /// Whether a key under these terms is accepted now and from there. Only somebody who has the key learns which of
    /// them it fails.
    fn check(&self, now: SystemTime, client: IpAddr) -> Result<(), Rejection> {
        if self.disabled {
            return Err(refused(CredentialFault::Disabled));
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            return Err(refused(CredentialFault::Expired));
        }
        let client = client.to_canonical();
        if !self.addresses.is_empty() && !self.addresses.iter().any(|prefix| prefix.contains(&client)) {
            return Err(Rejection::AddressDenied);
        }
        Ok(())
    }
}

/// A key as it stands in the request.
enum Presented<'r> {
    Plain(&'r [u8]),
    /// With percent-encodings.
    Encoded(&'r str),
}

impl Presented<'_> {
    fn sha256(&self) -> Result<[u8; 32], CredentialFault> {
        let mut decoded = [0; KEY_BYTES_MAX];
        let key = match self {
            Presented::Plain(key) => key,
            Presented::Encoded(text) => {
                let mut length = 0;
                for byte in query::decoded(text) {
                    *decoded.get_mut(length).ok_or(CredentialFault::Malformed)? = byte;
                    length += 1;
                }
                &decoded[..length]
            }
        };
        if key.len() > KEY_BYTES_MAX {
            return Err(CredentialFault::Malformed);
        }
        digest(&SHA256, key).as_ref().try_into().map_err(|_| CredentialFault::Malformed)
    }
}

fn identity(config: &Config, key: &config::Key) -> Result<Identity, UnusableConsumer> {
    let header = config.consumer_header.as_ref().map(|name| {
        let value = Value::parse(key.consumer.as_bytes());
        Ok((name.clone(), value.ok_or_else(|| UnusableConsumer { key: key.id.clone() })?))
    });
    Ok(Identity {
        auth: config.name.clone(),
        principal: key.consumer.clone(),
        credential: Credential::Key { id: key.id.clone() },
        claims: serde_json::Map::new(),
        headers: header.transpose()?.into_iter().collect(),
    })
}

fn beginning(sha256: &[u8; 32]) -> u64 {
    sha256[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn refused(fault: CredentialFault) -> Rejection {
    Rejection::BadCredential(Challenge::ApiKey, fault)
}

#[cfg(test)]
mod tests;
