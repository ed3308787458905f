//! The whole of the maps against the mirror, piece by piece and with nothing repaired.
//!
//! First what the maps hold is looked for in the mirror, then what the mirror holds in the maps. Nobody else writes
//! while a piece is compared, so what changes between two pieces is no difference.

use std::{
    collections::HashSet,
    io,
    ops::Bound::{Excluded, Unbounded},
};

use gateway_common::{denylist::DenyValue, maps::DENY_PREFIX_CAPACITY};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    DenyEntry, Denylist,
    lists::{Generation, Member},
};
use crate::dataplane::{Drift, Error, allowlist::Allowlist, clock, prefix::Key, walk::Reading};

/// Entries that are compared in one go, and lines of the filter: some milliseconds.
const PIECE: usize = 4096;
/// Entries of tries that are read at most: a walk that is thrown back again and again ends some time, as an error.
const TRIE_ROWS_MAX: usize = 8 * DENY_PREFIX_CAPACITY as usize;

/// What a piece of the maps holds.
#[derive(Default)]
pub struct Compared {
    /// Entries of bans, also those whose key a list holds.
    pub bans: Vec<(IpNet, DenyEntry)>,
    /// Number of entries of lists.
    pub of_lists: usize,
    /// Words of the filter, and how many of them are not what they must be.
    pub filter_words: (usize, usize),
    /// What is not as it was written.
    pub drifted: Vec<Drift>,
}

/// How far all has been compared.
pub struct Progress(Stage);

enum Stage {
    /// The maps, with the keys of tries that were read: a walk may begin anew.
    Read {
        reading: Box<Reading>,
        tries: HashSet<Key>,
        trie_rows: usize,
    },
    /// Bans after this one.
    Bans(Option<IpNet>),
    /// Members of the lists' generations from this number on, in it those after this one.
    Members(u64, Option<IpNet>),
    /// The filter from this group on.
    Filter(usize),
    Done,
}

impl Progress {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(Stage::Read { reading: Box::new(Reading::new()), tries: HashSet::new(), trie_rows: 0 })
    }
}

impl Denylist {
    /// Compares the next piece; `None` after the last one.
    pub fn compare(&self, allowlist: &Allowlist, progress: &mut Progress) -> Result<Option<Compared>, Error> {
        let mut compared = Compared::default();
        let next = match &mut progress.0 {
            Stage::Read { reading, tries, trie_rows } => {
                let (rows, ended) = self.tables.read_on(reading, PIECE)?;
                for (key, value) in rows {
                    if !key.is_exact() {
                        *trie_rows += 1;
                        if !tries.insert(key) {
                            continue;
                        }
                    }
                    self.compare_row(allowlist, key, value, &mut compared)?;
                }
                if !ended && *trie_rows > TRIE_ROWS_MAX {
                    return Err(Error::Map {
                        doing: "read all of",
                        map: "of the denied prefixes",
                        source: io::Error::other("they change faster than they can be read"),
                    });
                }
                ended.then_some(Stage::Bans(None))
            }
            Stage::Bans(after) => {
                let rest = self.entries.range((after.map_or(Unbounded, Excluded), Unbounded));
                let piece: Vec<IpNet> = rest.take(PIECE).map(|(prefix, _)| *prefix).collect();
                for prefix in &piece {
                    if self.tables.get(Key::of(*prefix))?.is_none() {
                        compared.drifted.push(Drift::Missing(*prefix));
                    }
                }
                Some(match piece.last() {
                    Some(last) if piece.len() == PIECE => Stage::Bans(Some(*last)),
                    _ => Stage::Members(0, None),
                })
            }
            Stage::Members(number, after) => {
                match self.lists.iter().find(|generation| generation.number >= *number) {
                    None => Some(Stage::Filter(0)),
                    Some(generation) => {
                        let after = after.filter(|_| generation.number == *number);
                        let piece: Vec<IpNet> = members_after(generation, after).take(PIECE).collect();
                        for prefix in &piece {
                            // Of several that have it, whoever holds it says that it is missing.
                            if self.tables.get(Key::of(*prefix))?.is_none()
                                && self.best(*prefix).and_then(|claim| claim.generation)
                                    == Some(generation.number)
                            {
                                compared.drifted.push(Drift::Missing(*prefix));
                            }
                        }
                        Some(match piece.last() {
                            Some(last) if piece.len() == PIECE => {
                                Stage::Members(generation.number, Some(*last))
                            }
                            _ => Stage::Members(generation.number + 1, None),
                        })
                    }
                }
            }
            Stage::Filter(from) => {
                let end = from.saturating_add(PIECE);
                compared.filter_words = self.filter.compare(*from..end);
                Some(if end < self.filter.groups() { Stage::Filter(end) } else { Stage::Done })
            }
            Stage::Done => return Ok(None),
        };
        if let Some(next) = next {
            progress.0 = next;
        }
        Ok(Some(compared))
    }

