//! Counter cells. Each CPU writes its own copy without locks; userspace adds them up.

use crate::kernel_pod;

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
    pub struct BanCount (size = 24, align = 8) {
        /// Packets since the ban was made.
        pub packets: u64,
        /// Bytes of these packets.
        pub bytes: u64,
        /// `CLOCK_MONOTONIC` of the last one, in nanoseconds; as coarse as the kernel's tick.
        pub last_ns: u64,
    }
}
