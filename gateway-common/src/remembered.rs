//! What was found in the denylist for the sources that send most: a flood of listed sources asks the same again and
//! again, and here the answer is one line away instead of a hash table.
//!
//! An entry is believed if it is of the source, of the denylist as it is now (userspace counts its changes) and not
//! older than [`AGE_MAX_NS`]; the lease is in it. So whoever lifts a ban is obeyed by the next packet, and whoever
//! changes a map behind the gateway's back within a second. What is remembered drops: a source that may be let
//! through is looked up each time.
//!
//! Writers take no lock. The first word is a sum over the others, so an entry of two writers is of nobody.

use crate::{filter::Pattern, kernel_pod};

/// Entries: 256 KiB. A source has one place.
pub const ENTRIES: u32 = 1 << 13;
/// How long an entry is believed.
pub const AGE_MAX_NS: u64 = 1_000_000_000;

const V6: u64 = 1 << 63;
/// Odd, with bits all over: findings that differ in a bit or two differ in many when multiplied by it.
const SPREAD: u64 = 0xd6e8_feb8_6659_fd93;

kernel_pod! {
    /// A remembered finding.
    pub struct Remembered (size = 32, align = 8) {
        /// Of the source and the other three words.
        pub sum: u64,
        /// What was found, in the program's own form.
        pub finding: u64,
        /// The last instant at which it holds, on `CLOCK_MONOTONIC` in nanoseconds.
        pub through_ns: u64,
        /// The changes of the denylist when it was looked up, and in the top bit the family.
        pub changes: u64,
    }
}

impl Remembered {
    /// What was found for a source (the IPv4 address or the IPv6 /64) of a denylist that had changed so often.
    /// `through_ns` is the last instant at which it is sure.
    #[inline(always)]
    pub const fn new(
        source: u64,
        is_v6: bool,
        finding: u64,
        through_ns: u64,
        changes: u64,
        now_ns: u64,
    ) -> Self {
        let latest = now_ns.wrapping_add(AGE_MAX_NS - 1);
        let through_ns = if through_ns < latest { through_ns } else { latest };
        let changes = Self::stamp(changes, is_v6);
        Self { sum: Self::sum(source, finding, through_ns, changes), finding, through_ns, changes }
    }

    /// Whether it is the finding of the source and still holds.
    ///
    /// Without a branch between its conditions: the verifier would follow each way out through all that comes after.
    #[inline(always)]
    pub const fn holds(&self, source: u64, is_v6: bool, changes: u64, now_ns: u64) -> bool {
        let sum = Self::sum(source, self.finding, self.through_ns, self.changes);
        let differs = (self.sum ^ sum) | (self.changes ^ Self::stamp(changes, is_v6));
        // The sign of the difference: both are instants below 2^63.
        let is_over = self.through_ns.wrapping_sub(now_ns) >> 63;
        differs | is_over == 0
    }

    /// Words of two entries that were mixed up make no sum of an IPv4 address, and hardly of a /64.
    #[inline(always)]
    const fn sum(source: u64, finding: u64, through_ns: u64, changes: u64) -> u64 {
        source ^ (finding.wrapping_mul(SPREAD) ^ through_ns ^ changes).wrapping_mul(SPREAD)
    }

    #[inline(always)]
    const fn stamp(changes: u64, is_v6: bool) -> u64 {
        if is_v6 { changes | V6 } else { changes }
    }
}

/// The place of a source, by its pattern in the filter.
#[inline(always)]
pub const fn place(host: Pattern) -> u32 {
    host.0 & (ENTRIES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: u64 = 5_000_000_000;

    #[test]
    fn it_holds_for_its_source_until_the_lease_ends_or_a_second_has_passed() {
        for (through_ns, end_ns) in [(NOW_NS + 6, NOW_NS + 7), (u64::MAX, NOW_NS + AGE_MAX_NS)] {
            let entry = Remembered::new(9, false, 77, through_ns, 4, NOW_NS);
            assert!(entry.holds(9, false, 4, NOW_NS));
            assert!(entry.holds(9, false, 4, end_ns - 1));
            assert!(!entry.holds(9, false, 4, end_ns));
        }
    }

    #[test]
    fn not_for_another_source_nor_family_nor_after_a_change() {
        let entry = Remembered::new(9, false, 77, u64::MAX, 4, NOW_NS);
        assert!(!entry.holds(8, false, 4, NOW_NS));
        assert!(!entry.holds(9, true, 4, NOW_NS));
        assert!(!entry.holds(9, false, 5, NOW_NS));
        assert!(Remembered::new(9, true, 77, u64::MAX, 4, NOW_NS).holds(9, true, 4, NOW_NS));
    }

    #[test]
    fn an_entry_of_two_writers_and_an_empty_one_are_of_nobody() {
        let entry = Remembered::new(9, false, 77, NOW_NS + 5, 4, NOW_NS);
        let other = Remembered::new(10, false, 78, NOW_NS + 6, 4, NOW_NS);
        for torn in [
            Remembered { sum: other.sum, ..entry },
            Remembered { finding: other.finding, ..entry },
            Remembered { through_ns: other.through_ns, ..entry },
        ] {
            assert_eq!([9, 10].map(|source| torn.holds(source, false, 4, NOW_NS)), [false; 2]);
        }
        assert!(!Remembered::default().holds(0, false, 0, 1));
    }
}
