//! Lookup in the denylist, after the filter said "maybe".
//!
//! The kernel checks the lease itself: an entry whose time is over does not drop, whether or not userspace
//! is there to remove it. An entry that is over, or only observes, hides no other: the next shorter prefix
//! is tried, up to [`NESTED_PREFIXES_MAX`].

use core::ptr;

use aya_ebpf::{bindings::xdp_md, btf_maps::lpm_trie::Key};
use gateway_common::{
    counters::BAN_SLOTS,
    denylist::{DenyValue, NESTED_PREFIXES_MAX, prefix_data4},
    remembered::Remembered,
    verdict::Reason,
};

use crate::{
    maps::{DENY_PREFIX4, DENY_PREFIX6, DENY4, DENY6},
    packet::{self, Header},
    remembered,
};

/// What was found, as a number: the [`Reason`], whether the entry is apart from the allowlist, the slot of its
/// counters, and in the lower half the ban. Zero is nothing. BPF-to-BPF calls return numbers only.
pub struct Finding;

impl Finding {
    /// Nothing.
    pub const NONE: u64 = 0;
    const REASON_SHIFT: u32 = 56;
    const APART: u64 = 1 << 55;
    const PAROLE: u64 = 1 << 54;
    const SLOT_SHIFT: u32 = 32;

    /// Over budget: there is no ban behind it.
    #[inline(always)]
    pub fn of_budget(reason: Reason) -> u64 {
        (reason as u64) << Self::REASON_SHIFT
    }

    #[inline(always)]
    pub fn is_some(finding: u64) -> bool {
        finding != Self::NONE
    }

    /// Number of the reason; 0 (`Clean`) if nothing was found.
    #[inline(always)]
    pub fn reason(finding: u64) -> u32 {
        (finding >> Self::REASON_SHIFT) as u32
    }

    /// Whether the allowlist need not be asked.
    #[inline(always)]
    pub fn is_apart(finding: u64) -> bool {
        finding & Self::APART != 0
    }

    /// Slot of the counters; 0 if it has none.
    #[inline(always)]
    pub fn slot(finding: u64) -> u32 {
        (finding >> Self::SLOT_SHIFT) as u32 & (BAN_SLOTS - 1)
    }

    #[inline(always)]
    pub fn ban_id(finding: u64) -> u32 {
        finding as u32
    }

    /// An entry that drops, one that observes, or none, depending on the entry.
    #[inline(always)]
    fn of(value: &DenyValue, now_ns: u64, reason: Reason) -> u64 {
        if !value.is_live(now_ns) {
            return Self::NONE;
        }
        let reason = if value.is_observed() { reason.observed() } else { reason };
        let apart = if value.is_apart() { Self::APART } else { 0 };
        let slot = (value.slot & (BAN_SLOTS - 1)) as u64;
        (reason as u64) << Self::REASON_SHIFT | apart | slot << Self::SLOT_SHIFT | value.ban_id as u64
    }

    /// The same for an exact entry, which may have a parole.
    #[inline(always)]
    fn of_source(value: &DenyValue, now_ns: u64) -> u64 {
        let finding = Self::of(value, now_ns, Reason::DeniedSource);
        if value.may_admit(now_ns) && Self::drops(finding) { finding | Self::PAROLE } else { finding }
    }

    /// Whether the source may be let through on parole.
    #[inline(always)]
    pub fn has_parole(finding: u64) -> bool {
        finding & Self::PAROLE != 0
    }

    /// Whether no parole need be asked for as long as the entry says so.
    #[inline(always)]
    fn is_certain(finding: u64) -> bool {
        Self::drops(finding) && !Self::has_parole(finding)
    }

    /// Whether an entry was found that drops.
    #[inline(always)]
    pub fn drops(finding: u64) -> bool {
        Self::reason(finding) == Reason::DeniedSource as u32
            || Self::reason(finding) == Reason::DeniedPrefix as u32
    }
}

