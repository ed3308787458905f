//! The bans in force, for the request path: what the kernel does not drop (there is no kernel stage, the packet was
//! already past it) or cannot drop (a client behind a trusted proxy, known by a header only; one client among several
//! behind an address, known by its key or token).
//!
//! Each worker has its own copy, so a request takes no lock: it reads one generation number, and while nobody is banned
//! that is all. The keeper writes changes to a short log; a worker that sees a new generation applies what it missed,
//! or takes a fresh copy when it missed more than the log holds. So a ban costs each worker one change, not a copy of
//! the list. Memory: about 64 bytes for each ban and worker. Lists that others keep may have millions of entries, so all
//! workers share the same sorted ranges. Every entry carries its lease, so even a keeper that died
//! leaves no ban in force for longer than it was meant.

use std::cell::{RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;

use super::parole::Gate;
use super::prefix_map::PrefixMap;
use super::ranges::Ranges;
use super::shadow::Shadow;
use super::source;
use super::standing::{Standing, Turn};
use super::target::Target;

/// Changes that the log holds; a worker that is further behind copies the whole list.
const LOG_MAX: usize = 1_024;

/// What is banned, and what is not banned although a wider ban covers it.
#[derive(Debug, Clone, Default)]
struct List {
    banned: PrefixMap<Entry>,
    /// By the name of the principal.
    clients: HashMap<Arc<str>, Vec<Client>>,
    /// One for all workers: only who is listed is looked up, and nobody changes them.
    lists: Arc<[Listed]>,
    exempt: Arc<[IpNet]>,
}

/// A list of addresses that others keep.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// Its number, until when it holds, and what it does.
    pub entry: Entry,
    /// Its addresses.
    pub ranges: Arc<Ranges>,
}

/// A ban, as requests meet it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its id.
    pub ban: u32,
    /// Until when; none: for ever.
    pub lease_end: Option<Instant>,
    /// What it does to them.
    pub hold: Hold,
}

/// What a ban does to the requests that it covers.
#[derive(Debug, Clone)]
pub(super) enum Hold {
    /// It refuses them, but for those that the gate of its parole lets through.
    Refuse(Option<Arc<Gate>>),
    /// It counts them.
    Count(Arc<Shadow>),
}

/// A ban of one client.
#[derive(Debug, Clone)]
struct Client {
    auth: Arc<str>,
    at: Option<IpNet>,
    entry: Entry,
}

/// One change of the list.
#[derive(Debug, Clone)]
enum Change {
    Ban { target: Target, entry: Entry },
    Lift { target: Target },
    Lists { lists: Arc<[Listed]> },
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

    pub(super) fn ban(&self, target: &Target, entry: Entry) {
        self.change(Change::Ban { target: target.clone(), entry });
    }

    pub(super) fn lift(&self, target: &Target) {
        self.change(Change::Lift { target: target.clone() });
    }

