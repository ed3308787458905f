//! The whole of the maps against the mirror, with nothing repaired.

use ipnet::IpNet;

use super::{DenyEntry, Denylist, PIECE, carried, lists::Generation};
use crate::dataplane::{Drift, Error, allowlist::Allowlist, prefix::Key, walk::Reading};

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
                Some(wanted) => carried(wanted, &value) == value,
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
