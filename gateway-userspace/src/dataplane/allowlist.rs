//! The allowlist, with a mirror that is rebuilt from the maps.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{LpmTrie, Map, MapData, MapError, lpm_trie};
use gateway_common::{
    allowlist::AllowValue,
    denylist::prefix_data4,
    maps::{self, Spec},
};
use ipnet::IpNet;

use super::{
    Error,
    error::into_io,
    load::Maps,
    prefix::{Key, canonical},
    walk::Walk,
    wire::Wire,
};

type Trie<K> = LpmTrie<MapData, K, Wire<AllowValue>>;

/// Allowed prefixes.
pub struct Allowlist {
    allow4: Trie<[u8; 8]>,
    allow6: Trie<[u8; 16]>,
    prefixes: BTreeSet<IpNet>,
    ranges: Ranges,
    /// Descriptors of both, which the typed maps do not give out.
    fds: [OwnedFd; 2],
}

/// The prefixes of a set that no other one of it holds, as ranges of addresses, in order.
pub struct Ranges(Vec<Range>);

/// Family, first and last address.
type Range = (bool, u128, u128);

impl Ranges {
    /// Of canonical prefixes. They nest or are disjoint, and in their order the outer one comes first.
    pub fn of(prefixes: &BTreeSet<IpNet>) -> Self {
        let mut ranges: Vec<Range> = Vec::new();
        for prefix in prefixes {
            let (family, first, last) = range(*prefix);
            let covered = ranges.last().is_some_and(|(other, _, end)| *other == family && *end >= last);
            if !covered {
                ranges.push((family, first, last));
            }
        }
        Self(ranges)
    }

    /// Whether some source of a canonical prefix is in one of them.
    pub fn overlap(&self, prefix: IpNet) -> bool {
        let (family, first, last) = range(prefix);
        let behind = self.0.partition_point(|(other, start, _)| (*other, *start) <= (family, last));
        // They do not overlap each other: if the last one before the end does not reach it, none does.
        self.0[..behind].last().is_some_and(|(other, _, end)| *other == family && *end >= first)
    }
}

impl Allowlist {
    /// Opens the maps and takes over what is in them.
    pub fn open(maps: &mut Maps) -> Result<Self, Error> {
        let (data4, data6) = (maps.take_data(&maps::ALLOW4)?, maps.take_data(&maps::ALLOW6)?);
        let fds = [clone(&data4, maps::ALLOW4)?, clone(&data6, maps::ALLOW6)?];
        let used = |spec: Spec| move |error: MapError| Error::map("use", spec.name, error);
        let allow4: Trie<[u8; 8]> = Map::LpmTrie(data4).try_into().map_err(used(maps::ALLOW4))?;
        let allow6: Trie<[u8; 16]> = Map::LpmTrie(data6).try_into().map_err(used(maps::ALLOW6))?;
        let failed = |spec: Spec| move |error: MapError| Error::map("read", spec.name, error);
        let mut prefixes = BTreeSet::new();
        for key in allow4.keys() {
            let key = key.map_err(failed(maps::ALLOW4))?;
            prefixes.extend(Key::Prefix4(key.prefix_len(), key.data()).prefix());
        }
        for key in allow6.keys() {
            let key = key.map_err(failed(maps::ALLOW6))?;
            prefixes.extend(Key::Prefix6(key.prefix_len(), key.data()).prefix());
        }
        let ranges = Ranges::of(&prefixes);
        Ok(Self { allow4, allow6, prefixes, ranges, fds })
    }

    /// Whether some source of a canonical prefix is allowed.
    pub fn overlaps(&self, prefix: IpNet) -> bool {
        self.ranges.overlap(prefix)
    }

    pub fn allow(&mut self, prefix: IpNet) -> Result<(), Error> {
        let prefix = canonical(prefix);
        let value = Wire(AllowValue::default());
        match prefix {
            IpNet::V4(v4) => self.allow4.insert(
                &lpm_trie::Key::new(v4.prefix_len().into(), prefix_data4(v4.addr().octets())),
                value,
                0,
            ),
            IpNet::V6(v6) => {
                self.allow6.insert(&lpm_trie::Key::new(v6.prefix_len().into(), v6.addr().octets()), value, 0)
            }
        }
        .map_err(|error| match into_io(error) {
            source if source.raw_os_error() == Some(libc::ENOSPC) => {
                Error::Full { list: "allowlist", capacity: maps::ALLOW_CAPACITY }
            }
            source => Error::Map { doing: "add an entry to", map: name(prefix), source },
        })?;
        self.prefixes.insert(prefix);
        self.ranges = Ranges::of(&self.prefixes);
        Ok(())
    }

