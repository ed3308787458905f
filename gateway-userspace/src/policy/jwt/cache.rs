//! Tokens that were verified before, and tokens that were found forged.
//!
//! The key is the token itself, compared in full: with only a hash as key, a collision would be somebody else's
//! identity. A result is bound to the key that made it, so it ends when the issuer withdraws that key. Accepted tokens
//! are remembered for at most [`LIFE_MAX_MS`], and forged ones in a cache of their own, so that a flood of forgeries
//! cannot push out those who are welcome. Other refusals are cheap to find again and are not remembered.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use rapidhash::quality::RandomState;

use super::claims::Validity;
use crate::keyring::Key;
use crate::request::Identity;

/// Longest time for which an accepted token is not verified again, milliseconds.
pub const LIFE_MAX_MS: u64 = 60_000;
/// Most memory for accepted tokens, bytes; an entry counts at least [`ENTRY_BYTES_MIN`], so this bounds the count too.
pub const ACCEPTED_BYTES_MAX: u64 = 32 << 20;
/// Most memory for forged tokens, bytes.
pub const FORGED_BYTES_MAX: u64 = 1 << 20;
/// What an entry counts at least, bytes.
pub const ENTRY_BYTES_MIN: u64 = 1 << 10;

/// The memory of one authentication.
pub struct TokenCache {
    accepted: Cache<Box<[u8]>, Arc<Accepted>, Bytes, RandomState>,
    forged: Cache<Box<[u8]>, Arc<Key>, Bytes, RandomState>,
}

/// What is remembered of an accepted token.
struct Accepted {
    identity: Arc<Identity>,
    key: Arc<Key>,
    validity: Validity,
}

/// What the cache knows about a token.
#[derive(Debug)]
pub enum Known {
    /// It was verified lately, is within its time, and its key still stands.
    Accepted(Arc<Identity>),
    /// Its signature is false under a key that still stands.
    Forged,
}

impl Default for TokenCache {
    /// An empty cache; it takes memory only as it fills.
    fn default() -> TokenCache {
        TokenCache { accepted: cache(ACCEPTED_BYTES_MAX), forged: cache(FORGED_BYTES_MAX) }
    }
}

impl TokenCache {
    /// Looks a token up. Does not allocate.
    pub fn get(&self, token: &[u8], now_ms: u64) -> Option<Known> {
        if let Some(entry) = self.accepted.get(token) {
            if entry.validity.contains(now_ms) && !entry.key.is_revoked() {
                return Some(Known::Accepted(entry.identity.clone()));
            }
            self.accepted.remove(token);
            return None;
        }
        let key = self.forged.get(token)?;
        if key.is_revoked() {
            self.forged.remove(token);
            return None;
        }
        Some(Known::Forged)
    }

    /// Remembers a token that `key` verified.
    pub fn accept(
        &self,
        token: &[u8],
        identity: Arc<Identity>,
        key: Arc<Key>,
        validity: Validity,
        now_ms: u64,
    ) {
        let until_ms = validity.until_ms.min(now_ms.saturating_add(LIFE_MAX_MS));
        // Never before `now`: a clock that is set back ends the memory rather than prolonging it.
        let validity =
            Validity { from_ms: validity.from_ms.max(now_ms.saturating_sub(LIFE_MAX_MS)), until_ms };
        self.accepted.insert(token.into(), Arc::new(Accepted { identity, key, validity }));
    }

    /// Remembers a token whose signature is false under `key`.
    pub fn forge(&self, token: &[u8], key: Arc<Key>) {
        self.forged.insert(token.into(), key);
    }

    /// How many accepted and forged tokens are remembered.
    pub fn len(&self) -> (usize, usize) {
        (self.accepted.len(), self.forged.len())
    }
}

fn cache<V: Clone>(bytes_max: u64) -> Cache<Box<[u8]>, V, Bytes, RandomState>
where
    Bytes: Weighter<Box<[u8]>, V>,
{
    let entries = usize::try_from(bytes_max / ENTRY_BYTES_MIN).unwrap_or(usize::MAX);
    Cache::with(entries, bytes_max, Bytes, RandomState::new(), DefaultLifecycle::default())
}

/// Counts an entry by its token's length: claims and headers are made of the token and a few times as large in memory.
#[derive(Clone)]
struct Bytes;

impl<V> Weighter<Box<[u8]>, V> for Bytes {
    fn weight(&self, token: &Box<[u8]>, _: &V) -> u64 {
        ENTRY_BYTES_MIN + 4 * token.len() as u64
    }
}
