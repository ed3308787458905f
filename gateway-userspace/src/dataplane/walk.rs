//! Reading maps piece by piece: many entries in one call where the kernel can (hashes since Linux 5.6, tries since
//! 5.13), else key by key.
//!
//! What is added or removed meanwhile may be seen or not. Where the key that a trie was left at is gone, its walk
//! begins anew.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use gateway_common::{
    KernelPod,
    denylist::DenyValue,
    maps::{self, Spec},
};

use super::{
    Error,
    prefix::Key,
    syscall::{Batch, look_up, lookup_batch, next_key},
};

/// Entries that are read in one call at most.
const PIECE_MAX: usize = 1 << 16;
/// The most entries of one bucket of a hash that there is room for.
const ROOM_MAX: usize = 1 << 20;
/// `ENOTSUPP`, which the kernel lets out although no header for programs has it.
const ENOTSUPP: i32 = 524;

/// Entries of a map, and whether they were the last ones.
type Piece<const K: usize, V> = (Vec<([u8; K], V)>, bool);

/// How far a map has been read, whose keys have `K` bytes, at least four.
pub struct Walk<const K: usize> {
    /// The kernel's own word for where to go on, or the key that was read last.
    cursor: Option<[u8; K]>,
    by_key: bool,
}

impl<const K: usize> Walk<K> {
    /// From the beginning.
    pub const fn new() -> Self {
        Self { cursor: None, by_key: false }
    }

    /// The next entries, about `room`; after the last ones it begins anew.
    pub fn next<V: KernelPod + Default>(
        &mut self,
        map: BorrowedFd<'_>,
        room: usize,
    ) -> io::Result<Piece<K, V>> {
        let (rows, ended) = match self.next_batch(map, room.clamp(1, PIECE_MAX)) {
            Err(error) if !self.by_key && is_unknown(&error) => {
                (self.by_key, self.cursor) = (true, None);
                self.next_keys(map, room.clamp(1, PIECE_MAX))
            }
            batch => batch,
        }?;
        if ended {
            self.cursor = None;
        }
        Ok((rows, ended))
    }

    fn next_batch<V: KernelPod + Default>(
        &mut self,
        map: BorrowedFd<'_>,
        mut room: usize,
    ) -> io::Result<Piece<K, V>> {
        if self.by_key {
            return self.next_keys(map, room);
        }
        loop {
            let (mut keys, mut values) = (vec![[0; K]; room], vec![V::default(); room]);
            match lookup_batch(map, self.cursor.as_ref(), &mut keys, &mut values) {
                // A bucket of a hash comes as a whole.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && room < ROOM_MAX => room *= 2,
                Err(error) => return Err(error),
                Ok(Batch { count, next }) => {
                    self.cursor = next;
                    let rows = keys.into_iter().zip(values).take(count).collect();
                    return Ok((rows, next.is_none()));
                }
            }
        }
    }

    fn next_keys<V: KernelPod + Default>(
        &mut self,
        map: BorrowedFd<'_>,
        room: usize,
    ) -> io::Result<Piece<K, V>> {
        let mut rows = Vec::new();
        while rows.len() < room {
            let Some(key) = next_key(map, self.cursor.as_ref())? else { return Ok((rows, true)) };
            self.cursor = Some(key);
            let mut value = [V::default()];
            match look_up(map, &key, &mut value) {
                Ok(()) => rows.push((key, value[0])),
                // It has gone in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((rows, false))
    }

    /// All entries.
    pub fn all<V: KernelPod + Default>(map: BorrowedFd<'_>) -> io::Result<Vec<([u8; K], V)>> {
        let (mut walk, mut all) = (Self::new(), Vec::new());
        loop {
            let (rows, ended) = walk.next(map, PIECE)?;
            all.extend(rows);
            if ended {
                return Ok(all);
            }
        }
    }
}

/// Entries that are read in one call where all are wanted.
const PIECE: usize = 4096;

fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

/// The four maps of the denylist, in the order in which they are read.
pub const DENYLISTS: [Spec; 4] = [maps::DENY4, maps::DENY6, maps::DENY_PREFIX4, maps::DENY_PREFIX6];

/// How far the denylist has been read, map after map.
pub struct Reading {
    /// Index of the map that comes next in [`DENYLISTS`].
    map: usize,
    deny4: Walk<4>,
    deny6: Walk<8>,
    prefix4: Walk<12>,
    prefix6: Walk<20>,
}

impl Reading {
    /// From the beginning.
    pub const fn new() -> Self {
        Self { map: 0, deny4: Walk::new(), deny6: Walk::new(), prefix4: Walk::new(), prefix6: Walk::new() }
    }

    /// The next entries of one map, about `room`, and whether they were the last of all maps: then it begins anew.
    pub fn next(&mut self, maps: &[OwnedFd; 4], room: usize) -> Result<(Vec<(Key, DenyValue)>, bool), Error> {
        let fd = maps[self.map].as_fd();
        let piece = match self.map {
            0 => keyed(self.deny4.next(fd, room), Key::Source4),
            1 => keyed(self.deny6.next(fd, room), Key::Source6),
            2 => keyed(self.prefix4.next(fd, room), Key::of_trie4),
            _ => keyed(self.prefix6.next(fd, room), Key::of_trie6),
        };
        let map = DENYLISTS[self.map].name;
        let (rows, ended) = piece.map_err(|source| Error::Map { doing: "read", map, source })?;
        if ended {
            self.map = (self.map + 1) % DENYLISTS.len();
        }
        Ok((rows, ended && self.map == 0))
    }
}

fn keyed<const K: usize>(
    piece: io::Result<Piece<K, DenyValue>>,
    key: impl Fn([u8; K]) -> Key,
) -> io::Result<(Vec<(Key, DenyValue)>, bool)> {
    let (rows, ended) = piece?;
    Ok((rows.into_iter().map(|(bytes, value)| (key(bytes), value)).collect(), ended))
}
