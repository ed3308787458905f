//! The last word before a drop: allowlist, exemptions, what speaks for the packet, observation. Rare, so it is a function of its own
//! that does not weigh on the fast path.

use aya_ebpf::bindings::{
    xdp_action::{XDP_DROP, XDP_PASS},
    xdp_md,
};
use gateway_common::{
    settings::{FEATURE_FLOWS, FEATURE_REPEATS, MODE_ENFORCE, Settings},
    verdict::Reason,
};

use crate::{
    allowlist,
    denylist::Finding,
    diagnostic, exemptions, flow,
    maps::SETTINGS,
    packet::{self, Header, Transport},
    parole, report, seen,
};

/// What [`settle`] decides: an XDP action, or [`Outcome::GO_ON`].
pub struct Outcome;

impl Outcome {
    /// The packet was only observed: go on with it as if nothing had been found.
    pub const GO_ON: u64 = u64::MAX;
    const PASS: u64 = XDP_PASS as u64;
    const DROP: u64 = XDP_DROP as u64;
}

/// Decides about a packet that was found listed or over budget.
#[inline(never)]
pub fn settle(raw: *mut xdp_md, header: u64, finding: u64, now_ns: u64) -> u64 {
    let context = packet::opaque(raw);
    let Some(settings) = SETTINGS.get(0) else { return Outcome::PASS };
    let header = Header(packet::blurred(header, settings));
    if !Finding::is_apart(finding) && allowlist::holds(&context, header) {
        report::counted(&context, Reason::Allowed);
        return Outcome::PASS;
    }
    let found = Finding::reason(finding);
    let mut is_syn = false;
    if let Some(transport) = Transport::of(&context, header) {
        let transport = Transport::unpack(packet::blurred(transport.pack(), settings));
        if let Some(reason) = exemptions::of(&context, settings, header, transport) {
            report::counted(&context, reason);
            return Outcome::PASS;
        }
        is_syn = transport.is_syn(&context);
        if let Some(reason) = grounds(raw, settings, header, transport, finding, is_syn, now_ns) {
            report::counted(&context, reason);
            return Outcome::GO_ON;
        }
    }
    let reason = if settings.mode == MODE_ENFORCE { found } else { report::observed(found) };
    let first_of_ban = report::refused(&context, settings, header, reason, finding, is_syn, now_ns);
    if !report::is_drop(reason) {
        return Outcome::GO_ON;
    }
    if first_of_ban {
        diagnostic::first_drop(raw, header.0, Finding::ban_id(finding));
    }
    Outcome::DROP
}

/// What speaks for the packet itself: its connection is on parole, or it shows that its source is not forged.
#[inline(always)]
fn grounds(
    raw: *mut xdp_md,
    settings: &Settings,
    header: Header,
    transport: Transport,
    finding: u64,
    is_syn: bool,
    now_ns: u64,
) -> Option<Reason> {
    if transport.protocol != packet::TCP {
        return None;
    }
    let (found, number) = (Finding::reason(finding), transport.pack());
    if Finding::has_parole(finding) {
        let admitted = settings.mode == MODE_ENFORCE && parole::step(raw, header.0, number, now_ns) != 0;
        return if admitted { Some(Reason::Paroled) } else { None };
    }
    if found != Reason::OverPackets as u32 && found != Reason::OverSyns as u32 {
        return None;
    }
    if is_syn {
        let again =
            settings.features & FEATURE_REPEATS != 0 && seen::again(raw, header.0, number, found) != 0;
        if again { Some(Reason::Repeated) } else { None }
    } else {
        let established =
            settings.features & FEATURE_FLOWS != 0 && flow::established(raw, header.0, number) != 0;
        if established { Some(Reason::Established) } else { None }
    }
}
