//! How many connections are open, in all and from each address, across all workers.
//!
//! An address is an IPv4 address or an IPv6 /64, as everywhere in the gateway: a single subscriber has a whole /64.
//! The table holds an entry only while a connection of that address is open, so the total limit bounds it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// Number of independently locked parts of the table; a lock is held for one look-up at each end of a connection.
const SHARDS: usize = 64;

/// Counts of open connections, shared by the workers.
#[derive(Debug)]
pub struct ConnectionCount {
    total: AtomicUsize,
    shards: [Mutex<HashMap<Source, usize, RandomState>>; SHARDS],
    hasher: RandomState,
}

/// An IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6(u64),
}

impl Source {
    fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(v4) => Source::V4(v4.to_bits()),
            IpAddr::V6(v6) => Source::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

/// Which limit a connection ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The limit on all connections.
    Total,
    /// The limit on connections of one address.
    Address,
}

impl ConnectionCount {
    /// No connection yet.
    pub fn new() -> ConnectionCount {
        ConnectionCount {
            total: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
        }
    }

    /// Open connections.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Admits a connection if both limits leave room; it counts until the permit is dropped. Without a
    /// `per_address_max` (trusted proxies) only the total counts.
    pub fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        total_max: usize,
        per_address_max: Option<usize>,
    ) -> Result<Permit, Full> {
        let room = |total: usize| (total < total_max).then_some(total + 1);
        if self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Err(Full::Total);
        }
        let source = per_address_max.map(|_| Source::of(address));
        let mut permit = Permit { count: self.clone(), source: None };
        let (Some(source), Some(max)) = (source, per_address_max) else { return Ok(permit) };
        {
            let mut shard = self.shard(source);
            let open = shard.entry(source).or_insert(0);
            if *open >= max {
                if *open == 0 {
                    shard.remove(&source);
                }
                return Err(Full::Address); // The permit gives the total back.
            }
            *open += 1;
        }
        permit.source = Some(source);
        Ok(permit)
    }

    fn shard(&self, source: Source) -> MutexGuard<'_, HashMap<Source, usize, RandomState>> {
        use std::hash::BuildHasher;
        let index = (self.hasher.hash_one(source) >> 32) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ConnectionCount {
    fn default() -> ConnectionCount {
        ConnectionCount::new()
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Permit {
    count: Arc<ConnectionCount>,
    source: Option<Source>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(source) = self.source {
            let mut shard = self.count.shard(source);
            if let Some(open) = shard.get_mut(&source) {
                *open -= 1;
                if *open == 0 {
                    shard.remove(&source);
                }
            }
        }
        self.count.total.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: &ConnectionCount) -> usize {
        count.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn an_address_gets_as_many_connections_as_it_may_and_one_more_when_one_ends() {
        let count = Arc::new(ConnectionCount::new());
        let address = "192.0.2.1".parse().unwrap();
        let first = count.admit(address, 10, Some(2)).unwrap();
        let _second = count.admit(address, 10, Some(2)).unwrap();
        assert_eq!(count.admit(address, 10, Some(2)).unwrap_err(), Full::Address);
        assert_eq!(count.total(), 2, "a refused connection does not count");
        drop(first);
        count.admit(address, 10, Some(2)).expect("there is room again");
    }

    #[test]
    fn addresses_of_one_ipv6_site_count_together_and_ipv4_in_ipv6_counts_as_ipv4() {
        let count = Arc::new(ConnectionCount::new());
        let _held = [
            count.admit("2001:db8::1".parse().unwrap(), 10, Some(1)).unwrap(),
            count.admit("2001:db8:0:1::1".parse().unwrap(), 10, Some(1)).unwrap(),
            count.admit("192.0.2.1".parse().unwrap(), 10, Some(1)).unwrap(),
        ];
        for same in ["2001:db8::ffff", "2001:db8:0:1:8000::", "::ffff:192.0.2.1"] {
            let refused = count.admit(same.parse().unwrap(), 10, Some(1)).unwrap_err();
            assert_eq!(refused, Full::Address, "{same}");
        }
    }

    #[test]
    fn the_total_holds_for_everybody_and_trusted_proxies_have_no_limit_of_their_own() {
        let count = Arc::new(ConnectionCount::new());
        let proxy = "10.0.0.1".parse().unwrap();
        let held: Vec<_> = (0..3).map(|_| count.admit(proxy, 3, None).unwrap()).collect();
        assert_eq!(count.admit(proxy, 3, None).unwrap_err(), Full::Total);
        drop(held);
        assert_eq!(count.total(), 0);
    }

    #[test]
    fn the_table_is_empty_when_no_connection_is_open() {
        let count = Arc::new(ConnectionCount::new());
        let held: Vec<_> = (0..1000u32)
            .map(|i| count.admit(IpAddr::from(i.to_be_bytes()), 2000, Some(1)).unwrap())
            .collect();
        assert_eq!(entries(&count), 1000);
        drop(held);
        assert_eq!(entries(&count), 0);
        assert_eq!(count.admit("192.0.2.9".parse().unwrap(), 9, Some(0)).unwrap_err(), Full::Address);
        assert_eq!(entries(&count), 0);
    }
}
