//! Memory that ends, and begins, where a page is that nobody may touch: one byte read too far ends the process.

use std::io;
use std::ptr;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// Every page size of the platforms we run on divides it.
const PAGE: usize = 64 << 10;

/// One span of memory between two such pages.
pub struct Guarded {
    start: *mut u8,
}

/// Bytes that fit.
pub const ROOM: usize = PAGE;

impl Guarded {
    /// # Errors
    /// If the kernel gives no memory.
    pub fn new() -> io::Result<Guarded> {
        let flags = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping at an address that the kernel picks touches nothing of ours.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), 3 * PAGE, flags.0, flags.1) }?.cast::<u8>();
        for offset in [0, 2 * PAGE] {
            // SAFETY: that page is part of the mapping made above, and nothing refers to it.
            unsafe { mprotect(base.add(offset).cast(), PAGE, MprotectFlags::empty()) }?;
        }
        // SAFETY: the mapping has three pages.
        Ok(Guarded { start: unsafe { base.add(PAGE) } })
    }

    /// Places bytes so that they end where the memory ends, or begin where it begins.
    ///
    /// # Panics
    /// If there are more than [`ROOM`].
    pub fn place(&mut self, bytes: &[u8], at_the_end: bool) -> &mut [u8] {
        assert!(bytes.len() <= ROOM, "{} bytes", bytes.len());
        let offset = if at_the_end { ROOM - bytes.len() } else { 0 };
        // SAFETY: `offset` and what follows lie within the middle page, which may be written and is ours alone.
        let placed = unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), bytes.len()) };
        placed.copy_from_slice(bytes);
        placed
    }
}