    /// Replaces the lists.
    pub(super) fn list(&self, lists: Vec<Listed>) {
        self.change(Change::Lists { lists: lists.into() });
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
    /// How a client stands with the bans in force that comes through this peer of the socket. On parole is only who
    /// is the peer itself: a proxy's clients share its connections.
    ///
    /// One atomic load, and if anybody is banned one hash probe for each prefix length in use, then for each list a
    /// binary search. A worker that has to
    /// catch up takes the lock for at most [`LOG_MAX`] changes or one copy of the list.
    pub fn standing(&self, client: IpAddr, peer: IpAddr) -> Standing {
        self.standing_on(client, peer, None)
    }

    /// The same on a connection that has a turn, or had one.
    pub fn standing_on(&self, client: IpAddr, peer: IpAddr, held: Option<Turn>) -> Standing {
        self.stand(client, peer, |ban, gate| {
            gate.admits(Instant::now(), held.filter(|turn| turn.ban == ban).map(|turn| turn.number))
        })
    }

    /// The same without taking a turn: whoever may have one is on parole.
    pub fn glance(&self, client: IpAddr, peer: IpAddr) -> Standing {
        self.stand(client, peer, |_, gate| gate.is_open(Instant::now()).then_some(0))
    }

    fn stand(
        &self,
        client: IpAddr,
        peer: IpAddr,
        admits: impl FnOnce(u32, &Gate) -> Option<u64>,
    ) -> Standing {
        let list = self.current();
        match list.banned.is_empty() && list.lists.is_empty() {
            true => Standing::Free,
            false => list.standing(client, client == peer, admits),
        }
    }

    /// How the client whom `auth` knows as `principal` stands when it comes from the address. No client is on parole.
    ///
    /// Costs as much as [`Reader::standing`] and one hash probe, if any client is listed.
    pub fn client_standing(&self, auth: &str, principal: &str, address: IpAddr) -> Standing {
        let list = self.current();
        if list.clients.is_empty() { Standing::Free } else { list.client_standing(auth, principal, address) }
    }

    fn current(&self) -> RefMut<'_, List> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let mut own = self.own.borrow_mut();
        if own.generation != generation {
            own.catch_up(&self.shared);
        }
        RefMut::map(own, |own| &mut own.list)
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
            Change::Ban { target: Target::Prefix(prefix), entry } => {
                self.banned.insert(prefix, entry);
            }
            Change::Ban { target: Target::Subject { who, at }, entry } => {
                let bans = self.clients.entry(who.principal).or_default();
                bans.retain(|ban| ban.auth != who.auth || ban.at != at);
                bans.push(Client { auth: who.auth, at, entry });
            }
            Change::Lift { target: Target::Prefix(prefix) } => {
                self.banned.remove(&prefix);
            }
            Change::Lift { target: Target::Subject { who, at } } => {
                let Some(bans) = self.clients.get_mut(&who.principal) else { return };
                bans.retain(|ban| ban.auth != who.auth || ban.at != at);
                if bans.is_empty() {
                    self.clients.remove(&who.principal);
                }
            }
            Change::Lists { lists } => self.lists = lists,
            Change::Exempt { prefixes } => self.exempt = prefixes,
        }
    }

    /// A ban that holds goes before one that lets somebody through, and that before those that count, of which all do.
    fn standing(
        &self,
        client: IpAddr,
        is_peer: bool,
        admits: impl FnOnce(u32, &Gate) -> Option<u64>,
    ) -> Standing {
        let host = source::canonical(client.into());
        let mut gate: Option<&Arc<Gate>> = None;
        let mut standing = Standing::Free;
        for (_, entry) in self.banned.covering(host).filter(|(_, entry)| entry.is_in_force()) {
            match &entry.hold {
                Hold::Refuse(Some(own)) if is_peer && gate.is_none() => {
                    gate = Some(own);
                    standing = Standing::Paroled(Turn { ban: entry.ban, number: 0 });
                }
                Hold::Refuse(_) => {
                    standing = Standing::Banned(entry.ban);
                    break;
                }
                Hold::Count(shadow) => standing.observe(shadow),
            }
        }
        // Whoever is on a list is not let through by the parole of a ban.
        if !matches!(standing, Standing::Banned(_)) {
            standing = self.listed(host.addr(), standing);
        }
        let exempt = || self.exempt.iter().any(|prefix| prefix.contains(&host));
        match standing {
            Standing::Free => Standing::Free,
            _ if exempt() => Standing::Free,
            Standing::Paroled(Turn { ban, .. }) => match gate.and_then(|gate| admits(ban, gate)) {
                Some(number) => Standing::Paroled(Turn { ban, number }),
                None => Standing::Banned(ban),
            },
            standing => standing,
        }
    }

    /// How a client stands with the lists of whom no ban says that it is kept out.
    fn listed(&self, client: IpAddr, mut standing: Standing) -> Standing {
        for Listed { entry, ranges } in self.lists.iter() {
            if !entry.is_in_force() || !ranges.contains(client) {
                continue;
            }
            match &entry.hold {
                Hold::Refuse(_) => return Standing::Banned(entry.ban),
                Hold::Count(shadow) => standing.observe(shadow),
            }
        }
        standing
    }

    fn client_standing(&self, auth: &str, principal: &str, address: IpAddr) -> Standing {
        let host = source::canonical(address.into());
        let mut standing = Standing::Free;
        for ban in self.clients.get(principal).into_iter().flatten() {
            let here = *ban.auth == *auth && ban.at.is_none_or(|at| at.contains(&host));
            if !here || !ban.entry.is_in_force() {
                continue;
            }
            match &ban.entry.hold {
                Hold::Refuse(_) => return Standing::Banned(ban.entry.ban),
                Hold::Count(shadow) => standing.observe(shadow),
            }
        }
        standing
    }
}

