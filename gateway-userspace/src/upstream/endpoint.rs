//! What all workers know of one target: its addresses, and whether connections to it succeed.
//!
//! An endpoint lives outside the snapshot, keyed by upstream and target, so a reload forgets nothing. The state is a
//! few atomics; the request path reads one of them and writes none while the target is up.
//!
//! # The rule
//! Only connecting counts: a target whose connection is refused, times out or fails its TLS handshake is skipped for
//! 1 s, then 2 s, 4 s … up to 30 s, until a connection succeeds. (nginx: `max_fails=1`, with a `fail_timeout` that
//! grows.) When the time is over, one request at a time is let through to find out. When no target is up, one request
//! per second goes to the target whose time is nearest, and all others are refused at once: nobody queues up behind
//! a dead upstream, and recovery is seen within a second. A failing answer, of any status, is an answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::config::Target;

/// How long a target is skipped after its first failure, and how often a target is tried while none is up.
const SKIP_FIRST_MS: u64 = 1_000;
/// The longest time for which a target is skipped.
const SKIP_MAX_MS: u64 = 30_000;

/// One target of one upstream, shared by all workers.
#[derive(Debug)]
pub struct Endpoint {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Where it is.
    pub target: Target,
    epoch: Instant,
    /// Milliseconds since `epoch` until which the target is skipped; 0 while it is up.
    skipped_until_ms: AtomicU64,
    /// When it was last tried while down, in the same unit.
    tried_ms: AtomicU64,
    /// Whether a request was let through while down and has not come back.
    trying: AtomicBool,
    /// Failures in a row, at most one for each time that it was let through.
    failures: AtomicU32,
    connections: AtomicU64,
    connections_failed: AtomicU64,
    addresses: RwLock<Arc<[SocketAddr]>>,
}

/// Whether requests go to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They do.
    Up,
    /// It failed, its time is over, and one request may find out.
    Due,
    /// It is skipped.
    Down,
}

/// An endpoint as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether requests go to it.
    pub standing: Standing,
    /// For how long it is skipped from now on.
    pub skipped_for: Duration,
    /// Connects that failed in a row.
    pub failures: u32,
    /// Connections opened since the start.
    pub connections: u64,
    /// Connections that failed to open since the start.
    pub connections_failed: u64,
    /// Where it resolves to.
    pub addresses: Arc<[SocketAddr]>,
}

impl Endpoint {
    /// An endpoint that is up; an address literal is resolved at once, a name is not.
    pub(super) fn new(upstream: Arc<str>, target: Target, epoch: Instant) -> Endpoint {
        let addresses: Arc<[SocketAddr]> = match target.host.parse() {
            Ok(address) => Arc::new([SocketAddr::new(address, target.port)]),
            Err(_) => Arc::new([]),
        };
        Endpoint {
            upstream,
            target,
            epoch,
            skipped_until_ms: AtomicU64::new(0),
            tried_ms: AtomicU64::new(0),
            trying: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            connections: AtomicU64::new(0),
            connections_failed: AtomicU64::new(0),
            addresses: RwLock::new(addresses),
        }
    }

    /// Whether requests go here now.
    pub fn standing(&self, now: Instant) -> Standing {
        match self.skipped_until_ms.load(Ordering::Relaxed) {
            0 => Standing::Up,
            until if until <= self.ms(now) => Standing::Due,
            _ => Standing::Down,
        }
    }

    /// The same with everything else that `status` shows.
    pub fn report(&self, now: Instant) -> Report {
        let until = self.skipped_until_ms.load(Ordering::Relaxed);
        Report {
            standing: self.standing(now),
            skipped_for: Duration::from_millis(until.saturating_sub(self.ms(now))),
            failures: self.failures.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            connections_failed: self.connections_failed.load(Ordering::Relaxed),
            addresses: self.addresses(),
        }
    }

    /// Takes the one try that a due target has; others skip it for a second more.
    pub(super) fn claim(&self, now: Instant) -> bool {
        let now_ms = self.ms(now);
        let until = self.skipped_until_ms.load(Ordering::Relaxed);
        if until == 0 || until > now_ms {
            return false;
        }
        let claimed = exchange(&self.skipped_until_ms, until, now_ms + SKIP_FIRST_MS);
        if claimed {
            self.tried_ms.store(now_ms, Ordering::Relaxed);
            self.trying.store(true, Ordering::Relaxed);
        }
        claimed
    }

    /// Takes the one try per second that a target has while no other is up.
    pub(super) fn claim_early(&self, now: Instant) -> bool {
        let now_ms = self.ms(now);
        let tried = self.tried_ms.load(Ordering::Relaxed);
        let claimed = now_ms >= tried + SKIP_FIRST_MS && exchange(&self.tried_ms, tried, now_ms);
        if claimed {
            self.trying.store(true, Ordering::Relaxed);
        }
        claimed
    }

