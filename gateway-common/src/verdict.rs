//! Why a packet passed or was dropped: the index of the counters and the label of the metrics.

/// The reason behind what happened to a packet. Every packet is counted under exactly one reason that is
/// not [beside](Reason::is_beside) it; those are counted on top, because such a packet goes on.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Passed: neither listed nor over its budget.
    Clean = 0,
    /// Passed: neither IPv4 nor IPv6 behind at most two VLAN tags (ARP among others).
    NotIp = 1,
    /// Passed: too short to hold the headers it announces. Never dropped here, the stack behind does it.
    Truncated = 2,
    /// Passed: IPv6 link-local or unspecified source, which neighbour discovery needs.
    LinkLocal = 3,
    /// Dropped: the exact source (IPv4 address, IPv6 /64) is listed.
    DeniedSource = 4,
    /// Dropped: a prefix that holds the source is listed.
    DeniedPrefix = 5,
    /// Dropped: over the packet budget.
    OverPackets = 6,
    /// Dropped: over the SYN budget.
    OverSyns = 7,
    /// Passed although listed or over budget: the source is on the allowlist.
    Allowed = 8,
    /// Passed although listed or over budget: ICMP errors, neighbour discovery or DHCP.
    ExemptProtocol = 9,
    /// Passed although listed or over budget: sent to a management port.
    ExemptPort = 10,
    /// Would have been dropped as [`Reason::DeniedSource`], but the entry or the program observes.
    ObservedSource = 11,
    /// Would have been dropped as [`Reason::DeniedPrefix`], but the entry or the program observes.
    ObservedPrefix = 12,
    /// Would have been dropped as [`Reason::OverPackets`], but the program observes.
    ObservedPackets = 13,
    /// Would have been dropped as [`Reason::OverSyns`], but the program observes.
    ObservedSyns = 14,
    /// Not a verdict: the filter said "maybe" and no live entry was found. Costs time only; a high share
    /// says that the filter is too small.
    FilterMiss = 15,
    /// Went on although listed: a connection that its ban admits on parole.
    Paroled = 16,
    /// Went on although over the SYN budget: the SYN was sent before, as a real client does.
    Repeated = 17,
    /// Went on although over the packet budget: it belongs to a connection of this host.
    Established = 18,
}

/// Number of reasons.
pub const REASONS: usize = 19;
/// Slots in the counters: room, so that a new reason changes no layout.
pub const REASON_SLOTS: u32 = 32;

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; REASONS] = [
        Self::Clean,
        Self::NotIp,
        Self::Truncated,
        Self::LinkLocal,
        Self::DeniedSource,
        Self::DeniedPrefix,
        Self::OverPackets,
        Self::OverSyns,
        Self::Allowed,
        Self::ExemptProtocol,
        Self::ExemptPort,
        Self::ObservedSource,
        Self::ObservedPrefix,
        Self::ObservedPackets,
        Self::ObservedSyns,
        Self::FilterMiss,
        Self::Paroled,
        Self::Repeated,
        Self::Established,
    ];

    /// The reason with this number, as read from a map or an event.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// Name in snake case, as metrics and events show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::NotIp => "not_ip",
            Self::Truncated => "truncated",
            Self::LinkLocal => "link_local",
            Self::DeniedSource => "denied_source",
            Self::DeniedPrefix => "denied_prefix",
            Self::OverPackets => "over_packets",
            Self::OverSyns => "over_syns",
            Self::Allowed => "allowed",
            Self::ExemptProtocol => "exempt_protocol",
            Self::ExemptPort => "exempt_port",
            Self::ObservedSource => "observed_source",
            Self::ObservedPrefix => "observed_prefix",
            Self::ObservedPackets => "observed_packets",
            Self::ObservedSyns => "observed_syns",
            Self::FilterMiss => "filter_miss",
            Self::Paroled => "paroled",
            Self::Repeated => "repeated",
            Self::Established => "established",
        }
    }

    /// Whether packets with this reason were dropped.
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::DeniedSource | Self::DeniedPrefix | Self::OverPackets | Self::OverSyns)
    }

    /// Whether it is counted on top of the reason that the packet ends with.
    pub const fn is_beside(self) -> bool {
        matches!(
            self,
            Self::ObservedSource
                | Self::ObservedPrefix
                | Self::ObservedPackets
                | Self::ObservedSyns
                | Self::FilterMiss
                | Self::Paroled
                | Self::Repeated
                | Self::Established
        )
    }

    /// The reason under which the same packet is counted when nothing may be dropped.
    #[inline(always)]
    pub const fn observed(self) -> Self {
        match self {
            Self::DeniedSource => Self::ObservedSource,
            Self::DeniedPrefix => Self::ObservedPrefix,
            Self::OverPackets => Self::ObservedPackets,
            Self::OverSyns => Self::ObservedSyns,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_at_its_number_and_has_its_own_name() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(Reason::from_number(number as u32), Some(reason));
            assert_eq!(Reason::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
        assert_eq!(Reason::from_number(REASONS as u32), None);
    }

    #[test]
    fn every_drop_has_an_observed_twin_that_does_not_drop() {
        for reason in Reason::ALL.into_iter().filter(|reason| reason.is_drop()) {
            assert_ne!(reason.observed(), reason);
            assert!(!reason.observed().is_drop());
            assert!(reason.observed().is_beside() && !reason.is_beside());
        }
    }

    #[test]
    fn there_are_slots_for_all_reasons() {
        const { assert!(REASONS <= REASON_SLOTS as usize) };
    }
}
