//! What a shadow ban would have kept out: requests, counted where each is written down.
//!
//! The ban is a promise of what would happen if it dropped, so nothing of it may be lost: workers add to shared
//! counters, without a lock and without the keeper's channel. Only requests that such a ban covers pay for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a request. Each is one of these, so they add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A status below 400 on a route with `login = true`.
    Login,
    /// A status below 400 for somebody whom the gateway has authenticated.
    Good,
    /// A refusal that counts against the client.
    Refused,
    /// Anything else: open routes, errors of the upstream, a client that left.
    Other,
}

impl Outcome {
    /// All, in the order of [`Tally`].
    pub const ALL: [Outcome; 4] = [Outcome::Login, Outcome::Good, Outcome::Refused, Outcome::Other];

    /// Label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Login => "login",
            Outcome::Good => "good",
            Outcome::Refused => "refused",
            Outcome::Other => "other",
        }
    }
}

/// Requests by their outcome.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Outcome::ALL.len()]);

impl Tally {
    /// How many had this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }

    fn add(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Relaxed);
    }
}

/// A ban that only counts, as the requests that it covers know it.
#[derive(Debug)]
pub struct Shadow {
    /// The ban.
    pub ban: u32,
    /// Since it counts here.
    pub requests: Tally,
    /// Of all shadow bans since the start.
    all: Arc<Tally>,
}

impl Shadow {
    /// Nothing counted yet.
    pub fn new(ban: u32, all: Arc<Tally>) -> Shadow {
        Shadow { ban, requests: Tally::default(), all }
    }

    /// Counts a request that is over: two relaxed additions.
    pub fn count(&self, outcome: Outcome) {
        self.requests.add(outcome);
        self.all.add(outcome);
    }
}
