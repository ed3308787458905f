//! The kernel stage: one XDP program in front of TCP.
//!
//! What happens to a packet, in order: parse it up to its source address; ask the membership filter, and
//! only if that says "maybe" read the denylist; charge a packet that is not listed to the budget of its
//! source. Before any drop, the allowlist and the exemptions are asked. What cannot be parsed passes: the
//! stack behind it knows better, and a filter that drops what it does not understand locks its owner out.
//!
//! Limits: at most two VLAN tags, one program per interface. Needs Linux 5.11 (coarse clock); the stated
//! floor is 5.15. Nothing is logged per packet: counters and a sampled ring tell what happened, and the first
//! drop of a ban is told in words.
#![no_std]
#![no_main]

mod allowlist;
mod budget;
mod denylist;
mod diagnostic;
mod exemptions;
mod filter;
mod flow;
mod maps;
mod packet;
mod parole;
mod refusal;
mod report;
mod seen;

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
    macros::xdp,
    programs::XdpContext,
};
use gateway_common::{filter::Probe, settings::Settings, source::is_link_local6, verdict::Reason};

use crate::{
    denylist::Finding,
    packet::{Header, Parsed},
    refusal::Outcome,
};

/// The program that is attached. Returns an XDP action.
#[xdp]
pub fn portcullis(context: XdpContext) -> u32 {
    let Some(settings) = maps::SETTINGS.get(0) else { return XDP_PASS };
    match packet::parse(&context) {
        Parsed::V4(header, source) => judge(
            &context,
            settings,
            header,
            Probe::v4(source),
            source.into(),
            #[inline(always)]
            |now_ns| denylist::find4(source.to_be(), now_ns),
        ),
        // The unspecified source is that of duplicate address detection.
        Parsed::V6(_, network) if network == 0 || is_link_local6(network) => {
            report::passed(&context, Reason::LinkLocal)
        }
        Parsed::V6(header, network) => judge(
            &context,
            settings,
            header,
            Probe::v6(network),
            network,
            #[inline(always)]
            |now_ns| denylist::find6(context.ctx, header.0, now_ns),
        ),
        Parsed::NotIp => report::passed(&context, Reason::NotIp),
        Parsed::Truncated => report::passed(&context, Reason::Truncated),
    }
}

/// Listed? Over budget? Else clean. `source` is the IPv4 address or the IPv6 /64.
#[inline(always)]
fn judge(
    context: &XdpContext,
    settings: &Settings,
    header: Header,
    probe: Probe,
    source: u64,
    find: impl Fn(u64) -> u64,
) -> u32 {
    if filter::may_be_listed(settings, &probe) {
        let now_ns = monotonic_ns();
        let finding = find(now_ns);
        if Finding::is_some(finding) {
            let outcome = refusal::settle(context.ctx, header.0, finding, now_ns);
            if outcome != Outcome::GO_ON {
                return outcome as u32;
            }
        } else {
            report::counted(context, Reason::FilterMiss);
        }
    }
    if let Some(reason) = budget::exceeded(context, settings, header, source) {
        let finding = Finding::of_budget(reason);
        let outcome = refusal::settle(context.ctx, header.0, finding, monotonic_ns());
        if outcome != Outcome::GO_ON {
            return outcome as u32;
        }
    }
    report::passed(context, Reason::Clean)
}

/// Tells what the filter and the denylist hold for the source of a packet: the number of a [`Reason`],
/// which is `Clean` for a source that is not listed. Never attached: userspace runs it with
/// `BPF_PROG_TEST_RUN` to check that its entries are enforced. Counts nothing, charges nothing.
#[xdp]
pub fn probe(context: XdpContext) -> u32 {
    let Some(settings) = maps::SETTINGS.get(0) else { return Reason::Clean as u32 };
    let finding = match packet::parse(&context) {
        Parsed::V4(_, source) if filter::may_be_listed(settings, &Probe::v4(source)) => {
            denylist::find4(source.to_be(), monotonic_ns())
        }
        Parsed::V6(header, network) if filter::may_be_listed(settings, &Probe::v6(network)) => {
            denylist::find6(context.ctx, header.0, monotonic_ns())
        }
        _ => return Reason::Clean as u32,
    };
    Finding::reason(finding)
}

/// Tells the tick of this kernel (`jiffies64`), the lower half of it. Never attached: userspace runs it to say
/// until which tick something holds.
#[xdp]
pub fn ticks(_: XdpContext) -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_jiffies64() as u32 }
}

/// The clock of the leases, as coarse as the kernel's tick. A call, so it is read only after a filter hit.
#[inline(always)]
fn monotonic_ns() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_ktime_get_coarse_ns() }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
