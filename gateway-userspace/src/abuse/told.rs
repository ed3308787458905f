//! What a worker has told the keeper lately, so that a client that is served a million times is told a few times an hour.
//!
//! Direct-mapped, never grows: 4096 entries of 8 bytes for each worker. Two clients in one place push each other out and
//! are told more often than needed. A hash of 48 bits stands for a pair of address and client: that two share it, and
//! the second is missed for some minutes, takes 2⁴⁸ others.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Instant;

const PLACES: usize = 4096;
/// 2⁹ seconds, eight and a half minutes: well below the half hour that the keeper remembers at least.
const PERIOD_BITS: u32 = 9;
const PERIOD_MASK: u64 = 0xffff;

/// The filter of one worker.
#[derive(Debug)]
pub struct Told {
    /// 48 bits of a hash, 16 of the period.
    places: Box<[Cell<u64>]>,
    hasher: foldhash::fast::RandomState,
    begin: Instant,
}

impl Told {
    /// Nothing was told.
    pub fn new(begin: Instant) -> Told {
        let places = (0..PLACES).map(|_| Cell::new(0)).collect();
        Told { places, hasher: foldhash::fast::RandomState::default(), begin }
    }

    /// Whether this was not told in this period; then it counts as told from now on.
    ///
    /// One hash of the names and one cache line.
    pub fn is_news(&self, now: Instant, address: IpAddr, auth: &str, principal: &str) -> bool {
        let hash = self.hasher.hash_one((address, auth, principal));
        let period = (now.saturating_duration_since(self.begin).as_secs() >> PERIOD_BITS) + 1;
        let entry = (hash & !PERIOD_MASK) | (period & PERIOD_MASK);
        self.places[hash as usize % PLACES].replace(entry) != entry
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_is_news_once_in_each_period_and_at_each_address() {
        let begin = Instant::now();
        let told = Told::new(begin);
        let alice = |seconds, address: [u8; 4]| {
            told.is_news(begin + Duration::from_secs(seconds), address.into(), "users", "alice")
        };
        assert!(alice(0, [203, 0, 113, 9]));
        assert!(!alice(511, [203, 0, 113, 9]));
        assert!(alice(512, [203, 0, 113, 9]));
        assert!(alice(512, [203, 0, 113, 10]));
        assert!(told.is_news(begin, [203, 0, 113, 9].into(), "users", "bob"));
        assert!(told.is_news(begin, [203, 0, 113, 9].into(), "usersa", "lice"));
    }
}
