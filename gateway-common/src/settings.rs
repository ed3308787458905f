//! What userspace tells the running program. One struct in one array slot, read for every packet.
//!
//! Userspace replaces it in one system call, which the kernel copies without a lock: a packet in flight may
//! see some fields old and some new. Each field is valid alone, so the worst is one packet judged by a
//! mixture of two valid settings.

use crate::{
    budget::{CLASSES, ClassBudget},
    kernel_pod,
};

/// Most ports that can be management ports.
pub const MANAGEMENT_PORTS_MAX: usize = 8;

/// [`Settings::mode`]: drop what is listed or over budget.
pub const MODE_ENFORCE: u32 = 1;
/// [`Settings::mode`]: count what would be dropped, and pass it. Zero, so that a map which nobody has
/// filled yet drops nothing.
pub const MODE_OBSERVE: u32 = 0;

/// [`Settings::calm_until_ticks`]: the SYN budget is always armed.
pub const ARMED: u64 = 0;

/// [`Settings::features`]: a packet over budget goes on if it belongs to a connection of this host.
pub const FEATURE_FLOWS: u32 = 1;
/// [`Settings::features`]: a SYN over budget goes on if it was sent before.
pub const FEATURE_REPEATS: u32 = 2;

kernel_pod! {
    /// The settings of the program.
    pub struct Settings (size = 208, align = 8) {
        /// [`MODE_ENFORCE`] or [`MODE_OBSERVE`].
        pub mode: u32,
        /// Number of filter lines in use minus one; the number is a power of two.
        pub filter_mask: u32,
        /// Tick of the kernel (`jiffies64`) before which the SYN budget rests, [`ARMED`] for always armed.
        /// Userspace moves it on while there is no pressure, so a dead gateway ends armed.
        pub calm_until_ticks: u64,
        /// Length of a tick of the kernel in nanoseconds (1e9 / HZ).
        pub tick_ns: u32,
        /// One drop in `event_mask + 1` becomes an event; `u32::MAX` for next to none.
        pub event_mask: u32,
        /// [`FEATURE_FLOWS`], [`FEATURE_REPEATS`].
        pub features: u32,
        /// Zero.
        pub reserved: u32,
        /// Ports (host order, TCP and UDP) whose packets are never dropped. 0: slot unused.
        pub management_ports: [u16; MANAGEMENT_PORTS_MAX],
        /// The budgets, by the number of the [`Class`](crate::budget::Class).
        pub classes: [ClassBudget; CLASSES],
    }
}
