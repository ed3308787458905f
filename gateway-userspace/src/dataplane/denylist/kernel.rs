//! The four maps behind the denylist.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::Ordering::Release,
};

use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, lpm_trie};
use gateway_common::{
    denylist::DenyValue,
    maps::{self, Spec},
};

use super::shares::{self, Share, Writing, Written};
use crate::dataplane::{
    Error, error::into_io, load::Maps, mapped::MappedWords, prefix::Key, syscall::delete_batch,
    walk::Reading, wire::Wire,
};

type Exact<K> = HashMap<MapData, K, Wire<DenyValue>>;
type Trie<K> = LpmTrie<MapData, K, Wire<DenyValue>>;

/// Entries that are read in one call where all are wanted.
pub const PIECE: usize = 4096;

/// Exact entries and prefixes, of both families.
pub struct Tables {
    deny4: Exact<[u8; 4]>,
    deny6: Exact<[u8; 8]>,
    prefix4: Trie<[u8; 8]>,
    prefix6: Trie<[u8; 16]>,
    capacity4: u32,
    capacity6: u32,
    /// Descriptors of the four, which the typed maps do not give out.
    fds: [OwnedFd; 4],
    /// What the program has found before holds until this word changes.
    changes: MappedWords,
}

impl Tables {
    pub fn open(maps: &mut Maps) -> Result<Self, Error> {
        let (deny4, deny6) = (maps.take_data(&maps::DENY4)?, maps.take_data(&maps::DENY6)?);
        let (prefix4, prefix6) = (maps.take_data(&maps::DENY_PREFIX4)?, maps.take_data(&maps::DENY_PREFIX6)?);
        let changes = MappedWords::new(&maps.take_data(&maps::CHANGES)?, 1).map_err(|source| Error::Map {
            doing: "map into memory",
            map: maps::CHANGES.name,
            source,
        })?;
        let capacity = |map: &MapData, spec: Spec| {
            let info = map.info().map_err(|error| Error::map("look at", spec.name, error))?;
            Ok(info.max_entries())
        };
        let (capacity4, capacity6) = (capacity(&deny4, maps::DENY4)?, capacity(&deny6, maps::DENY6)?);
        let clone = |map: &MapData, spec: Spec| {
            let fd = map.fd().as_fd().try_clone_to_owned();
            fd.map_err(|source| Error::Map { doing: "open", map: spec.name, source })
        };
        let fds = [
            clone(&deny4, maps::DENY4)?,
            clone(&deny6, maps::DENY6)?,
            clone(&prefix4, maps::DENY_PREFIX4)?,
            clone(&prefix6, maps::DENY_PREFIX6)?,
        ];
        Ok(Self {
            deny4: Exact::try_from(Map::HashMap(deny4))
                .map_err(|error| Error::map("use", maps::DENY4.name, error))?,
            deny6: Exact::try_from(Map::HashMap(deny6))
                .map_err(|error| Error::map("use", maps::DENY6.name, error))?,
            prefix4: Trie::try_from(Map::LpmTrie(prefix4))
                .map_err(|error| Error::map("use", maps::DENY_PREFIX4.name, error))?,
            prefix6: Trie::try_from(Map::LpmTrie(prefix6))
                .map_err(|error| Error::map("use", maps::DENY_PREFIX6.name, error))?,
            capacity4,
            capacity6,
            fds,
            changes,
        })
    }

    /// To be called after each change: what the program has found before is looked up again.
    pub fn changed(&self) {
        self.changes.words()[0].fetch_add(1, Release);
    }

    /// Entries that there is room for in each map.
    pub fn capacities(&self) -> [usize; 4] {
        let prefixes = maps::DENY_PREFIX_CAPACITY as usize;
        [self.capacity4 as usize, self.capacity6 as usize, prefixes, prefixes]
    }

    /// Adds or replaces an entry.
    pub fn insert(&mut self, key: Key, value: DenyValue) -> Result<(), Error> {
        match self.put(key, value) {
            // Before Linux 6.13 a trie counts an entry that is replaced as a new one.
            Err(Error::Full { .. }) if !key.is_exact() && self.get(key)?.is_some() => {
                self.remove(key)?;
                self.put(key, value)
            }
            put => put,
        }
    }

    fn put(&mut self, key: Key, value: DenyValue) -> Result<(), Error> {
        let value = Wire(value);
        let inserted = match key {
            Key::Source4(address) => self.deny4.insert(address, value, 0),
            Key::Source6(network) => self.deny6.insert(network, value, 0),
            Key::Prefix4(bits, data) => self.prefix4.insert(&lpm_trie::Key::new(bits, data), value, 0),
            Key::Prefix6(bits, data) => self.prefix6.insert(&lpm_trie::Key::new(bits, data), value, 0),
        };
        self.changed();
        inserted.map_err(|error| self.insert_error(key, error))
    }

