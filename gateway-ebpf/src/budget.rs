//! Charging a packet to the budget of its source.

use aya_ebpf::{helpers::generated::bpf_jiffies64, programs::XdpContext};
use gateway_common::{
    budget::{self, Class, ClassBudget, GROUPS},
    settings::Settings,
    verdict::Reason,
};

use crate::{
    maps::BUDGET,
    packet::{self, Header},
};

/// Charges the packet. Returns the reason if the source is over its budget.
///
/// A SYN is charged to the SYN budget if there is one and it is armed, and else as any other packet.
///
/// The clock is the tick counter, which the verifier replaces by one load where every other clock is a
/// call. It stands still between two ticks; the least burst makes up for that.
#[inline(always)]
pub fn exceeded(context: &XdpContext, settings: &Settings, header: Header, source: u64) -> Option<Reason> {
    let ticks = ticks();
    let now_ns = ticks * u64::from(settings.tick_ns);
    let (packets, syns) =
        if header.is_v6() { (Class::Packet6, Class::Syn6) } else { (Class::Packet4, Class::Syn4) };
    let syns = &settings.classes[syns as usize];
    if syns.cost != 0 && ticks >= settings.calm_until_ticks && packet::is_syn(context, settings, header) {
        return if conforms(syns, source, now_ns) { None } else { Some(Reason::OverSyns) };
    }
    let packets = &settings.classes[packets as usize];
    if packets.cost != 0 && !conforms(packets, source, now_ns) {
        return Some(Reason::OverPackets);
    }
    None
}

/// The clock of the budgets, in nanoseconds.
#[inline(always)]
pub fn now_ns(settings: &Settings) -> u64 {
    ticks() * u64::from(settings.tick_ns)
}

#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_jiffies64() }
}

/// Charges the source. It conforms if any of its cells admits it.
#[inline(always)]
pub fn conforms(class: &ClassBudget, source: u64, now_ns: u64) -> bool {
    let (line, picks) = budget::place(class.key, source);
    let Some(line) = BUDGET.get_ptr_mut(class.first_line.wrapping_add(line)) else { return true };
    let now = (now_ns >> (class.shift & 63)) as u32;
    let mut admitted = false;
    for group in 0..GROUPS {
        // SAFETY: the pointer is into the map's value, and the index below the number of its cells. Reads and
        // writes of four aligned bytes do not tear; that another CPU's update can be lost is accepted (see
        // `gateway_common::budget`).
        unsafe {
            let cell = (*line).cells.as_mut_ptr().add(budget::cell(picks, group));
            if let Some(next) = budget::charge(cell.read_volatile(), now, class.cost, class.burst) {
                cell.write_volatile(next);
                admitted = true;
            }
        }
    }
    admitted
}
