//! The bans in force, for the request path: what the kernel does not drop (there is no kernel stage, the packet was
//! already past it) or cannot drop (a client behind a trusted proxy, known by a header only).
//!
//! Each worker has its own copy, so a request takes no lock: it reads one generation number, and while nobody is banned
//! that is all. The keeper writes changes to a short log; a worker that sees a new generation applies what it missed,
//! or takes a fresh copy when it missed more than the log holds. So a ban costs each worker one change, not a copy of
//! the list. Memory: about 64 bytes for each ban and worker. Every entry carries its lease, so even a keeper that died
//! leaves no ban in force for longer than it was meant.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;

use super::prefix_map::PrefixMap;
use super::source;

/// Changes that the log holds; a worker that is further behind copies the whole list.
const LOG_MAX: usize = 1_024;

/// What is banned, and what is not banned although a wider ban covers it.
#[derive(Debug, Clone, Default)]
struct List {
    banned: PrefixMap<Option<Instant>>,
    exempt: Arc<[IpNet]>,
}

/// One change of the list.
#[derive(Debug, Clone)]
enum Change {
    Ban { prefix: IpNet, lease_end: Option<Instant> },
    Lift { prefix: IpNet },
    Exempt { prefixes: Arc<[IpNet]> },
}

/// The list that all workers follow.
#[derive(Debug, Default)]
pub struct Shared {
    generation: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    list: List,
    /// The newest changes; the last of them made the current generation.
    log: VecDeque<Change>,
}

/// A worker's copy.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    own: RefCell<Own>,
}

#[derive(Debug)]
struct Own {
    generation: u64,
    list: List,
}

impl Shared {
    /// A copy for one worker.
    pub fn reader(self: &Arc<Shared>) -> Reader {
        Reader { shared: self.clone(), own: RefCell::new(Own { generation: 0, list: List::default() }) }
    }

    pub(super) fn ban(&self, prefix: IpNet, lease_end: Option<Instant>) {
        self.change(Change::Ban { prefix, lease_end });
    }

    pub(super) fn lift(&self, prefix: IpNet) {
        self.change(Change::Lift { prefix });
    }

    /// Replaces what is never refused.
    pub(super) fn exempt(&self, prefixes: Vec<IpNet>) {
        self.change(Change::Exempt { prefixes: prefixes.into() });
    }

    fn change(&self, change: Change) {
        let mut state = self.state();
        state.list.apply(change.clone());
        state.log.push_back(change);
        if state.log.len() > LOG_MAX {
            state.log.pop_front();
        }
        // Release pairs with the reader's acquire; the lock orders the rest.
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two fields leaves a list that is at worst one change behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Whether the address is banned now.
    ///
    /// One atomic load, and if anybody is banned one hash probe for each prefix length in use. A worker that has to
    /// catch up takes the lock for at most [`LOG_MAX`] changes or one copy of the list.
    pub fn is_banned(&self, address: IpAddr) -> bool {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let mut own = self.own.borrow_mut();
        if own.generation != generation {
            own.catch_up(&self.shared);
        }
        !own.list.banned.is_empty() && own.list.is_banned(address)
    }
}

impl Own {
    fn catch_up(&mut self, shared: &Shared) {
        let state = shared.state();
        // Under the lock it cannot move.
        let generation = shared.generation.load(Ordering::Acquire);
        let behind = usize::try_from(generation - self.generation).unwrap_or(usize::MAX);
        if behind > state.log.len() {
            self.list = state.list.clone();
        } else {
            for change in state.log.iter().skip(state.log.len() - behind) {
                self.list.apply(change.clone());
            }
        }
        self.generation = generation;
    }
}

impl List {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Ban { prefix, lease_end } => {
                self.banned.insert(prefix, lease_end);
            }
            Change::Lift { prefix } => {
                self.banned.remove(&prefix);
            }
            Change::Exempt { prefixes } => self.exempt = prefixes,
        }
    }

    fn is_banned(&self, address: IpAddr) -> bool {
        let host = source::canonical(address.into());
        let in_force =
            |(_, lease_end): (IpNet, &Option<Instant>)| lease_end.is_none_or(|end| end > Instant::now());
        self.banned.covering(host).any(in_force) && !self.exempt.iter().any(|prefix| prefix.contains(&host))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_ban_is_seen_by_every_reader_at_its_next_question_and_so_is_the_lift() {
        let shared = Arc::new(Shared::default());
        let readers = [shared.reader(), shared.reader()];
        let banned = |address: &str| readers.each_ref().map(|reader| reader.is_banned(ip(address)));
        assert_eq!(banned("203.0.113.9"), [false; 2]);
        shared.ban(net("203.0.113.9/32"), None);
        shared.ban(net("2001:db8::/64"), Some(Instant::now() + Duration::from_secs(60)));
        assert_eq!(banned("203.0.113.9"), [true; 2]);
        assert_eq!(banned("::ffff:203.0.113.9"), [true; 2]);
        assert_eq!(banned("2001:db8::77"), [true; 2]);
        assert_eq!(banned("203.0.113.8"), [false; 2]);
        shared.lift(net("203.0.113.9/32"));
        assert_eq!(banned("203.0.113.9"), [false; 2]);
    }

    #[test]
    fn a_lease_that_is_over_holds_nobody_even_if_nobody_lifts_it() {
        let shared = Arc::new(Shared::default());
        shared.ban(net("203.0.113.9/32"), Some(Instant::now()));
        assert!(!shared.reader().is_banned(ip("203.0.113.9")));
    }

    #[test]
    fn what_is_allowed_inside_a_banned_prefix_passes() {
        let shared = Arc::new(Shared::default());
        let reader = shared.reader();
        shared.ban(net("10.0.0.0/8"), None);
        shared.exempt(vec![net("10.1.0.0/16")]);
        assert!(!reader.is_banned(ip("10.1.2.3")));
        assert!(reader.is_banned(ip("10.2.2.3")));
        shared.exempt(vec![]);
        assert!(reader.is_banned(ip("10.1.2.3")));
    }

    #[test]
    fn a_reader_that_missed_more_than_the_log_holds_ends_with_the_same_list() {
        let shared = Arc::new(Shared::default());
        let [prompt, late] = [shared.reader(), shared.reader()];
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let count = 3 * LOG_MAX as u32;
        for n in 0..count {
            shared.ban(address(n).into(), None);
            assert!(prompt.is_banned(address(n)));
            if n % 3 == 0 {
                shared.lift(address(n).into());
            }
        }
        for n in 0..count {
            assert_eq!(late.is_banned(address(n)), n % 3 != 0, "{n}");
            assert_eq!(prompt.is_banned(address(n)), n % 3 != 0, "{n}");
        }
        assert!(shared.state().log.len() <= LOG_MAX);
    }
}
