//! Charging a packet to the budget of its source.

use aya_ebpf::{helpers::generated::bpf_jiffies64, programs::XdpContext};
use gateway_common::{
    budget::{self, Class},
    settings::Settings,
    verdict::Reason,
};

use crate::{
    maps::BUDGET,
    packet::{self, Header},
};

/// Charges the packet. Returns the reason if the source is over its budget.
///
/// A SYN is charged to the SYN budget if there is one, and else as any other packet.
#[inline(always)]
pub fn exceeded(context: &XdpContext, settings: &Settings, header: Header, source: u64) -> Option<Reason> {
    if settings.syn_cost_ns != 0 && packet::is_syn(context, header) {
        let class = if header.is_v6() { Class::Syn6 } else { Class::Syn4 };
        let cells = budget::cells(settings.hash_key, source, class);
        return charge(settings, cells, settings.syn_cost_ns, settings.syn_burst_ns, Reason::OverSyns);
    }
    if settings.packet_cost_ns != 0 {
        let class = if header.is_v6() { Class::Packet6 } else { Class::Packet4 };
        let cells = budget::cells(settings.hash_key, source, class);
        return charge(
            settings,
            cells,
            settings.packet_cost_ns,
            settings.packet_burst_ns,
            Reason::OverPackets,
        );
    }
    None
}

/// Charges both cells. The packet is over budget only if neither of them admits it.
///
/// The clock is the tick counter, which the verifier replaces by one load where every other clock is a
/// call. It stands still between two ticks; the least burst makes up for that.
#[inline(always)]
fn charge(
    settings: &Settings,
    (first, second): (u32, u32),
    cost_ns: u64,
    burst_ns: u64,
    reason: Reason,
) -> Option<Reason> {
    // SAFETY: the helper has no precondition.
    let now_ns = unsafe { bpf_jiffies64() } * u64::from(settings.tick_ns);
    let admitted =
        charge_cell(first, now_ns, cost_ns, burst_ns) | charge_cell(second, now_ns, cost_ns, burst_ns);
    if admitted { None } else { Some(reason) }
}

#[inline(always)]
fn charge_cell(index: u32, now_ns: u64, cost_ns: u64, burst_ns: u64) -> bool {
    let Some(cell) = BUDGET.get_ptr_mut(index) else { return true };
    // SAFETY: the pointer is into the map's value. Reads and writes of eight aligned bytes do not tear;
    // that another CPU's update can be lost is accepted (see `gateway_common::budget`).
    unsafe {
        match budget::charge(cell.read_volatile(), now_ns, cost_ns, burst_ns) {
            Some(next) => {
                cell.write_volatile(next);
                true
            }
            None => false,
        }
    }
}
