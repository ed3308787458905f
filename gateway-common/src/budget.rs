//! Packet budgets per source: a keyed hash and GCRA cells, four in one cache line.
//!
//! A source is hashed to a line, and in it to one cell in each of four groups of four. A cell is the
//! *theoretical arrival time* of GCRA: a single number, no timestamp beside it, and an old one heals by
//! itself, so nothing is ever inserted, evicted or swept. A packet is over budget only if **all four** cells
//! say so: a source that is within its budget suffers only when each of its cells is shared with a source
//! that is not. With 100 such sources that is one in about 80 000, with 1000 one in about 8 000.
//!
//! Time is counted in units of 2^`shift` nanoseconds, modulo 2^32. A cell that was not touched for that long
//! looks like one that was charged lately, for the time of two bursts: userspace picks units so coarse that
//! this is a small part of a round, and it takes from a source what it would have used up by then, no more.
//!
//! Limits: stores are not atomic, so one source spread over several CPUs may get a little more than its
//! budget, never less. A source address can be forged: a budget sheds load, it never bans.

use crate::kernel_pod;

/// Lines of cells: 4 MiB.
pub const LINES: u32 = 1 << 16;
/// Those that a class charges: one half is of SYNs, the other of all else. In one line all cells count in the same
/// units; of another's a cell would be nothing but an old one, and whoever is over budget would begin anew.
pub const CLASS_LINES: u32 = LINES / 2;
/// Groups of cells in a line; a source has one cell in each.
pub const GROUPS: usize = 4;
const GROUP_CELLS: usize = 4;

kernel_pod! {
    /// One line of cells.
    pub struct Cells (size = 64, align = 4) {
        /// Arrival times in the units of the class that charges them, modulo 2^32.
        pub cells: [u32; GROUPS * GROUP_CELLS],
    }
}

/// What is charged apart, with its number in [`Settings::classes`](crate::settings::Settings::classes). Each
/// class has a key of its own, so its sources have other cells.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// IPv4, all but SYN.
    Packet4 = 0,
    /// IPv4 TCP segments with SYN and without ACK.
    Syn4 = 1,
    /// IPv6, all but SYN.
    Packet6 = 2,
    /// IPv6 TCP segments with SYN and without ACK.
    Syn6 = 3,
    /// Packets of a connection of this host, by connection.
    Flow = 4,
}

/// Number of classes.
pub const CLASSES: usize = 5;

/// Most units that a burst may have: a quarter of the round.
pub const BURST_MAX: u32 = 1 << 30;

kernel_pod! {
    /// The budget of one class.
    pub struct ClassBudget (size = 32, align = 8) {
        /// Key of its hash, drawn when the maps are made.
        pub key: [u64; 2],
        /// Cost of one packet in units of 2^`shift` nanoseconds. 0: no budget.
        pub cost: u32,
        /// How far a source may run ahead of its rate, in the same units; at most [`BURST_MAX`].
        pub burst: u32,
        /// Length of a unit: 2^`shift` nanoseconds, below 64.
        pub shift: u32,
        /// The first of its lines: 0 or [`CLASS_LINES`].
        pub first_line: u32,
    }
}

/// One step of GCRA on a clock that goes round. Returns the new arrival time if the packet conforms, `None`
/// if it is over budget and must not be charged.
///
/// `burst` is the whole depth: with `burst = n * cost`, `n` packets pass at one instant. A cell that lies
/// behind `now`, or further ahead than two bursts, is old and counts as empty. One burst is as far as it gets by
/// the clock of whoever charged it, who may be a tick ahead of whoever asks.
#[inline(always)]
pub const fn charge(cell: u32, now: u32, cost: u32, burst: u32) -> Option<u32> {
    let ahead = cell.wrapping_sub(now);
    let next = if ahead > 2 * burst { cost } else { ahead.wrapping_add(cost) };
    if next > burst { None } else { Some(now.wrapping_add(next)) }
}

/// Where a source is charged: a line of its class, from 0, and in it the picks of [`cell`].
///
/// Two multiplications by secret odd numbers with a fold between them. Not for whoever sees hashes; nobody does: the
/// sender of a forged packet never learns where it was charged. SipHash costs as much as all else that a packet needs.
#[inline(always)]
pub const fn place(key: [u64; 2], word: u64) -> (u32, u32) {
    let mut hash = (word ^ key[0]).wrapping_mul(key[1] | 1);
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(key[0] | 1);
    ((hash >> 48) as u32 & (CLASS_LINES - 1), (hash >> 32) as u32)
}

/// The cell of a group (0 to 3) in the line.
#[inline(always)]
pub const fn cell(picks: u32, group: usize) -> usize {
    group * GROUP_CELLS + (picks >> (2 * group)) as usize % GROUP_CELLS
}

/// SipHash-1-3 of one word, without the block that holds the length: all messages have the same.
///
/// Keyed, because with a public hash an attacker picks sources that share their cells with a victim, and
/// spends the victim's budget.
#[inline(always)]
pub const fn siphash13(key: [u64; 2], word: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    v[3] ^= word;
    v = round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    v = round(round(round(v)));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
const fn round(v: [u64; 4]) -> [u64; 4] {
    let [mut v0, mut v1, mut v2, mut v3] = v;
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

#[cfg(test)]
mod tests;
