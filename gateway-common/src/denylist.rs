//! Entries of the denylist: a lease that the kernel checks itself.
//!
//! Exact sources (IPv4 /32, IPv6 /64) are in a hash map; every other prefix is in a longest-prefix trie
//! that is only read after a hit in the membership filter.
//!
//! An exact entry may carry a *parole*: from some instant on, one connection per interval is let through, so
//! that whoever has stopped can show it. The program writes that down in the entry itself, with plain stores:
//! several CPUs may admit one SYN each in an interval, no more.

use crate::kernel_pod;

kernel_pod! {
    /// What the kernel knows about a denied source.
    pub struct DenyValue (size = 40, align = 8) {
        /// End of the lease on `CLOCK_MONOTONIC`, in nanoseconds. [`FOREVER`] never ends.
        pub until_ns: u64,
        /// The instant on the same clock from which the next SYN is admitted; 0 without parole. The program
        /// moves it on. Of exact entries only: [`DenyValue::admitted`] is one flow of one host.
        pub parole_ns: u64,
        /// The [`flow`] admitted last, 0 for none. Written by the program.
        pub admitted: u64,
        /// The ban or list that this entry belongs to. 0: not told.
        pub ban_id: u32,
        /// Its counters: a slot below [`BAN_SLOTS`](crate::counters::BAN_SLOTS), 0 if it has none.
        pub slot: u32,
        /// [`FLAG_OBSERVE`], [`FLAG_LIST`], [`FLAG_APART`] and, in bits 8 to 15, the length of the prefix (see
        /// [`DenyValue::prefix_bits`]).
        pub flags: u32,
        /// Interval of the parole in milliseconds.
        pub parole_every_ms: u32,
    }
}

/// Value of [`DenyValue::until_ns`] for an entry without an end.
pub const FOREVER: u64 = 0;
/// The entry counts what it would have dropped and drops nothing.
pub const FLAG_OBSERVE: u32 = 1;
/// The entry comes from a list, not from a ban.
pub const FLAG_LIST: u32 = 1 << 1;
/// No allowed prefix overlaps the entry, so the allowlist need not be asked. Without the flag it is asked.
pub const FLAG_APART: u32 = 1 << 2;
const PREFIX_SHIFT: u32 = 8;
const MILLISECOND_NS: u64 = 1_000_000;

/// What an entry's parole says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is refused.
    No,
    /// It belongs to the connection that was admitted last.
    Flow,
    /// It opens the connection that is admitted now; the next one may come at this instant.
    Syn {
        /// `CLOCK_MONOTONIC` in nanoseconds.
        next_ns: u64,
    },
}

impl DenyValue {
    /// A value for a prefix of `prefix_bits` bits, without parole, slot or flags.
    pub const fn new(until_ns: u64, ban_id: u32, prefix_bits: u8) -> Self {
        let flags = (prefix_bits as u32) << PREFIX_SHIFT;
        Self { until_ns, parole_ns: 0, admitted: 0, ban_id, slot: 0, flags, parole_every_ms: 0 }
    }

