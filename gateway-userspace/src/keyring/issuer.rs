//! The long-lived state of one issuer: its current keys, and the rules for asking for newer ones.
//!
//! Workers read the keys and may ask for a fetch; one task ([`super::fetch`]) fetches. Asking never floods the issuer:
//! fetches are single-flight, an unknown `kid` brings at most one fetch each [`UNKNOWN_KEY_SPACING`], and at most
//! [`WAITING_MAX`] requests wait for a fetch at the same time. The clock is always handed in.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::document::{Change, KeySet};

/// Least time between two fetches that unknown key ids caused. The first is immediate.
pub const UNKNOWN_KEY_SPACING: Duration = Duration::from_secs(30);
/// Least time between the end of a failed first fetch and one that a request causes.
pub const UNLOADED_SPACING: Duration = Duration::from_secs(1);
/// Longest that a request waits for a fetch.
pub const WAIT_MAX: Duration = Duration::from_secs(2);
/// Most requests that wait for one issuer's fetch at the same time; those beyond are refused at once.
pub const WAITING_MAX: usize = 1024;

/// Where an issuer's keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// OIDC discovery at this issuer.
    Discovery(Arc<str>),
    /// The JWKS at this URL.
    Url(Arc<str>),
}

/// One issuer.
#[derive(Debug)]
pub struct Issuer {
    name: Arc<str>,
    origin: Option<Origin>,
    current: RwLock<Current>,
    gate: Mutex<Gate>,
    wanted: Notify,
    finished: watch::Sender<u64>,
    waiting: AtomicUsize,
    succeeded: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<Box<str>>>,
}

#[derive(Debug, Clone)]
struct Current {
    keys: Arc<KeySet>,
    /// When they were fetched; none for keys from the configuration, and as long as nothing was fetched.
    fetched: Option<Instant>,
}

/// Why a request asks for a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The token's `kid` is not in the set.
    UnknownKey,
    /// There are no keys, or they are too old to be used.
    AnyKeys,
}

/// What is known about an issuer, for metrics and `status`.
#[derive(Debug, Clone)]
pub struct Health {
    /// The `[auth.NAME]`.
    pub name: Arc<str>,
    /// Keys in the current set.
    pub keys: usize,
    /// Age of the set; none when nothing was fetched yet.
    pub age: Option<Duration>,
    /// Fetches that brought a usable set.
    pub succeeded: u64,
    /// Fetches that did not.
    pub failed: u64,
    /// What went wrong with the last fetch, if it failed.
    pub last_error: Option<Box<str>>,
}

impl Issuer {
    /// An issuer with the keys that stand in the configuration. Never fetched.
    pub fn fixed(name: Arc<str>, keys: KeySet) -> Issuer {
        Issuer::new(name, None, keys)
    }

    pub(super) fn fetched(name: Arc<str>, origin: Origin) -> Issuer {
        Issuer::new(name, Some(origin), KeySet::default())
    }

    fn new(name: Arc<str>, origin: Option<Origin>, keys: KeySet) -> Issuer {
        Issuer {
            name,
            origin,
            current: RwLock::new(Current { keys: Arc::new(keys), fetched: None }),
            gate: Mutex::default(),
            wanted: Notify::new(),
            finished: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }

    /// The `[auth.NAME]`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where keys are fetched from; none for fixed keys.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The current keys, unless nothing was fetched yet or they are older than `max_stale`.
    pub fn keys(&self, now: Instant, max_stale: Duration) -> Option<Arc<KeySet>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let usable = match (self.origin.is_some(), current.fetched) {
            (false, _) => true,
            (true, None) => false,
            (true, Some(fetched)) => now.saturating_duration_since(fetched) <= max_stale,
        };
        usable.then(|| current.keys.clone())
    }

