//! One sampled drop, as it travels through the ring buffer.

use crate::kernel_pod;

kernel_pod! {
    /// A packet that was dropped (or, observed, would have been). One in 2^k is reported, and the first
    /// of every ban on each CPU.
    pub struct DropEvent (size = 40, align = 8) {
        /// `CLOCK_MONOTONIC` in nanoseconds, coarse.
        pub at_ns: u64,
        /// Source address; IPv4 as `::ffff:a.b.c.d`.
        pub source: [u8; 16],
        /// The ban behind it, 0 if a budget was.
        pub ban_id: u32,
        /// Number of the [`Reason`](crate::verdict::Reason).
        pub reason: u32,
        /// Length of the frame in bytes.
        pub bytes: u32,
        /// Index of the interface it came in on.
        pub interface: u32,
    }
}
