//! Who else is behind an address: the clients that were served there lately, each known by a key or a token.
//!
//! A ban of an address cuts all of them, so the keeper asks here first. A client counts where it was authenticated and
//! answered with less than 400, for half an hour to an hour; what nobody authenticates (an open route, a cookie, a
//! forwarded address) counts nothing, since an abuser could make it up.
//!
//! Memory is bounded by two generations of half an hour, each with half of [`SOURCES_MAX`], [`CLIENTS_MAX`] and
//! [`PAIRS_MAX`]; when one is full it becomes the previous one early. Worst case about 45 MiB, most of it names.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::source;
use super::target::Subject;

/// Most sources whose clients are remembered, in both generations together.
pub const SOURCES_MAX: usize = 65_536;
/// Most clients that are remembered.
pub const CLIENTS_MAX: usize = 65_536;
/// Most pairs of a source and a client.
pub const PAIRS_MAX: usize = 262_144;
/// Most clients that are told apart behind one source in a generation; where there are more, it is "at least as many".
pub const CROWD_MAX: usize = 64;
/// Most sources of one client that are remembered in a generation, the first ones.
pub const SOURCES_OF_CLIENT_MAX: usize = 8;
/// Most names that an answer tells.
pub const NAMES_MAX: usize = 16;
/// Longest name of a client that is kept, bytes.
const NAME_BYTES_MAX: usize = 128;
/// How long a generation is filled.
const GENERATION: Duration = Duration::from_secs(30 * 60);

/// The clients of all sources.
#[derive(Debug)]
pub struct Crowds {
    hasher: foldhash::quality::RandomState,
    current: Generation,
    previous: Generation,
}

#[derive(Debug)]
struct Generation {
    since: Instant,
    /// Hashes of clients.
    sources: HashMap<IpNet, Vec<u64>, foldhash::quality::RandomState>,
    clients: HashMap<u64, Client, foldhash::quality::RandomState>,
    pairs: usize,
}

#[derive(Debug)]
struct Client {
    name: Box<str>,
    sources: Vec<IpNet>,
}

/// Whom a ban of addresses cuts beside the one that it is meant for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// How many clients were served there in the last hour. From 64 on one source there may be more.
    pub good: u32,
    /// Some of them, `AUTH/NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl Others {
    /// `37 good clients: users/alice, users/bob and 35 more`
    pub fn text(&self) -> String {
        const SHOWN: usize = 2;
        let count =
            if self.good == 1 { "1 good client".into() } else { format!("{} good clients", self.good) };
        let shown = &self.names[..self.names.len().min(SHOWN)];
        match (self.good as usize).saturating_sub(shown.len()) {
            _ if shown.is_empty() => count,
            0 => format!("{count}: {}", shown.join(" and ")),
            more => format!("{count}: {} and {more} more", shown.join(", ")),
        }
    }
}

impl Crowds {
    /// Nobody yet.
    pub fn new(now: Instant) -> Crowds {
        Crowds {
            hasher: foldhash::quality::RandomState::default(),
            current: Generation::new(now),
            previous: Generation::new(now),
        }
    }

    /// A client was served at an address.
    pub fn seen(&mut self, now: Instant, address: IpAddr, who: &Subject) {
        self.turn(now);
        let hash = self.hasher.hash_one(who);
        self.current.add(source::of(address), hash, who);
    }

    /// Begins a new generation when the current one is full or old.
    pub fn turn(&mut self, now: Instant) {
        let Generation { since, sources, clients, pairs } = &self.current;
        let old = now.saturating_duration_since(*since) >= GENERATION;
        let full =
            sources.len() >= SOURCES_MAX / 2 || clients.len() >= CLIENTS_MAX / 2 || *pairs >= PAIRS_MAX / 2;
        if old || full {
            self.previous = std::mem::replace(&mut self.current, Generation::new(now));
        }
    }

    /// The clients with an address in the prefix, without one of them. A prefix longer than a source stands for it.
    /// Looks at all sources if it is shorter.
    pub fn others(&self, prefix: IpNet, but: Option<&Subject>) -> Others {
        let but = but.map(|who| self.hasher.hash_one(who));
        let own = source::of(prefix.addr());
        let mut clients: Vec<u64> = self
            .generations()
            .flat_map(|generation| {
                let exact = own.contains(&prefix).then(|| generation.sources.get(&own)).flatten();
                let wide = (!own.contains(&prefix)).then_some(&generation.sources).into_iter().flatten();
                let inside =
                    wide.filter(move |(source, _)| prefix.contains(*source)).map(|(_, clients)| clients);
                exact.into_iter().chain(inside).flatten().copied()
            })
            .filter(|hash| Some(*hash) != but)
            .collect();
        clients.sort_unstable();
        clients.dedup();
        let names =
            clients.iter().filter_map(|hash| self.client(*hash)).map(|client| client.name.to_string());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.truncate(NAMES_MAX);
        Others { good: u32::try_from(clients.len()).unwrap_or(u32::MAX), names }
    }