    fn compare_row(
        &self,
        allowlist: &Allowlist,
        key: Key,
        value: DenyValue,
        compared: &mut Compared,
    ) -> Result<(), Error> {
        let prefix = key.prefix().map(|prefix| prefix.trunc());
        // A host in a trie is none of ours: hosts are in the hashes.
        let ours = prefix.filter(|prefix| Key::of(*prefix).is_exact() == key.is_exact());
        let Some((prefix, wanted)) = ours.and_then(|prefix| Some((prefix, self.wanted(allowlist, prefix)?)))
        else {
            compared.drifted.push(Drift::Extra(prefix));
            return Ok(());
        };
        let is_as_written = |value: DenyValue| carried(wanted, &value, clock::monotonic_ns()) == value;
        let mut value = value;
        if !is_as_written(value)
            && let Some(now) = self.tables.get(key)?
        {
            // The program may have been writing its parole when it was read.
            value = now;
        }
        let as_written = is_as_written(value);
        if !as_written {
            compared.drifted.push(Drift::Different(prefix));
        }
        compared.of_lists += usize::from(value.is_of_list());
        match self.entries.get(&prefix) {
            Some(ban) if value.is_of_list() && as_written => compared.bans.push((prefix, *ban)),
            _ if value.is_of_list() => {}
            _ => compared.bans.push((prefix, DenyEntry::from_value(&value))),
        }
        Ok(())
    }

    /// Whether the kernel has an entry for a prefix of a ban, be it that a list holds its key.
    pub fn holds(&self, prefix: IpNet) -> Result<bool, Error> {
        let found = self.tables.get(Key::of(prefix))?;
        Ok(found.is_some_and(|value| !value.is_of_list() || self.entries.contains_key(&prefix)))
    }
}

/// The members of a generation that come after one of them, in its order: sources of IPv4, of IPv6, other prefixes.
fn members_after(generation: &Generation, after: Option<IpNet>) -> impl Iterator<Item = IpNet> + '_ {
    let last = IpNet::V6(Ipv6Net::new_assert(u128::MAX.into(), 128));
    let first = IpNet::V4(Ipv4Net::default());
    let (from4, from6, from) = match after.map(Key::of) {
        None => (Some(0), Some(0), Some(first)),
        Some(Key::Source4(address)) => (u32::from_be_bytes(address).checked_add(1), Some(0), Some(first)),
        Some(Key::Source6(network)) => (None, u64::from_be_bytes(network).checked_add(1), Some(first)),
        Some(Key::Prefix4(..) | Key::Prefix6(..)) => (None, None, after),
    };
    let sources4 = from4.into_iter().flat_map(move |from| generation.sources4.range(from..=u32::MAX));
    let sources6 = from6.into_iter().flat_map(move |from| generation.sources6.range(from..=u64::MAX));
    let prefixes = from.into_iter().flat_map(move |from| generation.prefixes.range(from..=last));
    let sources = sources4.map(Member::prefix).chain(sources6.map(Member::prefix));
    sources.chain(prefixes.skip_while(move |prefix| Some(*prefix) == after))
}

/// A value with what the program has written into another one of the same parole, as far as it can have written that
/// by `now_ns`: it moves the next instant on, to an interval from now at most.
pub fn carried(value: DenyValue, found: &DenyValue, now_ns: u64) -> DenyValue {
    let every_ns = u64::from(value.parole_every_ms) * 1_000_000;
    let last_ns = now_ns.saturating_add(every_ns).max(value.parole_ns);
    if value.parole_ns == 0 || !(value.parole_ns..=last_ns).contains(&found.parole_ns) {
        return value;
    }
    DenyValue { parole_ns: found.parole_ns, admitted: found.admitted, ..value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::denylist::lists::{ListLease, Lists};

    #[test]
    fn members_are_gone_through_in_pieces_and_each_comes_once() {
        let mut lists = Lists::default();
        let lease = ListLease { id: 1, until_ns: None, observe: false };
        let all: Vec<IpNet> = [
            "0.0.0.0/32",
            "10.0.0.1/32",
            "255.255.255.255/32",
            "::/64",
            "2001:db8::/64",
            "ffff:ffff:ffff:ffff::/64",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "2001:db8::/32",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec();
        for prefix in all.iter().rev() {
            lists.adopt(*prefix, lease);
        }
        let generation = lists.iter().next().unwrap();
        for piece in 1..=all.len() {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let next: Vec<IpNet> = members_after(generation, after).take(piece).collect();
                let Some(last) = next.last() else { break };
                after = Some(*last);
                found.extend(next);
            }
            assert_eq!(found, all, "in pieces of {piece}");
        }
    }

    #[test]
    fn of_a_parole_that_is_carried_which_the_program_can_have_moved_on() {
        const NOW_NS: u64 = 50_000_000;
        let ours = DenyValue { parole_ns: 1_000, parole_every_ms: 2, ..DenyValue::new(0, 7, 32) };
        let moved = |parole_ns| DenyValue { parole_ns, admitted: 9, ..ours };
        for (parole_ns, is_ours) in [
            (0, false),
            (999, false),
            (1_000, true),
            (NOW_NS, true),
            (NOW_NS + 2_000_000, true),
            (NOW_NS + 2_000_001, false),
        ] {
            let found = moved(parole_ns);
            let expected = if is_ours { found } else { ours };
            assert_eq!(carried(ours, &found, NOW_NS), expected, "{parole_ns}");
        }
        let later = DenyValue { parole_ns: 90_000_000, ..ours };
        assert_eq!(carried(later, &later, NOW_NS), later, "it has not begun");
        let none = DenyValue { parole_ns: 0, ..ours };
        assert_eq!(carried(none, &moved(NOW_NS), NOW_NS), none);
    }
}
