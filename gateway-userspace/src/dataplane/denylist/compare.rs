//! The whole of the maps against the mirror, with nothing repaired.

use gateway_common::denylist::DenyValue;
use ipnet::IpNet;

use super::{DenyEntry, Denylist, PIECE, lists::Generation};
use crate::dataplane::{Drift, Error, allowlist::Allowlist, clock, prefix::Key, walk::Reading};

/// What the maps hold.
pub struct Compared {
    /// Entries of bans, also those whose key a list holds, in the order of their prefixes.
    pub bans: Vec<(IpNet, DenyEntry)>,
    /// Number of entries of lists.
    pub of_lists: usize,
    /// What is not as it was written.
    pub drifted: Vec<Drift>,
}

impl Denylist {
    /// Reads all four maps and compares them.
    pub fn compare(&self, allowlist: &Allowlist) -> Result<Compared, Error> {
        let mut rows = Vec::new();
        let mut reading = Reading::new();
        loop {
            let (piece, ended) = self.tables.read_on(&mut reading, PIECE)?;
            rows.extend(piece);
            if ended {
                break;
            }
        }
        let now_ns = clock::monotonic_ns();
        let mut found = Vec::with_capacity(rows.len());
        let (mut bans, mut of_lists, mut drifted) = (Vec::new(), 0, Vec::new());
        for (key, value) in rows {
            let prefix = key.prefix().map(|prefix| prefix.trunc());
            // A host in a trie is none of ours: hosts are in the hashes.
            let Some(prefix) = prefix.filter(|prefix| Key::of(*prefix).is_exact() == key.is_exact()) else {
                drifted.push(Drift::Extra(prefix));
                continue;
            };
            found.push(prefix);
            let as_written = match self.wanted(allowlist, prefix) {
                Some(wanted) => carried(wanted, &value, now_ns) == value,
                None => {
                    drifted.push(Drift::Extra(Some(prefix)));
                    continue;
                }
            };
            if !as_written {
                drifted.push(Drift::Different(prefix));
            }
            of_lists += usize::from(value.is_of_list());
            match self.entries.get(&prefix) {
                Some(ban) if value.is_of_list() && as_written => bans.push((prefix, *ban)),
                _ if value.is_of_list() => {}
                _ => bans.push((prefix, DenyEntry::from_value(&value))),
            }
        }
        found.sort_unstable();
        bans.sort_unstable_by_key(|(prefix, _)| *prefix);
        let of_lists_written = self.lists.iter().flat_map(Generation::members);
        let mut missing: Vec<IpNet> = self
            .entries
            .keys()
            .copied()
            .chain(of_lists_written)
            .filter(|prefix| found.binary_search(prefix).is_err())
            .collect();
        missing.sort_unstable();
        missing.dedup();
        drifted.extend(missing.into_iter().map(Drift::Missing));
        Ok(Compared { bans, of_lists, drifted })
    }

    /// Words of the filter, and how many of them are not what they must be.
    pub fn compare_filter(&self) -> (usize, usize) {
        self.filter.compare()
    }
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
