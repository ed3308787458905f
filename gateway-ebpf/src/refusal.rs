//! The last word before a drop: allowlist, exemptions, observation. Rare, so it is a function of its own
//! that does not weigh on the fast path.

use aya_ebpf::bindings::{
    xdp_action::{XDP_DROP, XDP_PASS},
    xdp_md,
};
use gateway_common::{settings::MODE_ENFORCE, verdict::Reason};

use crate::{
    allowlist,
    denylist::Finding,
    diagnostic, exemptions,
    maps::SETTINGS,
    packet::{self, Header, Transport},
    report,
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
    let header = Header(header);
    let Some(settings) = SETTINGS.get(0) else { return Outcome::PASS };
    if !Finding::is_apart(finding) && allowlist::holds(&context, header) {
        report::counted(&context, Reason::Allowed);
        return Outcome::PASS;
    }
    let mut is_syn = false;
    if let Some(transport) = Transport::of(&context, header) {
        if let Some(reason) = exemptions::of(&context, settings, header, transport) {
            report::counted(&context, reason);
            return Outcome::PASS;
        }
        is_syn = transport.is_syn(&context);
    }
    let found = Finding::reason(finding);
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