    /// Where a client was served, at most twice [`SOURCES_OF_CLIENT_MAX`] sources.
    pub fn sources(&self, who: &Subject) -> Vec<IpNet> {
        let hash = self.hasher.hash_one(who);
        let clients = self.generations().filter_map(|generation| generation.clients.get(&hash));
        let mut sources: Vec<IpNet> = clients.flat_map(|client| client.sources.iter().copied()).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    fn client(&self, hash: u64) -> Option<&Client> {
        self.generations().find_map(|generation| generation.clients.get(&hash))
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        [&self.current, &self.previous].into_iter()
    }
}

impl Generation {
    fn new(since: Instant) -> Generation {
        Generation { since, sources: HashMap::default(), clients: HashMap::default(), pairs: 0 }
    }

    fn add(&mut self, source: IpNet, hash: u64, who: &Subject) {
        let crowd = self.sources.entry(source).or_default();
        if crowd.contains(&hash) || crowd.len() >= CROWD_MAX {
            return;
        }
        crowd.push(hash);
        self.pairs += 1;
        let client =
            self.clients.entry(hash).or_insert_with(|| Client { name: name(who), sources: Vec::new() });
        if client.sources.len() < SOURCES_OF_CLIENT_MAX {
            client.sources.push(source);
        }
    }
}

/// Without control characters, and not too long.
fn name(who: &Subject) -> Box<str> {
    let mut name: String = who.to_string().chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn who(name: &str) -> Subject {
        Subject { auth: "users".into(), principal: name.into() }
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_crowd_is_who_was_served_there_without_the_one_that_is_meant() {
        let now = Instant::now();
        let mut crowds = Crowds::new(now);
        for (address, name) in [
            ("203.0.113.9", "alice"),
            ("203.0.113.9", "bob"),
            ("203.0.113.9", "alice"),
            ("203.0.113.10", "carol"),
            ("2001:db8::1", "dave"),
            ("2001:db8::2", "erin"),
        ] {
            crowds.seen(now, ip(address), &who(name));
        }
        let others = |prefix, but: Option<&str>| {
            let others = crowds.others(net(prefix), but.map(who).as_ref());
            assert_eq!(others.good as usize, others.names.len());
            others.names.join(" ")
        };
        assert_eq!(others("203.0.113.9/32", None), "users/alice users/bob");
        assert_eq!(others("203.0.113.9/32", Some("bob")), "users/alice");
        assert_eq!(others("203.0.113.0/24", Some("nobody")), "users/alice users/bob users/carol");
        assert_eq!(others("2001:db8::/64", None), "users/dave users/erin");
        assert_eq!(others("2001:db8::77/128", None), "users/dave users/erin", "its /64 is the source");
        assert_eq!(others("2001:db8::/48", None), "users/dave users/erin");
        assert_eq!(others("198.51.100.1/32", None), "");
        let partner = Subject { auth: "partners".into(), principal: "bob".into() };
        assert_eq!(crowds.others(net("203.0.113.9/32"), Some(&partner)).good, 2, "another bob");
    }

    #[test]
    fn a_client_is_found_where_it_was_served() {
        let now = Instant::now();
        let mut crowds = Crowds::new(now);
        for host in 0..20 {
            crowds.seen(now, Ipv4Addr::new(203, 0, 113, host).into(), &who("alice"));
        }
        let sources = crowds.sources(&who("alice"));
        assert_eq!((sources.len(), sources[0]), (SOURCES_OF_CLIENT_MAX, net("203.0.113.0/32")));
        assert!(crowds.sources(&who("bob")).is_empty());
    }

    #[test]
    fn whoever_was_not_seen_for_an_hour_is_nobody() {
        let start = Instant::now();
        let mut crowds = Crowds::new(start);
        crowds.seen(start, ip("203.0.113.9"), &who("alice"));
        crowds.turn(start + GENERATION);
        assert_eq!(crowds.others(net("203.0.113.9/32"), None).good, 1);
        crowds.turn(start + 2 * GENERATION);
        assert_eq!(crowds.others(net("203.0.113.9/32"), None).good, 0);
        assert!(crowds.sources(&who("alice")).is_empty());
    }

    #[test]
    fn a_flood_of_clients_and_sources_stays_bounded() {
        let now = Instant::now();
        let mut crowds = Crowds::new(now);
        for n in 0..200_000u32 {
            crowds.seen(now, Ipv4Addr::from(n / 2).into(), &who(&n.to_string()));
            crowds.seen(now, ip("203.0.113.9"), &who(&n.to_string()));
        }
        for generation in crowds.generations() {
            assert!(
                generation.sources.len() <= SOURCES_MAX / 2 && generation.clients.len() <= CLIENTS_MAX / 2
            );
            assert_eq!(generation.pairs, generation.sources.values().map(Vec::len).sum::<usize>());
            assert!(generation.pairs <= PAIRS_MAX / 2);
        }
        let others = crowds.others(net("203.0.113.9/32"), None);
        assert!(others.good as usize >= CROWD_MAX && others.names.len() == NAMES_MAX);
    }

    #[test]
    fn others_are_told_with_two_names_and_how_many_more() {
        let others = |good, names: &[&str]| {
            Others { good, names: names.iter().map(|name| (*name).to_owned()).collect() }.text()
        };
        assert_eq!(others(1, &["u/a"]), "1 good client: u/a");
        assert_eq!(others(2, &["u/a", "u/b"]), "2 good clients: u/a and u/b");
        assert_eq!(others(37, &["u/a", "u/b", "u/c"]), "37 good clients: u/a, u/b and 35 more");
        assert_eq!(others(0, &[]), "0 good clients");
    }
}