    /// Writes the entries that `say` pushes, each key once, while it says so. Returns those that could not be written,
    /// with why.
    pub fn insert_while<R>(&mut self, say: impl FnOnce(&mut Writing<'_, '_>) -> R) -> (Vec<(Key, Error)>, R) {
        let Written { failed, prefixes, said } = shares::write(&self.fds, say);
        self.changed();
        // Writing them once more tells which are to blame.
        let rest = failed.iter().flat_map(Share::rows).chain(prefixes);
        let failed = rest.filter_map(|(key, value)| Some((key, self.insert(key, value).err()?)));
        (failed.collect(), said)
    }

    /// Writes entries, each key once. Returns those that could not be written, with why.
    pub fn insert_all(&mut self, entries: &[(Key, DenyValue)]) -> Vec<(Key, Error)> {
        self.insert_while(|writing| entries.iter().for_each(|(key, value)| writing.push(*key, *value))).0
    }

    /// Removes entries, exact ones in one call per family; those that are not there are fine. All of them, also behind
    /// one that fails.
    pub fn remove_all(&mut self, keys: &[Key]) -> Result<(), Error> {
        let (mut keys4, mut keys6) = (Vec::new(), Vec::new());
        let mut result = Ok(());
        for key in keys {
            match key {
                Key::Source4(address) => keys4.push(*address),
                Key::Source6(network) => keys6.push(*network),
                Key::Prefix4(..) | Key::Prefix6(..) => result = result.and(self.remove(*key)),
            }
        }
        let failed =
            |spec: Spec| move |source| Error::Map { doing: "remove entries from", map: spec.name, source };
        let removed4 = delete_batch(self.fds[0].as_fd(), &keys4).map_err(failed(maps::DENY4));
        let removed6 = delete_batch(self.fds[1].as_fd(), &keys6).map_err(failed(maps::DENY6));
        self.changed();
        result.and(removed4).and(removed6)
    }

    pub fn remove(&mut self, key: Key) -> Result<(), Error> {
        let removed = match key {
            Key::Source4(address) => self.deny4.remove(&address),
            Key::Source6(network) => self.deny6.remove(&network),
            Key::Prefix4(bits, data) => self.prefix4.remove(&lpm_trie::Key::new(bits, data)),
            Key::Prefix6(bits, data) => self.prefix6.remove(&lpm_trie::Key::new(bits, data)),
        };
        self.changed();
        match removed.map_err(into_io) {
            // Somebody else has removed it: it is gone, which is what was asked for.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|source| Error::Map {
                doing: "remove an entry from",
                map: spec(key).name,
                source,
            }),
        }
    }

    /// The value of a key; `None` if there is none.
    pub fn get(&self, key: Key) -> Result<Option<DenyValue>, Error> {
        let found = match key {
            Key::Source4(address) => self.deny4.get(&address, 0),
            Key::Source6(network) => self.deny6.get(&network, 0),
            // A trie tells the longest prefix, whose value says which one that is.
            Key::Prefix4(bits, data) => self.prefix4.get(&lpm_trie::Key::new(bits, data), 0),
            Key::Prefix6(bits, data) => self.prefix6.get(&lpm_trie::Key::new(bits, data), 0),
        };
        let bits = match key {
            Key::Prefix4(bits, _) | Key::Prefix6(bits, _) => Some(bits),
            Key::Source4(_) | Key::Source6(_) => None,
        };
        match found.map_err(into_io) {
            Ok(Wire(value)) => {
                Ok(Some(value).filter(|value| bits.is_none_or(|bits| value.prefix_bits() == bits)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Map { doing: "read an entry of", map: spec(key).name, source }),
        }
    }

    /// The next entries of a reading, about `room`, and whether they were the last.
    pub fn read_on(
        &self,
        reading: &mut Reading,
        room: usize,
    ) -> Result<(Vec<(Key, DenyValue)>, bool), Error> {
        reading.next(&self.fds, room)
    }

    fn insert_error(&self, key: Key, error: MapError) -> Error {
        let source = into_io(error);
        match source.raw_os_error() {
            // A hash map says E2BIG, a trie ENOSPC.
            Some(libc::E2BIG | libc::ENOSPC) => match key {
                Key::Source4(_) => {
                    Error::Full { list: "denylist of IPv4 addresses", capacity: self.capacity4 }
                }
                Key::Source6(_) => Error::Full { list: "denylist of IPv6 /64s", capacity: self.capacity6 },
                Key::Prefix4(..) | Key::Prefix6(..) => {
                    Error::Full { list: "denylist of prefixes", capacity: maps::DENY_PREFIX_CAPACITY }
                }
            },
            _ => Error::Map { doing: "add an entry to", map: spec(key).name, source },
        }
    }
}

fn spec(key: Key) -> Spec {
    match key {
        Key::Source4(_) => maps::DENY4,
        Key::Source6(_) => maps::DENY6,
        Key::Prefix4(..) => maps::DENY_PREFIX4,
        Key::Prefix6(..) => maps::DENY_PREFIX6,
    }
}
