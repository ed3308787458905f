//! Telling userspace what happened: counters always, one drop in 2^k as an event.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};
use gateway_common::{event::DropEvent, settings::Settings, verdict::Reason};

use crate::{
    denylist::Finding,
    maps::{BAN_COUNTERS, COUNTERS, EVENTS},
    packet::{self, Header},
};

/// Counts a packet that passes, and passes it.
#[inline(always)]
pub fn passed(context: &XdpContext, reason: Reason) -> u32 {
    counted(context, reason);
    XDP_PASS
}

/// Counts a packet under a reason.
#[inline(always)]
pub fn counted(context: &XdpContext, reason: Reason) {
    count(reason as u32, frame_bytes(context));
}

/// Counts a packet that is dropped or observed, for its ban too, and samples it. Returns whether it was the
/// first of its ban on this CPU.
#[inline(always)]
pub fn refused(
    context: &XdpContext,
    settings: &Settings,
    header: Header,
    reason: u32,
    finding: u64,
    is_syn: bool,
    now_ns: u64,
) -> bool {
    let bytes = frame_bytes(context);
    let nth = count(reason, bytes);
    let (ban_id, slot) = (Finding::ban_id(finding), Finding::slot(finding));
    let first_of_ban = slot != 0 && count_ban(slot, bytes, is_syn, now_ns);
    if first_of_ban || nth & u64::from(settings.event_mask) == 0 {
        send(context, header, reason, ban_id, bytes, now_ns);
    }
    first_of_ban
}

/// Whether packets with the reason of this number are dropped.
#[inline(always)]
pub fn is_drop(reason: u32) -> bool {
    const { assert!(Reason::DeniedSource as u32 == 4 && Reason::OverSyns as u32 == 7) };
    matches!(reason, 4..=7)
}

/// Number of the observed twin of a reason that drops; others stay as they are.
#[inline(always)]
pub fn observed(reason: u32) -> u32 {
    const {
        assert!(Reason::ObservedSource as u32 == Reason::DeniedSource as u32 + 7);
        assert!(Reason::ObservedSyns as u32 == Reason::OverSyns as u32 + 7);
    }
    if is_drop(reason) { reason + 7 } else { reason }
}

/// Counts, and returns how many there were before on this CPU.
#[inline(always)]
fn count(reason: u32, bytes: u64) -> u64 {
    let Some(cell) = COUNTERS.get_ptr_mut(reason) else { return 1 };
    // SAFETY: the pointer is to this CPU's copy, and XDP programs do not interrupt each other on one CPU.
    unsafe {
        let before = (*cell).packets;
        (*cell).packets = before + 1;
        (*cell).bytes += bytes;
        before
    }
}

/// Counts for a ban that userspace has given a slot. Returns whether it was the first on this CPU.
#[inline(always)]
fn count_ban(slot: u32, bytes: u64, is_syn: bool, now_ns: u64) -> bool {
    let Some(cell) = BAN_COUNTERS.get_ptr_mut(slot) else { return false };
    // SAFETY: the pointer is to this CPU's copy, and XDP programs do not interrupt each other on one CPU.
    unsafe {
        let before = (*cell).packets;
        (*cell).packets = before + 1;
        (*cell).bytes += bytes;
        (*cell).syns += is_syn as u64;
        (*cell).last_ns = now_ns;
        before == 0
    }
}

#[inline(always)]
fn send(context: &XdpContext, header: Header, reason: u32, ban_id: u32, bytes: u64, at_ns: u64) {
    let source = if header.is_v6() {
        packet::source6(context, header)
    } else {
        packet::source4(context, header)
            .map(|[a, b, c, d]| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    };
    let Some(source) = source else { return };
    // A full ring loses the event, never the verdict.
    let Some(mut entry) = EVENTS.reserve_untyped::<DropEvent>(0) else { return };
    let interface = context.ingress_ifindex() as u32;
    entry.write(DropEvent { at_ns, source, ban_id, reason, bytes: bytes as u32, interface });
    entry.submit(0);
}

/// Length of the frame. The subtraction of packet pointers needs CAP_PERFMON at load time.
#[inline(always)]
fn frame_bytes(context: &XdpContext) -> u64 {
    (context.data_end() - context.data()) as u64
}
