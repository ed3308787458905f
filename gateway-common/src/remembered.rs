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
        /// `CLOCK_MONOTONIC` in nanoseconds from which on it must be looked up again.
        pub until_ns: u64,
        /// The changes of the denylist when it was looked up, and in the top bit the family.
        pub changes: u64,
    }
}

impl Remembered {
    /// What was found for a source (the IPv4 address or the IPv6 /64) of a denylist that had changed so often.
    /// `until_ns` is the end of the lease.
    #[inline(always)]
    pub const fn new(
        source: u64,
        is_v6: bool,
        finding: u64,
        until_ns: u64,
        changes: u64,
        now_ns: u64,
    ) -> Self {
        let latest = now_ns.saturating_add(AGE_MAX_NS);
        let until_ns = if until_ns < latest { until_ns } else { latest };
        let changes = Self::stamp(changes, is_v6);
        Self { sum: Self::sum(source, finding, until_ns, changes), finding, until_ns, changes }
    }

    /// The finding, if it is that of the source and still holds.
    #[inline(always)]
    pub const fn holds(&self, source: u64, is_v6: bool, changes: u64, now_ns: u64) -> Option<u64> {
        let is_its = self.sum == Self::sum(source, self.finding, self.until_ns, self.changes);
        let is_new = self.changes == Self::stamp(changes, is_v6) && self.until_ns > now_ns;
        if is_its && is_new { Some(self.finding) } else { None }
    }

    /// Words of two entries that were mixed up make no sum of an IPv4 address, and hardly of a /64.
    #[inline(always)]
    const fn sum(source: u64, finding: u64, until_ns: u64, changes: u64) -> u64 {
        source ^ (finding.wrapping_mul(SPREAD) ^ until_ns ^ changes).wrapping_mul(SPREAD)
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
        for (until_ns, end_ns) in [(NOW_NS + 7, NOW_NS + 7), (u64::MAX, NOW_NS + AGE_MAX_NS)] {
            let entry = Remembered::new(9, false, 77, until_ns, 4, NOW_NS);
            assert_eq!(entry.holds(9, false, 4, NOW_NS), Some(77));
            assert_eq!(entry.holds(9, false, 4, end_ns - 1), Some(77));
            assert_eq!(entry.holds(9, false, 4, end_ns), None);
        }
    }

    #[test]
    fn not_for_another_source_nor_family_nor_after_a_change() {
        let entry = Remembered::new(9, false, 77, u64::MAX, 4, NOW_NS);
        assert_eq!(entry.holds(8, false, 4, NOW_NS), None);
        assert_eq!(entry.holds(9, true, 4, NOW_NS), None);
        assert_eq!(entry.holds(9, false, 5, NOW_NS), None);
        assert_eq!(Remembered::new(9, true, 77, u64::MAX, 4, NOW_NS).holds(9, true, 4, NOW_NS), Some(77));
    }

    #[test]
    fn an_entry_of_two_writers_and_an_empty_one_are_of_nobody() {
        let entry = Remembered::new(9, false, 77, NOW_NS + 5, 4, NOW_NS);
        let other = Remembered::new(10, false, 78, NOW_NS + 6, 4, NOW_NS);
        for torn in [
            Remembered { sum: other.sum, ..entry },
            Remembered { finding: other.finding, ..entry },
            Remembered { until_ns: other.until_ns, ..entry },
        ] {
            assert_eq!([9, 10].map(|source| torn.holds(source, false, 4, NOW_NS)), [None; 2]);
        }
        assert_eq!(Remembered::default().holds(0, false, 0, 0), None);
    }
}
