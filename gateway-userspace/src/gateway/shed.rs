//! Which sources the packet budgets shed: they have no ban whose counter would name them.
//!
//! Fed with sampled drops, each of which stands for as many packets as one in so many is sampled. Two tables, of this
//! minute and of the last, so that what is shown is one to two minutes old at most. Each keeps the heaviest sources by
//! the Space-Saving algorithm (Metwally et al., 2005): a newcomer takes the place of the lightest and inherits its
//! weight as a possible error, which is not shown. A flood of forged addresses so hides no steady source behind it.
//!
//! Limits: [`SOURCES_MAX`] sources and reasons in each table; figures are multiples of the sampling rate, and a source
//! that sends less than that may be missing. Addresses can be forged: this is for reading, never for banning.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use gateway_common::verdict::Reason;
use ipnet::IpNet;

use crate::abuse::source;
use crate::admin::api::ShedSource;

/// Sources, by reason, in each of the two tables.
const SOURCES_MAX: usize = 256;
/// How long a table is filled.
const PERIOD: Duration = Duration::from_secs(60);

/// The sources shed in the last minute or two.
pub struct Shed {
    current: Vec<Weighed>,
    last: Vec<Weighed>,
    since: Instant,
}

#[derive(Clone, Copy)]
struct Weighed {
    source: IpNet,
    reason: Reason,
    packets: u64,
    /// How much of `packets` others may have sent.
    error: u64,
}

impl Shed {
    /// Empty tables.
    pub fn new(now: Instant) -> Shed {
        Shed { current: Vec::new(), last: Vec::new(), since: now }
    }

    /// Begins a new table once a minute; call it before the notes of a moment.
    pub fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= PERIOD {
            let full = std::mem::take(&mut self.current);
            self.last = if age < 2 * PERIOD { full } else { Vec::new() };
            self.since = now;
        }
    }

    /// Notes one sampled drop that stands for `packets`. Reasons that are not about a budget are passed over.
    pub fn note(&mut self, address: IpAddr, reason: Reason, packets: u64) {
        if !of_budget(reason) {
            return;
        }
        let source = source::of(address);
        if let Some(known) =
            self.current.iter_mut().find(|other| (other.source, other.reason) == (source, reason))
        {
            known.packets = known.packets.saturating_add(packets);
        } else if self.current.len() < SOURCES_MAX {
            self.current.push(Weighed { source, reason, packets, error: 0 });
        } else if let Some(lightest) = self.current.iter_mut().min_by_key(|other| other.packets) {
            let error = lightest.packets;
            *lightest = Weighed { source, reason, packets: error.saturating_add(packets), error };
        }
    }

    /// The heaviest sources, heaviest first, with the packets that are certainly theirs.
    pub fn top(&self, count: usize) -> Vec<ShedSource> {
        let mut all: Vec<Weighed> = self.current.clone();
        for weighed in &self.last {
            match all
                .iter_mut()
                .find(|other| (other.source, other.reason) == (weighed.source, weighed.reason))
            {
                Some(known) => {
                    known.packets = known.packets.saturating_add(weighed.packets);
                    known.error = known.error.saturating_add(weighed.error);
                }
                None => all.push(*weighed),
            }
        }
        all.sort_by_key(|weighed| std::cmp::Reverse(weighed.packets - weighed.error));
        let shown = all.into_iter().take(count).map(|weighed| ShedSource {
            source: weighed.source,
            reason: weighed.reason.name().to_owned(),
            packets_estimated: weighed.packets - weighed.error,
        });
        shown.collect()
    }
}

/// Whether packets with this reason were over a budget, or would have been dropped as such.
fn of_budget(reason: Reason) -> bool {
    matches!(reason, Reason::OverPackets | Reason::OverSyns | Reason::ObservedPackets | Reason::ObservedSyns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn the_heaviest_source_comes_first_and_a_ban_is_none_of_it() {
        let mut shed = Shed::new(Instant::now());
        shed.note(address(1), Reason::OverPackets, 1024);
        shed.note(address(2), Reason::OverSyns, 1024);
        shed.note(address(2), Reason::OverSyns, 1024);
        shed.note(address(3), Reason::DeniedSource, 1024);
        let top = shed.top(10);
        assert_eq!(top.len(), 2);
        assert_eq!(top[0].source, "0.0.0.2/32".parse().unwrap());
        assert_eq!((top[0].reason.as_str(), top[0].packets_estimated), ("over_syns", 2048));
        assert_eq!(shed.top(1).len(), 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let mut shed = Shed::new(Instant::now());
        shed.note("2001:db8::1".parse().unwrap(), Reason::OverPackets, 8);
        shed.note("2001:db8::2".parse().unwrap(), Reason::OverPackets, 8);
        let top = shed.top(10);
        assert_eq!((top.len(), top[0].packets_estimated), (1, 16));
        assert_eq!(top[0].source, "2001:db8::/64".parse().unwrap());
    }

    #[test]
    fn a_flood_of_forged_addresses_neither_grows_the_table_nor_hides_a_steady_source() {
        let mut shed = Shed::new(Instant::now());
        for number in 0..20_000 {
            shed.note(address(number + 1_000), Reason::OverPackets, 1);
            if number % 50 == 0 {
                shed.note(address(7), Reason::OverPackets, 1);
            }
        }
        assert_eq!(shed.current.len(), SOURCES_MAX);
        let top = shed.top(1);
        assert_eq!(top[0].source, "0.0.0.7/32".parse().unwrap());
        assert!(top[0].packets_estimated <= 400, "never more than it sent");
    }

    #[test]
    fn a_source_that_has_stopped_is_gone_after_two_minutes() {
        let start = Instant::now();
        let mut shed = Shed::new(start);
        shed.note(address(1), Reason::OverPackets, 4);
        shed.turn(start + PERIOD);
        shed.note(address(1), Reason::OverPackets, 4);
        assert_eq!(shed.top(10)[0].packets_estimated, 8);
        shed.turn(start + 2 * PERIOD);
        assert_eq!(shed.top(10)[0].packets_estimated, 4);
        shed.turn(start + 3 * PERIOD);
        assert_eq!(shed.top(10).len(), 0);
        shed.note(address(1), Reason::OverPackets, 4);
        shed.turn(start + 9 * PERIOD);
        assert_eq!(shed.top(10).len(), 0, "a long pause is no last minute");
    }
}
