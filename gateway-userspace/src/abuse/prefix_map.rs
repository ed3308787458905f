//! A map from prefixes that can be asked which of them contain an address.
//!
//! One hash table, and a count of the entries of each length. A question costs one probe for each length that is in
//! use, which in practice is one or two: bans by rule are all /32 or /64. The hash is seeded, so nobody can choose
//! addresses that collide.

use std::collections::HashMap;

use ipnet::IpNet;

/// Prefixes with a value each. Prefixes must be canonical ([`super::source::canonical`]).
#[derive(Debug, Clone)]
pub struct PrefixMap<V> {
    entries: HashMap<IpNet, V, foldhash::quality::RandomState>,
    v4_lengths: [u32; 33],
    v6_lengths: [u32; 129],
}

impl<V> Default for PrefixMap<V> {
    fn default() -> PrefixMap<V> {
        PrefixMap { entries: HashMap::default(), v4_lengths: [0; 33], v6_lengths: [0; 129] }
    }
}

impl<V> PrefixMap<V> {
    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a prefix, or replaces its value and returns the old one.
    pub fn insert(&mut self, prefix: IpNet, value: V) -> Option<V> {
        let old = self.entries.insert(prefix, value);
        if old.is_none() {
            *self.length_count(prefix) += 1;
        }
        old
    }

    /// Removes exactly this prefix.
    pub fn remove(&mut self, prefix: &IpNet) -> Option<V> {
        let old = self.entries.remove(prefix)?;
        *self.length_count(*prefix) -= 1;
        Some(old)
    }

    /// The value of exactly this prefix.
    pub fn get(&self, prefix: &IpNet) -> Option<&V> {
        self.entries.get(prefix)
    }

    /// Every entry that contains the prefix, itself included, longest first.
    pub fn covering(&self, prefix: IpNet) -> impl Iterator<Item = (IpNet, &V)> {
        let lengths: &[u32] = match prefix {
            IpNet::V4(_) => &self.v4_lengths,
            IpNet::V6(_) => &self.v6_lengths,
        };
        let longest = usize::from(prefix.prefix_len());
        (0..=longest).rev().filter(|length| lengths[*length] > 0).filter_map(move |length| {
            let candidate = IpNet::new_assert(prefix.addr(), length as u8).trunc();
            self.entries.get(&candidate).map(|value| (candidate, value))
        })
    }

    fn length_count(&mut self, prefix: IpNet) -> &mut u32 {
        let length = usize::from(prefix.prefix_len());
        match prefix {
            IpNet::V4(_) => &mut self.v4_lengths[length],
            IpNet::V6(_) => &mut self.v6_lengths[length],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn covering_finds_every_containing_prefix_longest_first_and_no_other_family() {
        let mut map = PrefixMap::default();
        for prefix in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0", "2001:db8::/64"] {
            map.insert(net(prefix), ());
        }
        let found = |prefix| map.covering(net(prefix)).map(|(p, _)| p.to_string()).collect::<Vec<_>>();
        assert_eq!(found("10.1.2.3/32"), ["10.1.2.3/32", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(found("10.1.0.0/16"), ["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(found("11.0.0.0/8"), ["0.0.0.0/0"]);
        assert_eq!(found("2001:db8::7/128"), ["2001:db8::/64", "::/0"]);
    }

    #[test]
    fn a_removed_prefix_no_longer_covers_and_its_length_is_no_longer_probed() {
        let mut map = PrefixMap::default();
        assert_eq!(map.insert(net("10.0.0.0/8"), 1), None);
        assert_eq!(map.insert(net("10.0.0.0/8"), 2), Some(1));
        assert_eq!(map.remove(&net("10.0.0.0/8")), Some(2));
        assert_eq!(map.remove(&net("10.0.0.0/8")), None);
        assert_eq!(map.covering(net("10.0.0.1/32")).count(), 0);
        assert!(map.is_empty());
        assert_eq!(map.v4_lengths, [0; 33]);
    }
}
