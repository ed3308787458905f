//! The whole of the maps against the mirror, with nothing repaired.

use std::collections::BTreeMap;

use gateway_common::denylist::DenyValue;
use ipnet::IpNet;

use super::{DenyEntry, Denylist, carried};
use crate::dataplane::{Drift, Error, allowlist::Allowlist, prefix::Key};

impl Denylist {
    /// Reads all four maps. Returns what they hold; `drifted` gets in what that is not what was written.
    pub fn compare(
        &self,
        allowlist: &Allowlist,
        drifted: &mut Vec<Drift>,
    ) -> Result<Vec<(IpNet, DenyEntry)>, Error> {
        let mut found: BTreeMap<IpNet, DenyValue> = BTreeMap::new();
        for (key, value) in self.tables.read()? {
            let prefix = key.prefix().map(|prefix| prefix.trunc());
            // A host in a trie is none of ours: hosts are in the hashes.
            let ours = prefix.filter(|prefix| Key::of(*prefix).is_exact() == key.is_exact());
            match ours.and_then(|prefix| Some((prefix, self.wanted(allowlist, prefix)?))) {
                Some((prefix, wanted)) if carried(wanted, &value) != value => {
                    drifted.push(Drift::Different(prefix));
                }
                Some(_) => {}
                None => drifted.push(Drift::Extra(prefix)),
            }
            found.extend(ours.map(|prefix| (prefix, value)));
        }
        drifted.extend(
            self.entries.keys().filter(|prefix| !found.contains_key(prefix)).copied().map(Drift::Missing),
        );
        Ok(found.iter().map(|(prefix, value)| (*prefix, DenyEntry::from_value(value))).collect())
    }

    /// Words of the filter, and how many of them are not what they must be.
    pub fn compare_filter(&self) -> (usize, usize) {
        self.filter.compare()
    }
}