    /// Asks for a fetch. `None`: none is under way and none is due, or too many requests wait already.
    pub fn ask(&self, want: Want, now: Instant) -> Option<Waiting<'_>> {
        self.origin.as_ref()?;
        let mut gate = self.gate();
        if !gate.in_flight {
            if !gate.admit(want, now) {
                return None;
            }
            gate.in_flight = true;
            gate.asked = true;
            self.wanted.notify_one();
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        // Subscribed under the gate's lock: a fetch that ends from now on is seen.
        Some(Waiting { issuer: self, finished: self.finished.subscribe() })
    }

    /// What to show of this issuer.
    pub fn health(&self, now: Instant) -> Health {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        Health {
            name: self.name.clone(),
            keys: current.keys.keys().len(),
            age: current.fetched.map(|fetched| now.saturating_duration_since(fetched)),
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Completes when somebody asked for a fetch that has not begun. For the one task that fetches.
    pub(super) async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            // A wish may have been granted meanwhile by a fetch that was due anyway.
            if self.gate().asked {
                return;
            }
        }
    }

    /// Marks the beginning of a fetch; dropping the result without [`Attempt::succeed`] or [`Attempt::fail`] frees
    /// the waiting requests too.
    pub(super) fn begin(&self) -> Attempt<'_> {
        let mut gate = self.gate();
        gate.in_flight = true;
        gate.asked = false;
        drop(gate);
        Attempt(self)
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a request may cause a fetch.
#[derive(Debug, Default)]
struct Gate {
    /// Whether a fetch is under way or was asked for.
    in_flight: bool,
    /// Whether a fetch was asked for and has not begun.
    asked: bool,
    /// When an unknown key id last caused a fetch.
    unknown_key: Option<Instant>,
    /// When a fetch last ended.
    ended: Option<Instant>,
}

impl Gate {
    fn admit(&mut self, want: Want, now: Instant) -> bool {
        let (since, spacing) = match want {
            Want::UnknownKey => (&mut self.unknown_key, UNKNOWN_KEY_SPACING),
            Want::AnyKeys => (&mut self.ended, UNLOADED_SPACING),
        };
        if since.is_some_and(|since| now.saturating_duration_since(since) < spacing) {
            return false;
        }
        if want == Want::UnknownKey {
            *since = Some(now);
        }
        true
    }
}

/// A request that waits for a fetch.
#[derive(Debug)]
pub struct Waiting<'a> {
    issuer: &'a Issuer,
    finished: watch::Receiver<u64>,
}

impl Waiting<'_> {
    /// Waits until the fetch has ended, well or not, at most [`WAIT_MAX`].
    pub async fn wait(mut self) {
        // Neither outcome matters here: whoever waited looks at the keys again.
        let _ = tokio::time::timeout(WAIT_MAX, self.finished.changed()).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.issuer.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A fetch that is under way.
pub(super) struct Attempt<'a>(&'a Issuer);