    /// With a flag set or cleared.
    pub const fn with(mut self, flag: u32, set: bool) -> Self {
        if set {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
        self
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

    /// Whether it comes from a list.
    #[inline(always)]
    pub const fn is_of_list(&self) -> bool {
        self.flags & FLAG_LIST != 0
    }

    /// Whether no allowed prefix overlaps it.
    #[inline(always)]
    pub const fn is_apart(&self) -> bool {
        self.flags & FLAG_APART != 0
    }

    /// Length of the prefix that this value belongs to. A trie lookup does not tell which length matched,
    /// and the kernel needs it to look behind an expired or observed entry for a shorter prefix.
    #[inline(always)]
    pub const fn prefix_bits(&self) -> u32 {
        (self.flags >> PREFIX_SHIFT) & 0xff
    }

    /// Whether the parole can admit anything yet: it has begun. Else nothing but the clock need be asked.
    #[inline(always)]
    pub const fn may_admit(&self, now_ns: u64) -> bool {
        self.parole_ns != 0 && (self.admitted != 0 || now_ns >= self.parole_ns)
    }

    /// The last instant at which an entry that is live and whose parole has not begun is sure to be so, on
    /// `CLOCK_MONOTONIC` in nanoseconds.
    #[inline(always)]
    pub const fn certain_through_ns(&self) -> u64 {
        // Both are 0 for "never", which is the latest of all.
        let (end, parole) = (self.until_ns.wrapping_sub(1), self.parole_ns.wrapping_sub(1));
        if end < parole { end } else { parole }
    }

    /// Whether a TCP segment of this source is let through on parole.
    #[inline(always)]
    pub const fn admission(&self, now_ns: u64, flow: u64, is_syn: bool) -> Admission {
        if self.parole_ns == 0 {
            Admission::No
        } else if now_ns < self.parole_ns {
            if flow == self.admitted { Admission::Flow } else { Admission::No }
        } else if is_syn {
            let every_ns = self.parole_every_ms as u64 * MILLISECOND_NS;
            Admission::Syn { next_ns: now_ns.saturating_add(every_ns) }
        } else {
            Admission::No
        }
    }
}

/// A TCP connection of a known source, by its ports and a keyed hash of the rest of its addresses; never 0. Whoever
/// has a whole /64 does not know which of its hosts would pass for the one that was admitted.
#[inline(always)]
pub const fn flow(source_port: u16, destination_port: u16, rest: u64) -> u64 {
    rest & !0x1_ffff_ffff | 1 << 32 | (source_port as u64) << 16 | destination_port as u64
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
        let lease = DenyValue::new(1_000, 7, 32);
        assert!(lease.is_live(999));
        assert!(!lease.is_live(1_000));
        assert!(DenyValue::new(FOREVER, 7, 32).is_live(u64::MAX));
    }

    #[test]
    fn what_is_certain_ends_with_the_lease_or_the_beginning_of_the_parole() {
        let through = |until_ns, parole_ns| {
            DenyValue { parole_ns, ..DenyValue::new(until_ns, 7, 32) }.certain_through_ns()
        };
        assert_eq!(through(FOREVER, 0), u64::MAX);
        assert_eq!(through(FOREVER, 30), 29);
        assert_eq!(through(40, 0), 39);
        assert_eq!(through(40, 30), 29);
        assert_eq!(through(20, 30), 19);
    }

    #[test]
    fn flags_do_not_touch_each_other_nor_the_prefix_length() {
        let flags = [FLAG_OBSERVE, FLAG_LIST, FLAG_APART];
        let tell = |value: DenyValue| [value.is_observed(), value.is_of_list(), value.is_apart()];
        for (number, flag) in flags.into_iter().enumerate() {
            for bits in [0, 17, 128] {
                let value = DenyValue::new(FOREVER, 7, bits).with(flag, true);
                assert_eq!(tell(value), [0, 1, 2].map(|other| other == number));
                assert_eq!(value.prefix_bits(), u32::from(bits));
                assert_eq!(value.with(flag, false), DenyValue::new(FOREVER, 7, bits));
            }
        }
    }

    #[test]
    fn parole_admits_one_connection_per_interval() {
        let (ours, other) = (flow(40_000, 443, 0), flow(40_001, 443, 0));
        let mut value = DenyValue { parole_ns: 1_000, parole_every_ms: 2, ..DenyValue::new(FOREVER, 7, 32) };
        // Before it begins nobody is admitted, not even what looks like "none".
        assert_eq!(value.admission(999, ours, true), Admission::No);
        assert_eq!(value.admission(1_000, ours, false), Admission::No);
        assert_eq!([999, 1_000].map(|now_ns| value.may_admit(now_ns)), [false, true]);
        let next_ns = 2_001_500;
        assert_eq!(value.admission(1_500, ours, true), Admission::Syn { next_ns });

        (value.parole_ns, value.admitted) = (next_ns, ours);
        assert!(value.may_admit(next_ns - 1), "the flow");
        assert_eq!(value.admission(next_ns - 1, ours, false), Admission::Flow);
        assert_eq!(value.admission(next_ns - 1, ours, true), Admission::Flow, "the SYN once more");
        assert_eq!(value.admission(next_ns - 1, other, true), Admission::No);
        assert_eq!(value.admission(next_ns - 1, other, false), Admission::No);
        assert_eq!(value.admission(next_ns, ours, false), Admission::No, "the interval is over");
        assert_eq!(value.admission(next_ns, other, true), Admission::Syn { next_ns: next_ns + 2_000_000 });
    }

    #[test]
    fn without_parole_nothing_is_admitted() {
        let value = DenyValue { parole_every_ms: 2, ..DenyValue::new(FOREVER, 7, 32) };
        for is_syn in [false, true] {
            assert_eq!(value.admission(5, flow(1, 2, 0), is_syn), Admission::No);
            assert_eq!(value.admission(5, 0, is_syn), Admission::No);
        }
        assert!(!value.may_admit(u64::MAX));
    }

    #[test]
    fn a_flow_is_never_none_and_tells_both_ports() {
        assert_ne!(flow(0, 0, 0), 0);
        assert_ne!(flow(1, 2, 0), flow(2, 1, 0));
        assert_ne!(flow(1, 2, 1 << 33), flow(1, 2, 1 << 34));
        assert_eq!(flow(1, 2, 7), flow(1, 2, 0), "the low half is the ports'");
    }
}
