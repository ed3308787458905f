//! What userspace tells the running program. One struct in one array slot, read for every packet.
//!
//! Userspace replaces it in one system call, which the kernel copies without a lock: a packet in flight may
//! see some fields old and some new. Each field is valid alone, so the worst is one packet judged by a
//! mixture of two valid settings.

use crate::kernel_pod;

/// Most ports that can be management ports.
pub const MANAGEMENT_PORTS_MAX: usize = 8;

/// [`Settings::mode`]: drop what is listed or over budget.
pub const MODE_ENFORCE: u32 = 1;
/// [`Settings::mode`]: count what would be dropped, and pass it. Zero, so that a map which nobody has
/// filled yet drops nothing.
pub const MODE_OBSERVE: u32 = 0;

kernel_pod! {
    /// The settings of the program.
    pub struct Settings (size = 80, align = 8) {
        /// [`MODE_ENFORCE`] or [`MODE_OBSERVE`].
        pub mode: u32,
        /// Number of filter lines in use minus one; the number is a power of two.
        pub filter_mask: u32,
        /// Cost of one packet in nanoseconds (1e9 / rate). 0: no packet budget.
        pub packet_cost_ns: u64,
        /// Depth of the packet budget: how far a source may run ahead of its rate.
        pub packet_burst_ns: u64,
        /// Cost of one SYN in nanoseconds. 0: a SYN is charged as any other packet.
        pub syn_cost_ns: u64,
        /// Depth of the SYN budget.
        pub syn_burst_ns: u64,
        /// Key of the budget's hash, drawn once per boot.
        pub hash_key: [u64; 2],
        /// Ports (host order, TCP and UDP) whose packets are never dropped. 0: slot unused.
        pub management_ports: [u16; MANAGEMENT_PORTS_MAX],
        /// One drop in `event_mask + 1` becomes an event; `u32::MAX` for next to none.
        pub event_mask: u32,
        /// Length of a tick of the kernel in nanoseconds (1e9 / HZ).
        pub tick_ns: u32,
    }
}
