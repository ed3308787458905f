//! Parole: one connection per interval of a source that is listed.
//!
//! Asked before a drop only, and only for an exact entry that has a parole; the entry is looked up once more
//! here, so that no pointer into it travels through the other steps. What is admitted is written into the
//! entry itself by plain stores: each CPU may admit one SYN in an interval.

use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    budget::{Class, siphash13},
    denylist::{Admission, DenyValue, flow},
};

use crate::{
    denylist::{self, Finding},
    maps::{DENY4, DENY6, SETTINGS},
    packet::{self, Header, Transport},
};

/// Whether the packet belongs to the connection that is let through (1) or not (0). A wider ban, which has no
/// parole, is not lifted by it.
#[inline(never)]
pub fn step(raw: *mut xdp_md, header: u64, transport: u64, now_ns: u64) -> u64 {
    let context = packet::opaque(raw);
    let (header, transport) = (Header(header), Transport::unpack(transport));
    let Some([source_port, destination_port]) = packet::read::<[u16; 2]>(&context, transport.start) else {
        return 0;
    };
    let Some(settings) = SETTINGS.get(0) else { return 0 };
    let key = settings.classes[Class::Flow as usize].key;
    let flow = |rest| flow(u16::from_be(source_port), u16::from_be(destination_port), siphash13(key, rest));
    let is_syn = transport.is_syn(&context);
    if header.is_v6() {
        let Some([source, destination]) = packet::addresses6(&context, header) else { return 0 };
        let flow = flow((wide(source[2], source[3])) ^ wide(destination[2], destination[3]).rotate_left(32));
        let ([a, b, c, d], [e, f, g, h]) = (source[0].to_ne_bytes(), source[1].to_ne_bytes());
        let Some(value) = DENY6.get_ptr_mut([a, b, c, d, e, f, g, h]) else { return 0 };
        if !admits(value, now_ns, flow, is_syn) {
            return 0;
        }
        !Finding::drops(denylist::prefixes6(raw, header.0, now_ns, Finding::NONE)) as u64
    } else {
        let Some([source, destination]) = packet::addresses4(&context, header) else { return 0 };
        let flow = flow(u64::from(destination));
        let Some(value) = DENY4.get_ptr_mut(source.to_ne_bytes()) else { return 0 };
        if !admits(value, now_ns, flow, is_syn) {
            return 0;
        }
        !Finding::drops(denylist::prefixes4(source, now_ns, Finding::NONE)) as u64
    }
}

#[inline(always)]
fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[inline(always)]
fn admits(value: *mut DenyValue, now_ns: u64, flow: u64, is_syn: bool) -> bool {
    // SAFETY: the pointer is to the entry's value, which the kernel keeps until the program ends. Reads and
    // writes of eight aligned bytes do not tear; that another CPU admits a SYN too is accepted.
    unsafe {
        match (*value).admission(now_ns, flow, is_syn) {
            Admission::No => false,
            Admission::Flow => true,
            Admission::Syn { next_ns } => {
                (&raw mut (*value).parole_ns).write_volatile(next_ns);
                (&raw mut (*value).admitted).write_volatile(flow);
                true
            }
        }
    }
}