    pub fn disallow(&mut self, prefix: IpNet) -> Result<bool, Error> {
        let prefix = canonical(prefix);
        self.remove(prefix)?;
        let was_there = self.prefixes.remove(&prefix);
        self.ranges = Ranges::of(&self.prefixes);
        Ok(was_there)
    }

    /// Takes a prefix out of the map; one that is not there is fine.
    fn remove(&mut self, prefix: IpNet) -> Result<(), Error> {
        let removed = match prefix {
            IpNet::V4(v4) => self
                .allow4
                .remove(&lpm_trie::Key::new(v4.prefix_len().into(), prefix_data4(v4.addr().octets()))),
            IpNet::V6(v6) => {
                self.allow6.remove(&lpm_trie::Key::new(v6.prefix_len().into(), v6.addr().octets()))
            }
        };
        match removed.map_err(into_io) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Map { doing: "remove an entry from", map: name(prefix), source })
            }
            _ => Ok(()),
        }
    }

    /// Reads both maps back, at most [`ALLOW_CAPACITY`](maps::ALLOW_CAPACITY) entries each: takes out what was not
    /// put there by [`Allowlist::allow`], and puts in again what is missing. Returns the prefixes.
    pub fn read_back(&mut self) -> Result<Vec<IpNet>, Error> {
        let (extra, missing) = self.compare()?;
        extra.iter().try_for_each(|prefix| self.remove(*prefix))?;
        missing.iter().try_for_each(|prefix| self.allow(*prefix))?;
        Ok([extra, missing].concat())
    }

    /// The prefixes that are in the maps and were not put there, and those that are missing there.
    pub fn compare(&self) -> Result<(Vec<IpNet>, Vec<IpNet>), Error> {
        let failed = |map| move |source| Error::Map { doing: "read", map, source };
        let all4: Vec<([u8; 12], AllowValue)> =
            Walk::all(self.fds[0].as_fd()).map_err(failed(maps::ALLOW4.name))?;
        let all6: Vec<([u8; 20], AllowValue)> =
            Walk::all(self.fds[1].as_fd()).map_err(failed(maps::ALLOW6.name))?;
        let keys4 = all4.into_iter().map(|(key, _)| Key::of_trie4(key));
        let keys = keys4.chain(all6.into_iter().map(|(key, _)| Key::of_trie6(key)));
        let found: BTreeSet<IpNet> = keys.filter_map(Key::prefix).map(|prefix| prefix.trunc()).collect();
        let extra: Vec<IpNet> = found.difference(&self.prefixes).copied().collect();
        let missing: Vec<IpNet> = self.prefixes.difference(&found).copied().collect();
        Ok((extra, missing))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = IpNet> + '_ {
        self.prefixes.iter().copied()
    }
}

fn clone(map: &MapData, spec: Spec) -> Result<OwnedFd, Error> {
    let fd = map.fd().as_fd().try_clone_to_owned();
    fd.map_err(|source| Error::Map { doing: "open", map: spec.name, source })
}

fn name(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => maps::ALLOW4.name,
        IpNet::V6(_) => maps::ALLOW6.name,
    }
}

fn range(prefix: IpNet) -> Range {
    match prefix {
        IpNet::V4(v4) => (false, u32::from(v4.network()).into(), u32::from(v4.broadcast()).into()),
        IpNet::V6(v6) => (true, v6.network().into(), v6.broadcast().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outermost_prefixes_are_what_is_left_of_nested_ones() {
        let all = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "11.0.0.0/32", "::/0", "2001:db8::/32"];
        let all: BTreeSet<IpNet> = all.iter().map(|text| text.parse().unwrap()).collect();
        let outer = ["10.0.0.0/8", "11.0.0.0/32", "::/0"].map(|text| range(text.parse().unwrap()));
        assert_eq!(Ranges::of(&all).0, outer);
    }
}
