//! What shadow bans would have done lately, hour by hour.
//!
//! Memory: 56 bytes for each hour in which something would have been dropped.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// How many hours are looked back on, the current one included.
pub const HOURS: u64 = 24;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// What would have been dropped. Requests are those that came through meanwhile; what they are is said in
/// [`super::shadow::Outcome`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harm {
    /// Packets.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// Requests, those below and others.
    pub requests: u64,
    /// Of somebody authenticated, and served.
    pub good: u64,
    /// Served on a route where clients log in.
    pub logins: u64,
    /// Refused in a way that counts against the client.
    pub refused: u64,
}

impl AddAssign for Harm {
    fn add_assign(&mut self, other: Harm) {
        let Harm { packets, bytes, requests, good, logins, refused } = other;
        for (sum, more) in [
            (&mut self.packets, packets),
            (&mut self.bytes, bytes),
            (&mut self.requests, requests),
            (&mut self.good, good),
            (&mut self.logins, logins),
            (&mut self.refused, refused),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The hour of Unix time that a moment lies in.
pub fn hour_of(unix_ms: u64) -> u64 {
    unix_ms / HOUR_MS
}

/// Harm by hour of Unix time. Hours without any are left out.
#[derive(Debug, Clone, Default)]
pub struct Hours(Vec<(u64, Harm)>);

impl Hours {
    /// Adds to an hour.
    pub fn add(&mut self, hour: u64, harm: Harm) {
        let at = self.position(hour);
        self.0[at].1 += harm;
    }

    /// Says what an hour was.
    pub fn set(&mut self, hour: u64, harm: Harm) {
        let at = self.position(hour);
        self.0[at].1 = harm;
    }

    /// Forgets the hours that are not looked back on any more.
    pub fn forget(&mut self, now: u64) {
        self.0.retain(|(hour, _)| is_recent(*hour, now));
    }

    /// All of the hours that are looked back on.
    pub fn sum(&self, now: u64) -> Harm {
        let mut sum = Harm::default();
        self.iter().filter(|(hour, _)| is_recent(*hour, now)).for_each(|(_, harm)| sum += harm);
        sum
    }

    /// What an hour was.
    pub fn of(&self, hour: u64) -> Harm {
        self.iter().find(|(at, _)| *at == hour).map(|(_, harm)| harm).unwrap_or_default()
    }

    /// How many hours are remembered.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The latest hour.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|(hour, _)| *hour)
    }

    /// Hours with harm, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Harm)> {
        self.0.iter().copied()
    }

    fn position(&mut self, hour: u64) -> usize {
        self.0.binary_search_by_key(&hour, |(hour, _)| *hour).unwrap_or_else(|at| {
            self.0.insert(at, (hour, Harm::default()));
            at
        })
    }
}

fn is_recent(hour: u64, now: u64) -> bool {
    hour.saturating_add(HOURS) > now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(packets: u64) -> Harm {
        Harm { packets, ..Harm::default() }
    }

    #[test]
    fn hours_add_up_for_a_day_and_are_then_forgotten() {
        let mut hours = Hours::default();
        hours.add(100, packets(1));
        hours.add(101, packets(2));
        hours.add(101, packets(3));
        hours.set(99, packets(10));
        assert_eq!((hours.of(101), hours.of(98), hours.last()), (packets(5), packets(0), Some(101)));
        assert_eq!((hours.sum(101), hours.sum(122)), (packets(16), packets(16)));
        assert_eq!((hours.sum(123), hours.sum(124), hours.sum(125)), (packets(6), packets(5), packets(0)));
        hours.forget(124);
        assert_eq!(hours.iter().collect::<Vec<_>>(), [(101, packets(5))]);
    }
}
