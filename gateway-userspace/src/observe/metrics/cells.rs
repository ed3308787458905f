//! The cells of one worker: written by it alone, read by whoever scrapes.
//!
//! A combination of labels gets its cell when it first occurs; only then is a lock taken. After that a request costs
//! one lookup in a table of the worker's own and a few relaxed stores.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::Label;
use crate::request::head::Version;

/// Most label combinations that one worker tells apart in each metric. Those beyond are counted together under the
/// empty route, `_OTHER` and status 0.
pub const SERIES_MAX: usize = 8192;

/// Upper bounds of the duration buckets, as OpenTelemetry advises for HTTP; in nanoseconds, with the label's text.
pub const BOUNDS: [(u64, f64); 14] = [
    (5_000_000, 0.005),
    (10_000_000, 0.01),
    (25_000_000, 0.025),
    (50_000_000, 0.05),
    (75_000_000, 0.075),
    (100_000_000, 0.1),
    (250_000_000, 0.25),
    (500_000_000, 0.5),
    (750_000_000, 0.75),
    (1_000_000_000, 1.0),
    (2_500_000_000, 2.5),
    (5_000_000_000, 5.0),
    (7_500_000_000, 7.5),
    (10_000_000_000, 10.0),
];

/// Methods that are told apart (RFC 9110 §9.3, RFC 5789); the last stands for all others.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "_OTHER"];

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// The route, or [`Label::NONE`].
    pub route: Label,
    /// The method as sent.
    pub method: &'a str,
    /// What the client spoke.
    pub version: Version,
    /// The status that was sent, or would have been sent to a client that left.
    pub status: u16,
    /// From the end of the request's head to the end of the response.
    pub duration: Duration,
    /// Why the gateway itself ended it, if it did: the rejection's label.
    pub rejection: Option<&'static str>,
}

/// A combination of labels of the request histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The route's [`Label`].
    pub route: u32,
    /// Index into [`METHODS`].
    pub method: u8,
    /// Index into [`VERSIONS`].
    pub version: u8,
    /// Status; 0 for what is beyond [`SERIES_MAX`].
    pub status: u16,
}

/// Versions in the order of [`RequestKey::version`].
pub const VERSIONS: [&str; 3] = ["1.0", "1.1", "2"];

/// What a worker counts with. Stays on its thread.
pub struct Cells {
    requests: Family<RequestKey, Histogram>,
    upstream: Family<u32, Histogram>,
    rejections: Family<&'static str, Count>,
    refused_us: Family<&'static str, Count>,
    handshakes: Family<&'static str, Count>,
    limits: Family<(u32, bool), Count>,
    published: Arc<Published>,
}

/// The same cells as the collector sees them.
#[derive(Default)]
pub struct Published {
    /// Requests that are over.
    pub requests: Series<RequestKey, Histogram>,
    /// Upstreams' answers, by the upstream's [`Label`].
    pub upstream: Series<u32, Histogram>,
    /// Refusals by reason.
    pub rejections: Series<&'static str, Count>,
    /// CPU time of refusals by reason, microseconds.
    pub refused_us: Series<&'static str, Count>,
    /// Failed handshakes by reason.
    pub handshakes: Series<&'static str, Count>,
    /// Decisions by the limit's [`Label`] and whether it refused.
    pub limits: Series<(u32, bool), Count>,
    /// Counts without labels.
    pub gauges: Gauges,
}

/// Counts without labels. Aligned so that no other worker's cells share a cache line.
#[derive(Default)]
#[repr(align(128))]
pub struct Gauges {
    /// Requests begun.
    pub started: Count,
    /// Requests that are over.
    pub finished: Count,
    /// Connections accepted.
    pub opened: Count,
    /// Connections closed.
    pub closed: Count,
}

impl Cells {
    pub(super) fn new() -> (Cells, Arc<Published>) {
        let published = Arc::new(Published::default());
        let cells = Cells {
            requests: Family::default(),
            upstream: Family::default(),
            rejections: Family::default(),
            refused_us: Family::default(),
            handshakes: Family::default(),
            limits: Family::default(),
            published: published.clone(),
        };
        (cells, published)
    }

    /// A request's head is complete.
    pub fn request_started(&self) {
        self.published.gauges.started.add(1);
    }

