//! Names, kinds and sizes of the maps. The kernel program declares them with these constants, and userspace
//! compares them with what it finds pinned before it uses it.

use crate::{
    allowlist::AllowValue,
    budget::{self, Cells},
    counters::{BAN_SLOTS, BanCount, Count},
    denylist::DenyValue,
    filter,
    remembered::{self, Remembered},
    seen,
    settings::Settings,
    verdict,
};

/// `BPF_F_NO_PREALLOC`: memory grows with the entries.
pub const NO_PREALLOC: u32 = 1;
/// `BPF_F_MMAPABLE`: userspace writes the array without a system call (since Linux 5.5).
pub const MMAPABLE: u32 = 1 << 10;

/// Default size of each exact denylist, IPv4 and IPv6.
pub const DENY_CAPACITY: u32 = 1 << 18;
/// Prefixes that can be denied, per address family. Not preallocated.
pub const DENY_PREFIX_CAPACITY: u32 = 1 << 18;
/// Prefixes that can be allowed, per address family.
pub const ALLOW_CAPACITY: u32 = 4096;
/// Default number of filter lines: enough for [`DENY_CAPACITY`] at 16 bits per entry.
pub const FILTER_LINES: u32 = DENY_CAPACITY / filter::ENTRIES_PER_LINE;
/// Bytes of the event ring: a power of two and a multiple of the page size.
pub const EVENTS_BYTES: u32 = 1 << 18;

/// Kind of a map, with the kernel's number (`enum bpf_map_type`).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_PERCPU_HASH`
    PerCpuHash = 5,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_LPM_TRIE` (since Linux 4.11)
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_RINGBUF` (since Linux 5.8)
    RingBuf = 27,
}

/// What a map must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name, at most 15 bytes; also the name of the pin.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value (on one CPU).
    pub value_bytes: u32,
    /// Entries, or bytes of a ring. For the exact denylists and the filter this is the default.
    pub max_entries: u32,
    /// Flags.
    pub flags: u32,
}

impl Spec {
    pub(crate) const fn new<K, V>(name: &'static str, kind: Kind, max_entries: u32, flags: u32) -> Self {
        let (key_bytes, value_bytes) = (size_of::<K>() as u32, size_of::<V>() as u32);
        Self { name, kind, key_bytes, value_bytes, max_entries, flags }
    }
}

/// Key of a trie as the kernel sees it: the length, then the data.
#[repr(C, packed)]
pub(crate) struct TrieKey<D>(u32, D);

/// One slot of [`Settings`].
pub const SETTINGS: Spec = Spec::new::<u32, Settings>("SETTINGS", Kind::Array, 1, 0);
/// The wide bits of the filter.
pub const WIDE: Spec = Spec::new::<u32, u64>("WIDE", Kind::Array, filter::WIDE_WORDS, MMAPABLE);
/// The lines of the filter.
pub const FILTER: Spec = Spec::new::<u32, filter::Line>("FILTER", Kind::Array, FILTER_LINES, MMAPABLE);
/// Denied IPv4 addresses, in network order.
pub const DENY4: Spec = Spec::new::<[u8; 4], DenyValue>("DENY4", Kind::Hash, DENY_CAPACITY, NO_PREALLOC);
/// Denied IPv6 /64s, in network order.
pub const DENY6: Spec = Spec::new::<[u8; 8], DenyValue>("DENY6", Kind::Hash, DENY_CAPACITY, NO_PREALLOC);
/// Denied IPv4 prefixes other than /32.
pub const DENY_PREFIX4: Spec = Spec::new::<TrieKey<[u8; 8]>, DenyValue>(
    "DENY_PREFIX4",
    Kind::LpmTrie,
    DENY_PREFIX_CAPACITY,
    NO_PREALLOC,
);
/// Denied IPv6 prefixes other than /64.
pub const DENY_PREFIX6: Spec = Spec::new::<TrieKey<[u8; 16]>, DenyValue>(
    "DENY_PREFIX6",
    Kind::LpmTrie,
    DENY_PREFIX_CAPACITY,
    NO_PREALLOC,
);
/// Allowed IPv4 prefixes.
pub const ALLOW4: Spec =
    Spec::new::<TrieKey<[u8; 8]>, AllowValue>("ALLOW4", Kind::LpmTrie, ALLOW_CAPACITY, NO_PREALLOC);
/// Allowed IPv6 prefixes.
pub const ALLOW6: Spec =
    Spec::new::<TrieKey<[u8; 16]>, AllowValue>("ALLOW6", Kind::LpmTrie, ALLOW_CAPACITY, NO_PREALLOC);
/// Lines of GCRA cells.
pub const BUDGET: Spec = Spec::new::<u32, Cells>("BUDGET", Kind::Array, budget::LINES, 0);
/// SYNs over budget that came lately.
pub const SEEN: Spec = Spec::new::<u32, u64>("SEEN", Kind::Array, seen::WORDS, 0);
/// Findings that drop, by source.
pub const REMEMBERED: Spec = Spec::new::<u32, Remembered>("REMEMBERED", Kind::Array, remembered::ENTRIES, 0);
/// One word: how often the denylist has changed.
pub const CHANGES: Spec = Spec::new::<u32, u64>("CHANGES", Kind::Array, 1, MMAPABLE);
/// Packets and bytes by reason.
pub const COUNTERS: Spec = Spec::new::<u32, Count>("COUNTERS", Kind::PerCpuArray, verdict::REASON_SLOTS, 0);
/// Packets and bytes by the slot of a ban.
pub const BAN_COUNTERS: Spec = Spec::new::<u32, BanCount>("BAN_COUNTERS", Kind::PerCpuArray, BAN_SLOTS, 0);
/// Sampled drops.
pub const EVENTS: Spec = Spec::new::<(), ()>("EVENTS", Kind::RingBuf, EVENTS_BYTES, 0);

/// Every map of the program.
pub const ALL: [Spec; 16] = [
    SETTINGS,
    DENY4,
    DENY6,
    DENY_PREFIX4,
    DENY_PREFIX6,
    ALLOW4,
    ALLOW6,
    WIDE,
    FILTER,
    BUDGET,
    SEEN,
    REMEMBERED,
    CHANGES,
    COUNTERS,
    BAN_COUNTERS,
    EVENTS,
];

/// Name of the program that is attached.
pub const PROGRAM: &str = "portcullis";
/// Name of the program that tells what the denylist holds for a packet, and counts nothing.
pub const PROBE_PROGRAM: &str = "probe";
/// Name of the program that tells the kernel's tick (`jiffies64`, the lower half).
pub const TICKS_PROGRAM: &str = "ticks";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_are_distinct() {
        for spec in ALL {
            assert!(spec.name.len() <= 15, "{}", spec.name);
            assert_eq!(ALL.iter().filter(|other| other.name == spec.name).count(), 1);
        }
    }

    #[test]
    fn sizes_that_the_kernel_wants_as_powers_of_two_are() {
        assert!(FILTER.max_entries.is_power_of_two());
        assert!(EVENTS.max_entries.is_power_of_two());
        assert_eq!(DENY_PREFIX4.key_bytes, 12);
        assert_eq!(DENY_PREFIX6.key_bytes, 20);
    }
}
