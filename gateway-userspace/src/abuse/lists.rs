//! Lists of addresses that others keep, by name: which there are, until when each holds, and what became of it.
//!
//! Pure: the addresses themselves are in the kernel, with the request path ([`super::deny`]) and in a file, not here.
//! A list has a number of the same sequence as bans; what it drops is counted under that, and the same name keeps it.

pub mod guard;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::ban::Now;
use super::deny;
use super::ranges::Ranges;

/// Most lists. Every request that no ban covers looks into each.
pub const LISTS_MAX: usize = 64;

/// What is told with a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Where it comes from, for people: a path, a URL without its secrets, or who imported it.
    pub source: Box<str>,
    /// The name of the format that it was read in.
    pub format: Box<str>,
    /// Whether the configuration has it; else a command brought it.
    pub is_configured: bool,
    /// Whether it only counts what it would drop.
    pub observe: bool,
    /// How long it holds from now on; none: for ever.
    pub lease: Option<Duration>,
}

/// How many there are of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Prefixes in force.
    pub entries: usize,
    /// Prefixes that its source names, each once.
    pub expected: usize,
    /// Entries of its source that could not be read.
    pub skipped: u64,
    /// Prefixes that the guard keeps out.
    pub guarded: usize,
    /// Prefixes that the kernel has no room for; the gateway refuses them.
    pub without_room: usize,
}

/// What became of attempts to read the source since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refreshes {
    /// It was read, and taken.
    pub taken: u64,
    /// It was what it is.
    pub unchanged: u64,
    /// It could not be had, or not be taken.
    pub failed: u64,
}

/// One list.
#[derive(Debug, Clone)]
pub struct List {
    /// Never used twice.
    pub id: u32,
    /// As it was told last.
    pub terms: Terms,
    /// Its size.
    pub counts: Counts,
    /// The first of what the guard keeps out, with why.
    pub guarded: Arc<[String]>,
    /// When it was told last; none: only its name is known.
    pub told: Option<SystemTime>,
    /// Until when it holds, by the wall clock; none: for ever.
    pub until: Option<SystemTime>,
    /// Until when it holds, by the monotonic clock; none: for ever.
    pub lease_end: Option<Instant>,
    /// Since the start.
    pub refreshes: Refreshes,
    /// Why the last attempt failed, if it did.
    pub failure: Option<Box<str>>,
    /// Why it is not in the kernel, where there is one.
    pub outside: Option<Box<str>>,
    /// Its addresses, once they are known to this process.
    pub ranges: Option<Arc<Ranges>>,
    /// What of requests it would refuse, if it only counts.
    pub shadow: Option<Arc<super::shadow::Shadow>>,
}

impl List {
    /// A list of which nothing is known but its number.
    pub fn new(id: u32, terms: Terms) -> List {
        List {
            id,
            terms,
            counts: Counts::default(),
            guarded: Arc::from([]),
            told: None,
            until: None,
            lease_end: None,
            refreshes: Refreshes::default(),
            failure: None,
            outside: None,
            ranges: None,
            shadow: None,
        }
    }

    /// Gives it so much time from now on.
    pub fn lease(&mut self, now: Now, left: Option<Duration>) {
        self.until = left.and_then(|left| now.wall.checked_add(left));
        self.lease_end = left.and_then(|left| now.instant.checked_add(left));
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.lease_end.is_some_and(|end| end <= now)
    }
}

/// All lists.
#[derive(Debug, Default)]
pub struct Lists {
    by_name: BTreeMap<Arc<str>, List>,
}

impl Lists {
    /// By its name.
    pub fn get(&self, name: &str) -> Option<&List> {
        self.by_name.get(name)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut List> {
        self.by_name.get_mut(name)
    }

    /// Adds a list, or replaces the one of that name.
    pub fn insert(&mut self, name: Arc<str>, list: List) {
        self.by_name.insert(name, list);
    }

    /// Takes a list out.
    pub fn remove(&mut self, name: &str) -> Option<List> {
        self.by_name.remove(name)
    }

    /// Whether there is no room for one more.
    pub fn is_full(&self) -> bool {
        self.by_name.len() >= LISTS_MAX
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &List)> {
        self.by_name.iter()
    }

    /// The list in force that has the address; one that drops goes before one that counts.
    pub fn holding(&self, address: std::net::IpAddr, now: Instant) -> Option<(&Arc<str>, &List)> {
        let has = |list: &List| {
            !list.is_over(now) && list.ranges.as_ref().is_some_and(|ranges| ranges.contains(address))
        };
        let holding = self.by_name.iter().filter(|(_, list)| has(list));
        holding.min_by_key(|(_, list)| list.terms.observe)
    }

    /// As the request path sees them.
    pub(super) fn views(&self, enforce: bool) -> Vec<deny::Listed> {
        let view = |list: &List| {
            let hold = match &list.shadow {
                Some(shadow) if list.terms.observe || !enforce => deny::Hold::Count(shadow.clone()),
                _ => deny::Hold::Refuse(None),
            };
            let entry = deny::Entry { ban: list.id, lease_end: list.lease_end, hold };
            Some(deny::Listed { entry, ranges: list.ranges.clone()? })
        };
        self.by_name.values().filter_map(view).collect()
    }

    /// For the metrics.
    pub fn figures(&self) -> Vec<Figures> {
        let figures = |(name, list): (&Arc<str>, &List)| Figures {
            name: name.clone(),
            counts: list.counts,
            refreshes: list.refreshes,
            lease_end: list.lease_end,
        };
        self.iter().map(figures).collect()
    }
}

/// What metrics say of a list.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Its name.
    pub name: Arc<str>,
    /// Its size.
    pub counts: Counts,
    /// Since the start.
    pub refreshes: Refreshes,
    /// Until when it holds; none: for ever.
    pub lease_end: Option<Instant>,
}