    /// A request is over; each that was started must come here once.
    pub fn request_finished(&self, request: &Finished<'_>) {
        self.published.gauges.finished.add(1);
        let key = RequestKey {
            route: request.route.0,
            method: method_index(request.method),
            version: match request.version {
                Version::Http10 => 0,
                Version::Http11 => 1,
                Version::Http2 => 2,
            },
            status: request.status,
        };
        let rest = RequestKey { route: 0, method: OTHER_METHOD, version: key.version, status: 0 };
        self.requests
            .with(&self.published.requests, key, rest, |histogram| histogram.observe(request.duration));
        if let Some(reason) = request.rejection {
            self.rejections.with(&self.published.rejections, reason, "_OTHER", |count| count.add(1));
        }
    }

    /// An upstream began its answer after `duration`.
    pub fn upstream_answered(&self, upstream: Label, duration: Duration) {
        self.upstream.with(&self.published.upstream, upstream.0, 0, |histogram| histogram.observe(duration));
    }

    /// A limit let a request through or refused it.
    pub fn limit_decided(&self, limit: Label, refused: bool) {
        self.limits.with(&self.published.limits, (limit.0, refused), (0, refused), |count| count.add(1));
    }

    /// A client connection was accepted.
    pub fn connection_opened(&self) {
        self.published.gauges.opened.add(1);
    }

    /// A client connection is closed; each that was opened must come here once.
    pub fn connection_closed(&self) {
        self.published.gauges.closed.add(1);
    }

    /// A request or a connection was refused after so much CPU time.
    pub fn refused_for(&self, reason: &'static str, cost: Duration) {
        let cost_us = u64::try_from(cost.as_micros()).unwrap_or(0);
        self.refused_us.with(&self.published.refused_us, reason, "_OTHER", |count| count.add(cost_us));
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.handshakes.with(&self.published.handshakes, reason, "_OTHER", |count| count.add(1));
    }
}

const OTHER_METHOD: u8 = (METHODS.len() - 1) as u8;

fn method_index(method: &str) -> u8 {
    METHODS[..METHODS.len() - 1]
        .iter()
        .position(|known| *known == method)
        .map_or(OTHER_METHOD, |index| index as u8)
}

/// Cells by label combination, found by the worker.
struct Family<K, C> {
    known: RefCell<HashMap<K, Arc<C>, RandomState>>,
    count: Cell<usize>,
}

impl<K, C> Default for Family<K, C> {
    fn default() -> Family<K, C> {
        Family { known: RefCell::default(), count: Cell::new(0) }
    }
}

impl<K: Copy + Eq + Hash, C: Default> Family<K, C> {
    /// Counts in the cell of `key`, made on first use; in that of `rest` once there are too many.
    fn with(&self, published: &Series<K, C>, key: K, rest: K, count: impl FnOnce(&C)) {
        let mut known = self.known.borrow_mut();
        if let Some(cell) = known.get(&key) {
            return count(cell);
        }
        let key = if self.count.get() < SERIES_MAX { key } else { rest };
        let cell = known.entry(key).or_insert_with(|| {
            self.count.set(self.count.get() + 1);
            let cell = Arc::new(C::default());
            published.lock().push((key, cell.clone()));
            cell
        });
        count(cell);
    }
}

/// Cells by label combination, as the collector sees them.
pub struct Series<K, C>(Mutex<Vec<(K, Arc<C>)>>);

impl<K, C> Default for Series<K, C> {
    fn default() -> Series<K, C> {
        Series(Mutex::default())
    }
}

impl<K: Copy, C> Series<K, C> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(K, Arc<C>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cells that there are now.
    pub fn snapshot(&self) -> Vec<(K, Arc<C>)> {
        self.lock().clone()
    }
}

/// A count with one writer: adding is a load and a store, not a locked instruction.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations by bucket; the last bucket takes those beyond every bound.
#[derive(Default)]
#[repr(align(128))]
pub struct Histogram {
    /// Durations in each bucket alone, not cumulated.
    pub buckets: [Count; BOUNDS.len() + 1],
    /// All durations together, nanoseconds.
    pub sum_ns: Count,
}

impl Histogram {
    fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // A bound belongs to its own bucket ("le"). Most requests are fast, so the search starts at the low end.
        let bucket = BOUNDS.iter().position(|(bound_ns, _)| ns <= *bound_ns).unwrap_or(BOUNDS.len());
        self.buckets[bucket].add(1);
        self.sum_ns.add(ns);
    }
}
