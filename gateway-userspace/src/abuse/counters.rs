//! What the abuse loop counts about itself. Plain atomics; `observe` reads them when it is scraped.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lists::Figures;
use super::shadow::Tally;

/// Upper edges of the ban latency's buckets, microseconds; one more bucket holds what is above.
pub const LATENCY_EDGES_US: [u64; 10] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000];

/// Counts since the start, except where a gauge is named.
#[derive(Debug, Default)]
pub struct Counters {
    /// Signals that the keeper has looked at.
    pub signals: AtomicU64,
    /// Signals lost because a worker's queue was full or the keeper had gone.
    pub signals_dropped: AtomicU64,
    /// Rules met by a source that is never banned.
    pub exempted: AtomicU64,
    /// Rules met where a ban would have cut too many good clients.
    pub collateral: AtomicU64,
    /// Rules met by somebody whom an operator does not want it to ban.
    pub suppressed: AtomicU64,
    /// Bans by rule.
    pub bans_by_rule: AtomicU64,
    /// Bans by an operator.
    pub bans_by_operator: AtomicU64,
    /// Bans in force now (a gauge).
    pub bans_active: AtomicU64,
    /// Requests that shadow bans would have kept out.
    pub shadow: Arc<Tally>,
    /// Bans that ended because their client was let through and behaved.
    pub paroles_released: AtomicU64,
    /// Bans that were renewed because their client was refused when it was let through.
    pub paroles_renewed: AtomicU64,
    /// Kernel writes that failed.
    pub enforcer_failures: AtomicU64,
    /// Writes to the state file that failed.
    pub state_failures: AtomicU64,
    /// Lists that others keep, as they stand.
    pub lists: Mutex<Vec<Figures>>,
    /// Steps of the keeper that panicked: bugs.
    pub panics: AtomicU64,
    /// Time from the last denial to the entry in the kernel.
    pub latency: Latency,
}

/// A histogram with the fixed buckets of [`LATENCY_EDGES_US`].
#[derive(Debug, Default)]
pub struct Latency {
    /// Observations by bucket, not cumulative; the last is above every edge.
    pub buckets: [AtomicU64; LATENCY_EDGES_US.len() + 1],
    /// Sum of all, microseconds.
    pub sum_us: AtomicU64,
}

impl Latency {
    /// Adds one observation and returns it in microseconds.
    pub fn observe(&self, latency: Duration) -> u64 {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_EDGES_US.partition_point(|edge| *edge < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
        us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_on_an_edge_belongs_to_the_bucket_below_it() {
        let latency = Latency::default();
        for us in [0, 50, 51, 250_000, 250_001] {
            latency.observe(Duration::from_micros(us));
        }
        let counts: Vec<u64> = latency.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(latency.sum_us.load(Relaxed), 500_102);
    }
}
