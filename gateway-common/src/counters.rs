//! Counter cells. Each CPU writes its own copy without locks; userspace adds them up.

use crate::kernel_pod;

/// Slots of the counters per ban. Slot 0 belongs to no ban: an entry that has it is counted by reason only.
pub const BAN_SLOTS: u32 = 1 << 14;

kernel_pod! {
    /// Packets and bytes under one [`Reason`](crate::verdict::Reason), on one CPU.
    pub struct Count (size = 16, align = 8) {
        /// Packets since the map was created.
        pub packets: u64,
        /// Bytes of these packets, Ethernet header included, checksum trailer not.
        pub bytes: u64,
    }
}

kernel_pod! {
    /// What one ban has dropped (or, observed, would have dropped), on one CPU.
    pub struct BanCount (size = 32, align = 8) {
        /// Packets since the slot was given to the ban.
        pub packets: u64,
        /// Bytes of these packets.
        pub bytes: u64,
        /// Those of them that would have opened a TCP connection.
        pub syns: u64,
        /// `CLOCK_MONOTONIC` of the last one, in nanoseconds; as coarse as the kernel's tick.
        pub last_ns: u64,
    }
}