    /// Milliseconds since the epoch until which the target is skipped; 0 while it is up.
    pub(super) fn skipped_until_ms(&self) -> u64 {
        self.skipped_until_ms.load(Ordering::Relaxed)
    }

    /// A connection stands.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.trying.store(false, Ordering::Relaxed);
        if self.skipped_until_ms.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.skipped_until_ms.store(0, Ordering::Relaxed);
            tracing::info!(upstream = %self.upstream, target = %self.target.authority, "target is up again");
        }
    }

    /// A connection failed. Requests that fail together, on whichever worker, count once.
    pub(super) fn failed(&self, now: Instant, cause: &super::connect::Error) {
        self.connections_failed.fetch_add(1, Ordering::Relaxed);
        let was_trying = self.trying.swap(false, Ordering::Relaxed);
        let until = self.skipped_until_ms.load(Ordering::Relaxed);
        if until != 0 && !was_trying {
            return;
        }
        let now_ms = self.ms(now);
        let failures = self.failures.load(Ordering::Relaxed);
        let skip_ms = (SKIP_FIRST_MS << failures.min(5)).min(SKIP_MAX_MS);
        if !exchange(&self.skipped_until_ms, until, now_ms + skip_ms) {
            return;
        }
        self.tried_ms.store(now_ms, Ordering::Relaxed);
        self.failures.store(failures.saturating_add(1), Ordering::Relaxed);
        if failures == 0 {
            let cause: &dyn std::error::Error = cause;
            tracing::warn!(upstream = %self.upstream, target = %self.target.authority, cause, "target is down");
        }
    }

    /// Where it resolves to; empty while its name was never resolved.
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For connections to come. A target whose name had none was down for that reason alone, and is up again.
    pub(super) fn set_addresses(&self, addresses: Arc<[SocketAddr]>) {
        let mut known = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            self.failures.store(0, Ordering::Relaxed);
            self.skipped_until_ms.store(0, Ordering::Relaxed);
        }
        *known = addresses;
    }

    /// Milliseconds since the epoch, from 1 on because 0 means "up".
    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX / 2) + 1
    }
}

fn exchange(cell: &AtomicU64, old: u64, new: u64) -> bool {
    cell.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::connect::Error;

    fn endpoint(epoch: Instant) -> Endpoint {
        let target = Target { tls: false, host: "10.0.0.1".into(), port: 80, authority: "10.0.0.1".into() };
        Endpoint::new(Arc::from("users"), target, epoch)
    }

    #[test]
    fn the_time_that_a_target_is_skipped_doubles_up_to_half_a_minute_and_ends_with_a_connection() {
        let mut now = Instant::now();
        let endpoint = endpoint(now);
        assert_eq!(endpoint.standing(now), Standing::Up);
        for skipped_s in [1, 2, 4, 8, 16, 30, 30, 30] {
            endpoint.failed(now, &Error::Timeout);
            assert_eq!(endpoint.report(now).skipped_for.as_secs(), skipped_s);
            assert_eq!(endpoint.standing(now), Standing::Down);
            now += Duration::from_secs(skipped_s) + Duration::from_millis(1);
            assert_eq!(endpoint.standing(now), Standing::Due);
            assert!(endpoint.claim(now));
        }
        endpoint.connected();
        assert_eq!(endpoint.standing(now), Standing::Up);
        endpoint.failed(now, &Error::Timeout);
        assert_eq!(endpoint.report(now).skipped_for.as_secs(), 1);
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        let now = Instant::now();
        let endpoint = endpoint(now);
        for _ in 0..64 {
            endpoint.failed(now, &Error::NoAddress);
        }
        let report = endpoint.report(now);
        assert_eq!((report.failures, report.connections_failed), (1, 64));
    }

    #[test]
    fn one_request_finds_out_whether_a_due_target_is_back() {
        let mut now = Instant::now();
        let endpoint = endpoint(now);
        assert!(!endpoint.claim(now), "a target that is up needs no claim");
        endpoint.failed(now, &Error::Timeout);
        now += Duration::from_secs(2);
        assert_eq!([endpoint.claim(now), endpoint.claim(now)], [true, false]);
        assert_eq!(endpoint.standing(now), Standing::Down, "for the others, meanwhile");
    }

    #[test]
    fn a_target_that_is_the_last_hope_is_tried_once_a_second() {
        let mut now = Instant::now();
        let endpoint = endpoint(now);
        endpoint.failed(now, &Error::Timeout);
        let mut tries = 0;
        for _ in 0..50 {
            now += Duration::from_millis(100);
            tries += usize::from(endpoint.claim_early(now));
        }
        assert_eq!(tries, 5);
    }
}
