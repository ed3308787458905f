//! What the owner of a dataplane asks for.

use std::path::PathBuf;

use gateway_common::maps;

/// How to attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver if it can, else in the network stack. What it became is in
    /// [`Attachment::mode`](super::Attachment::mode).
    #[default]
    Auto,
    /// In the driver, or fail.
    Native,
    /// In the network stack: works everywhere, later and slower.
    Generic,
}

/// Packet budgets of each source (an IPv4 address, an IPv6 /64). A rate of 0 switches a budget off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Packets per second, SYNs apart if they have a budget of their own.
    pub packets_per_second: u64,
    /// Packets at once. Less than 20 ms of the rate counts as that: the kernel's clock is that coarse.
    pub packet_burst: u64,
    /// SYNs per second.
    pub syns_per_second: u64,
    /// SYNs at once.
    pub syn_burst: u64,
}

/// Options of [`Dataplane::open`](super::Dataplane::open).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Interfaces to attach to. None: load only.
    pub interfaces: Vec<String>,
    /// Directory on a BPF file system for maps and links. It belongs to one gateway.
    pub pin_root: PathBuf,
    /// How to attach.
    pub mode: AttachMode,
    /// Drop (`true`), or only count what would be dropped.
    pub enforce: bool,
    /// Packet budgets.
    pub budgets: Budgets,
    /// TCP and UDP ports whose packets are never dropped; at most 8, not 0.
    pub management_ports: Vec<u16>,
    /// Room for exact entries, per address family. Memory for them is taken as they come, but for 16 bytes per
    /// entry at once. Maps of another size are replaced, with their entries.
    pub deny_capacity: u32,
    /// Room for exact IPv6 entries, if it is another. 0: as `deny_capacity`.
    pub deny6_capacity: u32,
    /// Most filter lines (64 bytes each, a power of two). 0: as many as the larger capacity needs.
    pub filter_lines: u32,
    /// One drop in 2^k becomes an event, 0 to 31.
    pub event_sample_shift: u8,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            pin_root: PathBuf::from("/sys/fs/bpf/portcullis"),
            mode: AttachMode::Auto,
            enforce: true,
            budgets: Budgets::default(),
            management_ports: vec![22],
            deny_capacity: maps::DENY_CAPACITY,
            deny6_capacity: 0,
            filter_lines: 0,
            event_sample_shift: 10,
        }
    }
}

impl Options {
    /// Exact entries of each address family that there is room for, IPv4 first.
    pub(super) fn deny_capacities(&self) -> [u32; 2] {
        let capacity6 = if self.deny6_capacity == 0 { self.deny_capacity } else { self.deny6_capacity };
        [self.deny_capacity, capacity6].map(|capacity| capacity.max(1))
    }

    /// Number of filter lines to make: a power of two, at least [`FILTER_LINES_MIN`].
    pub(super) fn filter_lines(&self) -> u32 {
        let wanted = match self.filter_lines {
            0 => {
                let [capacity4, capacity6] = self.deny_capacities();
                capacity4.max(capacity6).div_ceil(gateway_common::filter::ENTRIES_PER_LINE)
            }
            lines => lines,
        };
        wanted.clamp(FILTER_LINES_MIN, 1 << 24).next_power_of_two()
    }
}

/// Fewest filter lines: one page of memory.
pub(super) const FILTER_LINES_MIN: u32 = 64;
