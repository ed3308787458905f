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
}

/// Shadow bans that a request counts for at most.
const COVERING_MAX: usize = 16;

/// The shadow bans that would have kept a request out: those of prefixes, the narrowest first, then the others.
#[derive(Debug, Clone)]
pub struct Shadows {
    first: Arc<Shadow>,
    /// As a rule there are none, and no memory is taken.
    others: Vec<Arc<Shadow>>,
}

impl Shadows {
    /// One of them.
    pub fn of(first: Arc<Shadow>) -> Shadows {
        Shadows { first, others: Vec::new() }
    }

    /// Another one. Beyond sixteen they are left out.
    pub fn add(&mut self, wider: Arc<Shadow>) {
        if self.others.len() + 1 < COVERING_MAX {
            self.others.push(wider);
        }
    }

    /// All of these too.
    pub fn extend(&mut self, wider: Shadows) {
        self.add(wider.first);
        wider.others.into_iter().for_each(|other| self.add(other));
    }

    /// The narrowest ban.
    pub fn ban(&self) -> u32 {
        self.first.ban
    }

    /// Counts a request that is over for each of them, for each of them alone would have kept it out, and once for all:
    /// a relaxed addition each.
    pub fn count(&self, outcome: Outcome) {
        self.first.all.add(outcome);
        self.first.requests.add(outcome);
        self.others.iter().for_each(|other| other.requests.add(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_for_sixteen_bans_and_once_for_all() {
        let all = Arc::new(Tally::default());
        let bans: Vec<Arc<Shadow>> = (1..=20).map(|ban| Arc::new(Shadow::new(ban, all.clone()))).collect();
        let mut covering = Shadows::of(bans[0].clone());
        let mut wider = Shadows::of(bans[1].clone());
        bans[2..].iter().for_each(|ban| wider.add(ban.clone()));
        covering.extend(wider);
        covering.count(Outcome::Good);
        assert_eq!((covering.ban(), all.of(Outcome::Good)), (1, 1));
        let counted: Vec<u64> = bans.iter().map(|ban| ban.requests.of(Outcome::Good)).collect();
        assert_eq!(counted, [[1; COVERING_MAX].as_slice(), &[0; 4]].concat());
    }
}