impl Attempt<'_> {
    /// Puts new keys in force. Keys that are gone from the set stop working at once.
    pub(super) fn succeed(self, mut keys: KeySet, now: Instant) -> Change {
        let issuer = self.0;
        let change = {
            let mut current = issuer.current.write().unwrap_or_else(PoisonError::into_inner);
            let change = keys.succeed(&current.keys);
            *current = Current { keys: Arc::new(keys), fetched: Some(now) };
            change
        };
        issuer.succeeded.fetch_add(1, Ordering::Relaxed);
        *issuer.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        issuer.gate().ended = Some(now);
        change
    }

    /// Keeps the keys and notes why; says whether this is news.
    pub(super) fn fail(self, reason: &str, now: Instant) -> bool {
        let issuer = self.0;
        issuer.failed.fetch_add(1, Ordering::Relaxed);
        issuer.gate().ended = Some(now);
        let mut last = issuer.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        let news = last.as_deref() != Some(reason);
        *last = Some(reason.into());
        news
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.gate().in_flight = false;
        self.0.finished.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::document::Author;

    const STALE: Duration = Duration::from_secs(3600);

    fn issuer() -> Issuer {
        Issuer::fetched(Arc::from("users"), Origin::Url(Arc::from("http://127.0.0.1/jwks")))
    }

    fn set(id: &str) -> KeySet {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"; // RFC 8037, appendix A.2
        let document = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#);
        KeySet::parse(document.as_bytes(), Author::Issuer).expect("a good key").0
    }

    #[test]
    fn ten_thousand_unknown_keys_ask_for_one_fetch_each_thirty_seconds() {
        let issuer = issuer();
        let start = Instant::now();
        issuer.begin().succeed(set("a"), start);
        let mut fetches = 0;
        for n in 0..10_000 {
            // 10 000 requests, one each 9 ms: 90 s in all.
            let now = start + Duration::from_millis(9 * n);
            if issuer.ask(Want::UnknownKey, now).is_some() {
                fetches += 1;
                drop(issuer.begin());
            }
        }
        assert_eq!(fetches, 3);
    }

    #[test]
    fn requests_join_the_fetch_that_is_under_way_up_to_a_limit() {
        let issuer = issuer();
        let now = Instant::now();
        let attempt = issuer.begin();
        let waiting: Vec<_> = (0..WAITING_MAX + 5).filter_map(|_| issuer.ask(Want::AnyKeys, now)).collect();
        assert_eq!(waiting.len(), WAITING_MAX);
        drop(waiting);
        assert!(issuer.ask(Want::AnyKeys, now).is_some(), "those who left make room");
        attempt.fail("refused", now);
        assert!(issuer.ask(Want::AnyKeys, now).is_none(), "right after a failure nobody asks again");
        assert!(issuer.ask(Want::AnyKeys, now + UNLOADED_SPACING).is_some());
    }

    #[tokio::test]
    async fn a_waiting_request_goes_on_when_the_fetch_ends_or_is_given_up() {
        let issuer = issuer();
        let now = Instant::now();
        let attempt = issuer.begin();
        let waiting = issuer.ask(Want::AnyKeys, now).expect("a fetch is under way");
        attempt.succeed(set("a"), now);
        waiting.wait().await;
        let attempt = issuer.begin();
        let waiting = issuer.ask(Want::UnknownKey, now).expect("a fetch is under way");
        drop(attempt);
        waiting.wait().await;
    }

    #[tokio::test]
    async fn a_wish_that_a_scheduled_fetch_grants_causes_no_other() {
        let issuer = issuer();
        let now = Instant::now();
        let waiting = issuer.ask(Want::AnyKeys, now).expect("nothing was fetched yet");
        issuer.begin().succeed(set("a"), now);
        waiting.wait().await;
        let another = tokio::time::timeout(Duration::from_millis(20), issuer.wanted()).await;
        assert!(another.is_err());
        let _waiting = issuer.ask(Want::UnknownKey, now).expect("the first unknown key");
        issuer.wanted().await;
    }

    #[test]
    fn keys_serve_until_they_are_too_stale() {
        let issuer = issuer();
        let now = Instant::now();
        assert!(issuer.keys(now, STALE).is_none(), "nothing fetched yet");
        issuer.begin().succeed(set("a"), now);
        issuer.begin().fail("connection refused", now);
        assert!(issuer.keys(now + STALE, STALE).is_some());
        assert!(issuer.keys(now + STALE + Duration::from_secs(1), STALE).is_none());
        let health = issuer.health(now + Duration::from_secs(60));
        assert_eq!((health.keys, health.succeeded, health.failed), (1, 1, 1));
        assert_eq!(health.age, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_key_that_is_gone_is_revoked_and_one_that_stays_is_the_same() {
        let issuer = issuer();
        let now = Instant::now();
        issuer.begin().succeed(set("a"), now);
        let before = issuer.keys(now, STALE).expect("loaded").keys()[0].clone();
        assert_eq!(issuer.begin().succeed(set("a"), now), Change { added: 0, withdrawn: 0 });
        assert!(Arc::ptr_eq(&before, &issuer.keys(now, STALE).expect("loaded").keys()[0]));
        assert!(!before.is_revoked());
        assert_eq!(issuer.begin().succeed(set("b"), now), Change { added: 1, withdrawn: 1 });
        assert!(before.is_revoked());
    }
}
