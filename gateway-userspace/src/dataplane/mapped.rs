//! A map that is written through memory instead of system calls.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Map, MapData};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The words of an mmap-able array, shared with the kernel program.
pub struct MappedWords {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to this value alone, and its words are atomics.
unsafe impl Send for MappedWords {}

impl MappedWords {
    /// Maps an array of `words` 64-bit words.
    pub fn new(map: &MapData, words: usize) -> io::Result<Self> {
        Self::from_fd(map.fd().as_fd(), words)
    }

    fn from_fd(map: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address that the kernel chooses. The kernel rounds up to pages, as
        // it did when it made the array.
        let start = unsafe {
            mmap(ptr::null_mut(), words * 8, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0)?
        };
        Ok(Self { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, words })
    }

    /// The words. The kernel program reads them without any lock, word by word.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `words` words long, page-aligned, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Stores a word if it changes, and says so: an unchanged cache line stays shared between the CPUs.
    pub fn store(&self, index: usize, value: u64) -> bool {
        let word = &self.words()[index];
        let changes = word.load(Ordering::Relaxed) != value;
        if changes {
            word.store(value, Ordering::Release);
        }
        changes
    }
}

impl Drop for MappedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference into it is left.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.words * 8) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The data of a map of any kind that the program has.
pub fn data(map: Map) -> Option<MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
