//! The layouts of version 1 of the maps, as they were: what a start finds whose maps an older gateway has
//! left. Nothing here changes any more; it goes when no version 1 is left to come from.

use crate::{
    allowlist::AllowValue,
    counters::Count,
    filter, kernel_pod,
    maps::{Kind, NO_PREALLOC, Spec, TrieKey},
};

/// The version, part of the path of the pins.
pub const ABI_VERSION: u32 = 1;

kernel_pod! {
    /// A denied source.
    pub struct DenyValue (size = 16, align = 8) {
        /// End of the lease on `CLOCK_MONOTONIC`, in nanoseconds; 0 never ends.
        pub until_ns: u64,
        /// The ban, also the key of its counters; 0: not counted per ban.
        pub ban_id: u32,
        /// Bit 0: observe. Bits 8 to 15: the length of the prefix.
        pub flags: u32,
    }
}

kernel_pod! {
    /// What one ban has dropped, on one CPU.
    pub struct BanCount (size = 24, align = 8) {
        /// Packets since the ban was made.
        pub packets: u64,
        /// Bytes of these packets.
        pub bytes: u64,
        /// `CLOCK_MONOTONIC` of the last one, in nanoseconds.
        pub last_ns: u64,
    }
}

kernel_pod! {
    /// The settings of the program.
    pub struct Settings (size = 80, align = 8) {
        /// 1: enforce, 0: observe.
        pub mode: u32,
        /// Number of filter lines in use minus one.
        pub filter_mask: u32,
        /// Cost of one packet in nanoseconds; 0: no packet budget.
        pub packet_cost_ns: u64,
        /// Depth of the packet budget.
        pub packet_burst_ns: u64,
        /// Cost of one SYN in nanoseconds; 0: no SYN budget.
        pub syn_cost_ns: u64,
        /// Depth of the SYN budget.
        pub syn_burst_ns: u64,
        /// Key of the budget's hash.
        pub hash_key: [u64; 2],
        /// Ports whose packets are never dropped.
        pub management_ports: [u16; 8],
        /// One drop in `event_mask + 1` becomes an event.
        pub event_mask: u32,
        /// Length of a tick in nanoseconds.
        pub tick_ns: u32,
    }
}

/// One slot of [`Settings`].
pub const SETTINGS: Spec = Spec::new::<u32, Settings>("SETTINGS", Kind::Array, 1, 0);
/// The wide bits of the filter.
pub const WIDE: Spec = Spec::new::<u32, u64>("WIDE", Kind::Array, 2048, 1 << 10);
/// The lines of the filter; their number followed the capacity.
pub const FILTER: Spec = Spec::new::<u32, filter::Line>("FILTER", Kind::Array, 8192, 1 << 10);
/// Denied IPv4 addresses; the size followed the capacity.
pub const DENY4: Spec = Spec::new::<[u8; 4], DenyValue>("DENY4", Kind::Hash, 1 << 18, NO_PREALLOC);
/// Denied IPv6 /64s; the size followed the capacity.
pub const DENY6: Spec = Spec::new::<[u8; 8], DenyValue>("DENY6", Kind::Hash, 1 << 18, NO_PREALLOC);
/// Denied IPv4 prefixes other than /32.
pub const DENY_PREFIX4: Spec =
    Spec::new::<TrieKey<[u8; 8]>, DenyValue>("DENY_PREFIX4", Kind::LpmTrie, 1 << 16, NO_PREALLOC);
/// Denied IPv6 prefixes other than /64.
pub const DENY_PREFIX6: Spec =
    Spec::new::<TrieKey<[u8; 16]>, DenyValue>("DENY_PREFIX6", Kind::LpmTrie, 1 << 16, NO_PREALLOC);
/// Allowed IPv4 prefixes.
pub const ALLOW4: Spec =
    Spec::new::<TrieKey<[u8; 8]>, AllowValue>("ALLOW4", Kind::LpmTrie, 4096, NO_PREALLOC);
/// Allowed IPv6 prefixes.
pub const ALLOW6: Spec =
    Spec::new::<TrieKey<[u8; 16]>, AllowValue>("ALLOW6", Kind::LpmTrie, 4096, NO_PREALLOC);
/// GCRA cells, two rows.
pub const BUDGET: Spec = Spec::new::<u32, u64>("BUDGET", Kind::Array, 1 << 18, 0);
/// Packets and bytes by reason.
pub const COUNTERS: Spec = Spec::new::<u32, Count>("COUNTERS", Kind::PerCpuArray, 16, 0);
/// Packets and bytes by ban.
pub const BAN_COUNTERS: Spec =
    Spec::new::<u32, BanCount>("BAN_COUNTERS", Kind::PerCpuHash, 1 << 16, NO_PREALLOC);
/// Sampled drops.
pub const EVENTS: Spec = Spec::new::<(), ()>("EVENTS", Kind::RingBuf, 1 << 18, 0);

/// Every map of the program.
pub const ALL: [Spec; 13] = [
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
    COUNTERS,
    BAN_COUNTERS,
    EVENTS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps;

    #[test]
    fn what_did_not_change_since_is_what_it_is_today() {
        for name in ["WIDE", "FILTER", "ALLOW4", "ALLOW6", "EVENTS"] {
            let of = |all: &[Spec]| all.iter().copied().find(|spec| spec.name == name);
            assert_eq!(of(&ALL), of(&maps::ALL), "{name}");
        }
        assert!(ALL.iter().all(|spec| maps::ALL.iter().any(|other| other.name == spec.name)));
    }
}
