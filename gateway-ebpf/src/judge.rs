//! What becomes of a packet: the steps in their order. `main` is what the loader needs around it.

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS, helpers::generated::bpf_ktime_get_coarse_ns, programs::XdpContext,
};
use gateway_common::{filter::Probe, settings::Settings, source::is_link_local6, verdict::Reason};

use crate::{
    budget,
    denylist::{self, Finding},
    filter, maps,
    packet::{self, Header, Parsed},
    refusal::{self, Outcome},
    remembered, report,
};

/// Judges a packet. Returns an XDP action.
#[inline(always)]
pub fn packet(context: &XdpContext) -> u32 {
    let Some(settings) = maps::SETTINGS.get(0) else { return XDP_PASS };
    match packet::parse(context) {
        Parsed::V4(header, source) => source_of_packet(
            context,
            settings,
            header,
            Probe::v4(source),
            source.into(),
            #[inline(always)]
            |now_ns, place| denylist::find4(source.to_be(), now_ns, place),
        ),
        // The unspecified source is that of duplicate address detection.
        Parsed::V6(_, network) if network == 0 || is_link_local6(network) => {
            report::passed(context, Reason::LinkLocal)
        }
        Parsed::V6(header, network) => source_of_packet(
            context,
            settings,
            header,
            Probe::v6(network),
            network,
            #[inline(always)]
            |now_ns, place| denylist::find6(context.ctx, header.0, now_ns, place),
        ),
        Parsed::NotIp => report::passed(context, Reason::NotIp),
        Parsed::Truncated => report::passed(context, Reason::Truncated),
    }
}

/// Listed? Over budget? Else clean. `source` is the IPv4 address or the IPv6 /64.
#[inline(always)]
fn source_of_packet(
    context: &XdpContext,
    settings: &Settings,
    header: Header,
    probe: Probe,
    source: u64,
    find: impl Fn(u64, u32) -> u64,
) -> u32 {
    if filter::may_be_listed(settings, &probe) {
        let now_ns = monotonic_ns();
        let finding = find(now_ns, remembered::place(&probe));
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

/// What the filter and the denylist hold for the source of a packet, as the number of a [`Reason`].
#[inline(always)]
pub fn listed(context: &XdpContext) -> u32 {
    let Some(settings) = maps::SETTINGS.get(0) else { return Reason::Clean as u32 };
    let finding = match packet::parse(context) {
        Parsed::V4(_, source) if filter::may_be_listed(settings, &Probe::v4(source)) => {
            denylist::find4(source.to_be(), monotonic_ns(), remembered::NOWHERE)
        }
        Parsed::V6(header, network) if filter::may_be_listed(settings, &Probe::v6(network)) => {
            denylist::find6(context.ctx, header.0, monotonic_ns(), remembered::NOWHERE)
        }
        _ => return Reason::Clean as u32,
    };
    Finding::reason(finding)
}

/// The clock of the leases, as coarse as the kernel's tick. A call, so it is read only after a filter hit.
#[inline(always)]
fn monotonic_ns() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_ktime_get_coarse_ns() }
}
