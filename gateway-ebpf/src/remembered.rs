//! What was found for a source lately (see [`gateway_common::remembered`]).

use gateway_common::{
    filter::Probe,
    remembered::{self, Remembered},
};

use crate::{
    denylist::Finding,
    maps::{CHANGES, REMEMBERED},
};

/// A place that no source has: what is found is not remembered.
pub const NOWHERE: u32 = u32::MAX;

/// The place of a source.
#[inline(always)]
pub fn place(probe: &Probe) -> u32 {
    remembered::place(probe.host)
}

/// What was found for a source of a denylist that has changed so often, [`Finding::NONE`] if it has to be looked up.
#[inline(always)]
pub fn recall(place: u32, source: u64, is_v6: bool, changes: u64, now_ns: u64) -> u64 {
    let Some(entry) = REMEMBERED.get_ptr_mut(place) else { return Finding::NONE };
    // SAFETY: the pointer is into the map's value. Reads of eight aligned bytes do not tear, and the sum tells
    // whether all four are of one writer.
    let entry = unsafe {
        Remembered {
            sum: (&raw const (*entry).sum).read_volatile(),
            finding: (&raw const (*entry).finding).read_volatile(),
            through_ns: (&raw const (*entry).through_ns).read_volatile(),
            changes: (&raw const (*entry).changes).read_volatile(),
        }
    };
    if entry.holds(source, is_v6, changes, now_ns) { entry.finding } else { Finding::NONE }
}

/// How often the denylist has changed: to be asked before it is read.
#[inline(always)]
pub fn changes() -> u64 {
    match CHANGES.get_ptr_mut(0) {
        // SAFETY: the pointer is into the map's value; userspace writes it atomically.
        Some(changes) => unsafe { changes.read_volatile() },
        None => 0,
    }
}

/// Remembers a finding, unless another one holds its place: sources that share it must not make each other write.
#[inline(always)]
pub fn note(place: u32, entry: Remembered, now_ns: u64) {
    let Some(place) = REMEMBERED.get_ptr_mut(place) else { return };
    // SAFETY: as above.
    let (through_ns, changes) = unsafe {
        ((&raw const (*place).through_ns).read_volatile(), (&raw const (*place).changes).read_volatile())
    };
    if (changes == entry.changes) & (through_ns >= now_ns) {
        return;
    }
    // SAFETY: the pointer is into the map's value. Writes of eight aligned bytes do not tear, and an entry of two
    // writers is told by its sum.
    unsafe {
        (&raw mut (*place).sum).write_volatile(entry.sum);
        (&raw mut (*place).finding).write_volatile(entry.finding);
        (&raw mut (*place).through_ns).write_volatile(entry.through_ns);
        (&raw mut (*place).changes).write_volatile(entry.changes);
    }
}