impl Entry {
    fn is_in_force(&self) -> bool {
        self.lease_end.is_none_or(|end| end > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::abuse::shadow::Outcome;
    use crate::abuse::target::Subject;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn target(prefix: &str) -> Target {
        Target::Prefix(net(prefix))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn refuse(lease_end: Option<Instant>) -> Entry {
        Entry { ban: 1, lease_end, hold: Hold::Refuse(None) }
    }

    fn count(ban: u32) -> Entry {
        let shadow = Arc::new(Shadow::new(ban, Arc::default()));
        Entry { ban, lease_end: None, hold: Hold::Count(shadow) }
    }

    fn is_banned(reader: &Reader, address: IpAddr) -> bool {
        matches!(reader.standing(address, address), Standing::Banned(_))
    }

    fn observed_by(reader: &Reader, address: &str) -> Option<u32> {
        match reader.standing(ip(address), ip(address)) {
            Standing::Observed(shadows) => Some(shadows.ban()),
            _ => None,
        }
    }

    #[test]
    fn a_ban_is_seen_by_every_reader_at_its_next_question_and_so_is_the_lift() {
        let shared = Arc::new(Shared::default());
        let readers = [shared.reader(), shared.reader()];
        let banned = |address: &str| readers.each_ref().map(|reader| is_banned(reader, ip(address)));
        assert_eq!(banned("203.0.113.9"), [false; 2]);
        shared.ban(&target("203.0.113.9/32"), refuse(None));
        shared.ban(&target("2001:db8::/64"), refuse(Some(Instant::now() + Duration::from_secs(60))));
        assert_eq!(banned("203.0.113.9"), [true; 2]);
        assert_eq!(banned("::ffff:203.0.113.9"), [true; 2]);
        assert_eq!(banned("2001:db8::77"), [true; 2]);
        assert_eq!(banned("203.0.113.8"), [false; 2]);
        shared.lift(&target("203.0.113.9/32"));
        assert_eq!(banned("203.0.113.9"), [false; 2]);
    }

    #[test]
    fn a_lease_that_is_over_holds_nobody_even_if_nobody_lifts_it() {
        let shared = Arc::new(Shared::default());
        shared.ban(&target("203.0.113.9/32"), refuse(Some(Instant::now())));
        assert!(!is_banned(&shared.reader(), ip("203.0.113.9")));
    }

    #[test]
    fn one_client_is_banned_and_the_others_at_its_address_are_not() {
        let shared = Arc::new(Shared::default());
        let reader = shared.reader();
        let who = Subject { auth: "users".into(), principal: "alice".into() };
        let here = Target::Subject { who: who.clone(), at: Some(net("203.0.113.9/32")) };
        let standing = |auth, principal, address| reader.client_standing(auth, principal, ip(address));
        let banned =
            |auth, principal, address| matches!(standing(auth, principal, address), Standing::Banned(_));
        shared.ban(&here, refuse(None));
        assert!(banned("users", "alice", "203.0.113.9"));
        assert!(!banned("users", "alice", "203.0.113.8"));
        assert!(!banned("users", "bob", "203.0.113.9"));
        assert!(!banned("partners", "alice", "203.0.113.9"));
        assert!(!is_banned(&reader, ip("203.0.113.9")));
        let everywhere = Target::Subject { who, at: None };
        shared.ban(&everywhere, refuse(Some(Instant::now() + Duration::from_secs(60))));
        assert!(banned("users", "alice", "203.0.113.8"));
        shared.lift(&everywhere);
        assert!(!banned("users", "alice", "203.0.113.8"));
        assert!(banned("users", "alice", "203.0.113.9"));
        shared.lift(&here);
        assert!(!banned("users", "alice", "203.0.113.9"));
        shared.ban(&here, count(7));
        let counted = standing("users", "alice", "203.0.113.9");
        assert!(matches!(counted, Standing::Observed(shadows) if shadows.ban() == 7));
        assert!(matches!(standing("users", "alice", "203.0.113.8"), Standing::Free));
        shared.lift(&here);
        assert!(shared.state().list.clients.is_empty());
    }

    #[test]
    fn what_is_allowed_inside_a_banned_prefix_passes() {
        let shared = Arc::new(Shared::default());
        let reader = shared.reader();
        shared.ban(&target("10.0.0.0/8"), refuse(None));
        shared.exempt(vec![net("10.1.0.0/16")]);
        assert!(!is_banned(&reader, ip("10.1.2.3")));
        assert!(is_banned(&reader, ip("10.2.2.3")));
        shared.exempt(vec![]);
        assert!(is_banned(&reader, ip("10.1.2.3")));
    }

    #[test]
    fn the_narrowest_ban_that_counts_is_charged_unless_one_holds_or_the_client_is_exempt() {
        let shared = Arc::new(Shared::default());
        let reader = shared.reader();
        shared.ban(&target("10.0.0.0/8"), count(1));
        shared.ban(&target("10.1.0.0/16"), count(2));
        shared.ban(&target("10.1.2.3/32"), Entry { lease_end: Some(Instant::now()), ..count(3) });
        let by = ["10.2.0.1", "10.1.2.3", "::ffff:10.1.2.3", "11.0.0.1"].map(|at| observed_by(&reader, at));
        assert_eq!(by, [Some(1), Some(2), Some(2), None]);
        shared.exempt(vec![net("10.1.9.0/24")]);
        assert_eq!(observed_by(&reader, "10.1.9.9"), None);
        // Also a wider one: the kernel drops if any entry says so.
        shared.ban(&target("10.0.0.0/8"), refuse(None));
        assert!(is_banned(&reader, ip("10.1.2.3")) && !is_banned(&reader, ip("10.1.9.9")));
        shared.lift(&target("10.0.0.0/8"));
        assert_eq!(observed_by(&reader, "10.1.2.3"), Some(2));
    }

    #[test]
    fn whoever_is_on_parole_comes_through_unless_by_a_proxy_or_under_a_wider_ban() {
        let shared = Arc::new(Shared::default());
        let (one, other) = (shared.reader(), shared.reader());
        let hour = Duration::from_secs(3_600);
        let gate = |by_kernel| Some(Arc::new(Gate::new(Instant::now(), hour, by_kernel)));
        let entry = |gate| Entry { ban: 7, lease_end: None, hold: Hold::Refuse(gate) };
        let standing = |reader: &Reader, peer| match reader.standing(ip("203.0.113.9"), ip(peer)) {
            Standing::Paroled(Turn { ban: 7, .. }) => "paroled",
            Standing::Banned(7) => "banned",
            Standing::Banned(8) => "banned by the wider one",
            other => panic!("{other:?}"),
        };
        let own = "203.0.113.9";
        shared.ban(&target("203.0.113.9/32"), entry(gate(false)));
        assert_eq!(standing(&one, "192.0.2.1"), "banned", "a proxy");
        let asked = [standing(&one, own), standing(&one, own), standing(&other, own)];
        assert_eq!(asked, ["paroled", "banned", "banned"], "all workers have one gate");
        shared.ban(&target("203.0.113.9/32"), entry(gate(true)));
        let glance = || matches!(other.glance(ip(own), ip(own)), Standing::Paroled(_));
        assert!(glance(), "and takes nobody's turn");
        let Standing::Paroled(turn) = one.standing(ip(own), ip(own)) else { panic!("it is the first") };
        assert_eq!([standing(&one, own), standing(&other, own)], ["banned", "banned"], "other connections");
        let again = |held| one.standing_on(ip(own), ip(own), Some(held));
        assert!(matches!(again(turn), Standing::Paroled(same) if same == turn), "its next request");
        assert!(matches!(again(Turn { ban: 6, ..turn }), Standing::Banned(7)), "of another ban");
        assert!(glance());
        shared.ban(&target("203.0.113.0/24"), Entry { ban: 8, ..refuse(None) });
        assert_eq!(standing(&one, own), "banned by the wider one");
    }

    #[test]
    fn all_readers_charge_the_same_counters() {
        let shared = Arc::new(Shared::default());
        let all = Arc::default();
        let shadow = Arc::new(Shadow::new(7, Arc::clone(&all)));
        let entry = Entry { ban: 7, lease_end: None, hold: Hold::Count(shadow.clone()) };
        shared.ban(&target("203.0.113.9/32"), entry);
        for (reader, outcome) in [(shared.reader(), Outcome::Good), (shared.reader(), Outcome::Login)] {
            let Standing::Observed(seen) = reader.standing(ip("203.0.113.9"), ip("203.0.113.9")) else {
                panic!("it is listed")
            };
            seen.count(outcome);
        }
        assert_eq!(Outcome::ALL.map(|outcome| shadow.requests.of(outcome)), [1, 1, 0, 0]);
        assert_eq!(Outcome::ALL.map(|outcome| all.of(outcome)), [1, 1, 0, 0]);
    }

    #[test]
    fn a_reader_that_missed_more_than_the_log_holds_ends_with_the_same_list() {
        let shared = Arc::new(Shared::default());
        let [prompt, late] = [shared.reader(), shared.reader()];
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let count = 3 * LOG_MAX as u32;
        for n in 0..count {
            shared.ban(&Target::Prefix(address(n).into()), refuse(None));
            assert!(is_banned(&prompt, address(n)));
            if n % 3 == 0 {
                shared.lift(&Target::Prefix(address(n).into()));
            }
        }
        for n in 0..count {
            assert_eq!(is_banned(&late, address(n)), n % 3 != 0, "{n}");
            assert_eq!(is_banned(&prompt, address(n)), n % 3 != 0, "{n}");
        }
        assert!(shared.state().log.len() <= LOG_MAX);
    }

    fn listing(id: u32, prefixes: &[&str], lease_end: Option<Instant>, hold: Hold) -> Listed {
        let prefixes: Vec<IpNet> = prefixes.iter().map(|prefix| net(prefix)).collect();
        Listed { entry: Entry { ban: id, lease_end, hold }, ranges: Arc::new(Ranges::of(&prefixes)) }
    }

    #[test]
    fn who_is_on_a_list_is_refused_until_its_lease_ends_unless_exempt() {
        let shared = Arc::new(Shared::default());
        let reader = shared.reader();
        let stands = |address: &str| match reader.standing(ip(address), ip("10.0.0.1")) {
            Standing::Banned(id) => Some(id),
            _ => None,
        };
        shared.list(vec![
            listing(7, &["203.0.113.0/24", "2001:db8::/64"], None, Hold::Refuse(None)),
            listing(8, &["198.51.100.0/24"], Some(Instant::now()), Hold::Refuse(None)),
        ]);
        let found = ["203.0.113.9", "2001:db8::5", "198.51.100.9", "192.0.2.1"].map(stands);
        assert_eq!(found, [Some(7), Some(7), None, None]);
        shared.ban(&target("203.0.113.9/32"), refuse(None));
        assert_eq!(stands("203.0.113.9"), Some(1), "a ban goes before");
        shared.lift(&target("203.0.113.9/32"));
        let gate = Gate::new(Instant::now(), std::time::Duration::from_secs(3_600), true);
        shared
            .ban(&target("192.0.2.1/32"), Entry { hold: Hold::Refuse(Some(Arc::new(gate))), ..refuse(None) });
        shared.list(vec![listing(7, &["192.0.2.1/32", "203.0.113.0/24"], None, Hold::Refuse(None))]);
        let on_parole = reader.standing(ip("192.0.2.1"), ip("192.0.2.1"));
        assert!(matches!(on_parole, Standing::Banned(7)), "no parole for who is on a list: {on_parole:?}");
        shared.exempt(vec![net("203.0.113.9/32")]);
        assert_eq!(["203.0.113.9", "203.0.113.8"].map(stands), [None, Some(7)]);
        shared.list(Vec::new());
        assert_eq!(stands("203.0.113.8"), None);
    }

    #[test]
    fn a_list_that_only_counts_is_noted_and_another_holds_all_the_same() {
        let shared = Arc::new(Shared::default());
        let reader = shared.reader();
        let count = |id| Hold::Count(Arc::new(Shadow::new(id, Arc::default())));
        shared.list(vec![listing(7, &["203.0.113.0/24"], None, count(7))]);
        assert_eq!(observed_by(&reader, "203.0.113.9"), Some(7));
        let both = vec![
            listing(7, &["203.0.113.0/24"], None, count(7)),
            listing(8, &["203.0.113.9/32"], None, Hold::Refuse(None)),
        ];
        shared.list(both);
        assert!(is_banned(&reader, ip("203.0.113.9")));
        assert_eq!(observed_by(&reader, "203.0.113.8"), Some(7));
    }
}
