//! How often the only good client behind an address has sheltered it from a ban.
//!
//! A ban of an address where one client is served with a key or a token of its own would cut that client, so nobody is
//! banned there for what strangers did. That must not last: whoever has one credential could abuse anonymously beside it
//! for ever. So a lone client shelters its address, or its network from being widened to, for a [`SPELL`] at a time,
//! [`TIMES_MAX`] times in [`HOUR`], and the next offence bans it. Two clients or more shelter as often as they like: whether two keys are one customer's
//! is not known here.
//!
//! Memory is bounded by two generations of an hour, each with half of [`PLACES_MAX`] (4 MiB in all); when one is full it
//! becomes the previous one early, and places that were quiet longest are sheltered anew. To fill one takes as many
//! addresses with a client that is served at each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::crowd::Others;

/// How long a place is sheltered at a time: a flood would use up its shelters in an instant.
pub const SPELL: Duration = Duration::from_secs(60);
/// How often a place is sheltered …
pub const TIMES_MAX: usize = 2;
/// … within this time.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// Most places that are remembered, in both generations together.
pub const PLACES_MAX: usize = 65_536;

/// A source or a network; for rules that only observe apart, since those take nothing away from the others.
type Place = (IpNet, bool);
/// When it was sheltered, the oldest first.
type Times = [Option<Instant>; TIMES_MAX];

/// The places that were sheltered lately.
#[derive(Debug)]
pub struct Shelters {
    current: Generation,
    previous: Generation,
}

#[derive(Debug)]
struct Generation {
    since: Instant,
    places: HashMap<Place, Times, foldhash::quality::RandomState>,
}

impl Shelters {
    /// None yet.
    pub fn new(now: Instant) -> Shelters {
        Shelters { current: Generation::new(now), previous: Generation::new(now) }
    }

    /// Whether a source or network is sheltered still or once more, which is remembered.
    pub fn take(&mut self, now: Instant, place: IpNet, observing: bool) -> bool {
        self.turn(now);
        let place = (place, observing);
        let known = self.current.places.remove(&place).or_else(|| self.previous.places.remove(&place));
        let mut times = known.unwrap_or_default();
        let recent = |time: &Instant| now.saturating_duration_since(*time) < HOUR;
        let sheltered = match times[TIMES_MAX - 1] {
            Some(last) if now.saturating_duration_since(last) < SPELL => true,
            _ if times.iter().flatten().filter(|time| recent(time)).count() >= TIMES_MAX => false,
            _ => {
                times.rotate_left(1);
                times[TIMES_MAX - 1] = Some(now);
                true
            }
        };
        self.current.places.insert(place, times);
        sheltered
    }

    /// Begins a new generation when the current one is full or old.
    fn turn(&mut self, now: Instant) {
        let Generation { since, places } = &self.current;
        if now.saturating_duration_since(*since) >= HOUR || places.len() >= PLACES_MAX / 2 {
            self.previous = std::mem::replace(&mut self.current, Generation::new(now));
        }
    }
}

/// What a receipt says of a ban that these could not prevent any more.
pub fn spent(others: &Others) -> String {
    format!("cuts {}, which sheltered it {TIMES_MAX} times within an hour", others.text())
}

impl Generation {
    fn new(since: Instant) -> Generation {
        Generation { since, places: HashMap::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_sheltered_twice_in_any_hour() {
        let start = Instant::now();
        let mut shelters = Shelters::new(start);
        let source = net("203.0.113.9/32");
        for (minutes, sheltered) in [
            (20, true),
            (50, true),
            (51, false),
            (79, false),
            (80, true),
            (81, false),
            (110, true),
            (139, false),
        ] {
            assert_eq!(shelters.take(start + minutes * MINUTE, source, false), sheltered, "{minutes}");
        }
        assert!(shelters.take(start + 300 * MINUTE, source, false));
    }

    #[test]
    fn places_and_rules_that_observe_are_told_apart_and_what_comes_in_one_spell_counts_once() {
        let now = Instant::now();
        let mut shelters = Shelters::new(now);
        let at = |seconds| now + Duration::from_secs(seconds);
        let (source, network) = (net("2001:db8::/64"), net("2001:db8::/56"));
        for place in [source, network] {
            assert!([0, 0, 59, 60, 119].iter().all(|seconds| shelters.take(at(*seconds), place, false)));
            assert!(!shelters.take(at(120), place, false));
        }
        assert!(shelters.take(at(120), source, true));
    }

    #[test]
    fn a_flood_of_places_stays_bounded_and_forgets_the_quietest() {
        let now = Instant::now();
        let mut shelters = Shelters::new(now);
        let busy = net("203.0.113.9/32");
        let at = |nth: u32| now + 2 * SPELL + Duration::from_nanos(nth.into());
        assert!(shelters.take(now, busy, false) && shelters.take(now + SPELL, busy, false));
        for nth in 2..100_000_u32 {
            shelters.take(at(nth), IpAddr::from(Ipv4Addr::from(nth)).into(), false);
            if nth % 1_000 == 0 {
                assert!(!shelters.take(at(nth), busy, false), "{nth}");
            }
        }
        for generation in [&shelters.current, &shelters.previous] {
            assert!(generation.places.len() <= PLACES_MAX / 2);
        }
    }
}
