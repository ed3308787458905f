//! Entries of the denylist: a lease that the kernel checks itself.
//!
//! Exact sources (IPv4 /32, IPv6 /64) are in a hash map; every other prefix is in a longest-prefix trie
//! that is only read after a hit in the membership filter.

use crate::kernel_pod;

kernel_pod! {
    /// What the kernel knows about a denied source.
    pub struct DenyValue (size = 16, align = 8) {
        /// End of the lease on `CLOCK_MONOTONIC`, in nanoseconds. [`FOREVER`] never ends.
        pub until_ns: u64,
        /// The ban that this entry belongs to; key of the per-ban counters. 0: not counted per ban.
        pub ban_id: u32,
        /// [`FLAG_OBSERVE`] and, in bits 8 to 15, the length of the prefix (see [`DenyValue::prefix_bits`]).
        pub flags: u32,
    }
}

/// Value of [`DenyValue::until_ns`] for an entry without an end.
pub const FOREVER: u64 = 0;
/// The entry counts what it would have dropped and drops nothing.
pub const FLAG_OBSERVE: u32 = 1;
const PREFIX_SHIFT: u32 = 8;

impl DenyValue {
    /// A value for a prefix of `prefix_bits` bits.
    pub const fn new(until_ns: u64, ban_id: u32, observe: bool, prefix_bits: u8) -> Self {
        let observe = if observe { FLAG_OBSERVE } else { 0 };
        Self { until_ns, ban_id, flags: observe | (prefix_bits as u32) << PREFIX_SHIFT }
    }

    /// Whether the lease still runs at `now_ns` (`CLOCK_MONOTONIC`).
    #[inline(always)]
    pub const fn is_live(&self, now_ns: u64) -> bool {
        self.until_ns == FOREVER || self.until_ns > now_ns
    }

    /// Whether the entry only counts.
    #[inline(always)]
    pub const fn is_observed(&self) -> bool {
        self.flags & FLAG_OBSERVE != 0
    }

    /// Length of the prefix that this value belongs to. A trie lookup does not tell which length matched,
    /// and the kernel needs it to look behind an expired or observed entry for a shorter prefix.
    #[inline(always)]
    pub const fn prefix_bits(&self) -> u32 {
        (self.flags >> PREFIX_SHIFT) & 0xff
    }
}

/// How many nested prefixes the kernel looks through for one packet. A prefix hidden behind more expired
/// or observed ones than this does not drop until userspace has swept them.
pub const NESTED_PREFIXES_MAX: u32 = 4;

/// Data part of an IPv4 key of a longest-prefix trie: the address in network order, then four zero bytes.
///
/// The trie stores the value right behind the data, and the value starts with a `u64`: the four zero bytes
/// keep it aligned. Prefix lengths are 0 to 32.
#[inline(always)]
pub const fn prefix_data4(address: [u8; 4]) -> [u8; 8] {
    [address[0], address[1], address[2], address[3], 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_at_its_instant_and_forever_never_does() {
        let lease = DenyValue::new(1_000, 7, false, 32);
        assert!(lease.is_live(999));
        assert!(!lease.is_live(1_000));
        assert!(DenyValue::new(FOREVER, 7, false, 32).is_live(u64::MAX));
    }

    #[test]
    fn flags_carry_observe_and_the_prefix_length() {
        let observed = DenyValue::new(FOREVER, 7, true, 128);
        assert!(observed.is_observed());
        assert_eq!(observed.prefix_bits(), 128);
        assert!(!DenyValue::new(FOREVER, 7, false, 17).is_observed());
        assert_eq!(DenyValue::new(FOREVER, 7, false, 17).prefix_bits(), 17);
    }
}