/// Looks an IPv4 source up, given as it is in the packet: what is remembered at `place`, else the maps. That it is
/// listed itself is remembered there.
#[inline(never)]
pub fn find4(source: u32, now_ns: u64, place: u32) -> u64 {
    let (number, changes) = (u64::from(u32::from_be(source)), remembered::changes());
    let remembered = remembered::recall(place, number, false, changes, now_ns);
    if Finding::is_some(remembered) {
        return remembered;
    }
    // SAFETY: the value is copied once; a concurrent update of it gives the old or the new lease.
    let finding = match unsafe { DENY4.get(source.to_ne_bytes()).map(|value| ptr::read_volatile(value)) } {
        Some(value) => noted(&value, number, false, changes, place, now_ns),
        None => Finding::NONE,
    };
    if Finding::drops(finding) { finding } else { prefixes4(source, now_ns, finding) }
}

/// What the entry of a source (the IPv4 address or the IPv6 /64) says, remembered at `place` if it is certain.
#[inline(always)]
fn noted(value: &DenyValue, source: u64, is_v6: bool, changes: u64, place: u32, now_ns: u64) -> u64 {
    let finding = Finding::of_source(value, now_ns);
    if Finding::is_certain(finding) {
        let through_ns = value.certain_through_ns();
        let entry = Remembered::new(source, is_v6, finding, through_ns, changes, now_ns);
        remembered::note(place, entry, now_ns);
    }
    finding
}

/// Looks for a prefix around an IPv4 source that is better than what was found.
#[inline(never)]
pub fn prefixes4(source: u32, now_ns: u64, mut finding: u64) -> u64 {
    let mut key = Key { prefix_len: 32, data: prefix_data4(source.to_ne_bytes()) };
    for _ in 0..NESTED_PREFIXES_MAX {
        let Some(value) = DENY_PREFIX4.get(&key) else { break };
        finding = better(finding, Finding::of(value, now_ns, Reason::DeniedPrefix));
        let bits = value.prefix_bits();
        if Finding::drops(finding) || bits == 0 || bits > 32 {
            break;
        }
        key.prefix_len = bits - 1;
    }
    finding
}

/// The same for the source of an IPv6 packet and its /64.
#[inline(never)]
pub fn find6(context: *mut xdp_md, header: u64, now_ns: u64, place: u32) -> u64 {
    let Some(address) = packet::source6(&packet::opaque(context), Header(header)) else {
        return Finding::NONE;
    };
    let [a, b, c, d, e, f, g, h, ..] = address;
    let (number, changes) = (u64::from_be_bytes([a, b, c, d, e, f, g, h]), remembered::changes());
    let remembered = remembered::recall(place, number, true, changes, now_ns);
    if Finding::is_some(remembered) {
        return remembered;
    }
    // SAFETY: the value is copied once; a concurrent update of it gives the old or the new lease.
    let found = unsafe { DENY6.get([a, b, c, d, e, f, g, h]).map(|value| ptr::read_volatile(value)) };
    let finding = match found {
        Some(value) => noted(&value, number, true, changes, place, now_ns),
        None => Finding::NONE,
    };
    if Finding::drops(finding) { finding } else { prefixes6(context, header, now_ns, finding) }
}

/// Looks for a prefix around the source of an IPv6 packet that is better than what was found.
#[inline(never)]
pub fn prefixes6(context: *mut xdp_md, header: u64, now_ns: u64, mut finding: u64) -> u64 {
    let Some(address) = packet::source6(&packet::opaque(context), Header(header)) else {
        return finding;
    };
    let mut key = Key { prefix_len: 128, data: address };
    for _ in 0..NESTED_PREFIXES_MAX {
        let Some(value) = DENY_PREFIX6.get(&key) else { break };
        finding = better(finding, Finding::of(value, now_ns, Reason::DeniedPrefix));
        let bits = value.prefix_bits();
        if Finding::drops(finding) || bits == 0 || bits > 128 {
            break;
        }
        key.prefix_len = bits - 1;
    }
    finding
}

/// An entry that drops beats one that observes; among equals the more specific one, found first, stays.
#[inline(always)]
fn better(found: u64, next: u64) -> u64 {
    if !Finding::is_some(found) || Finding::drops(next) { next } else { found }
}
