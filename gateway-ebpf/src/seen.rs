//! Whether a SYN over budget was refused before, as that of a real client is: TCP sends it again after one and
//! after three seconds, and a forger would have to send each of his twice, in time.

use aya_ebpf::bindings::xdp_md;
use gateway_common::{
    budget::Class,
    seen::{GENERATION_NS, GENERATIONS_BACK, Place},
    verdict::Reason,
};

use crate::{
    budget,
    maps::{SEEN, SETTINGS},
    packet::{self, Header, Transport},
};

const TCP_SEQUENCE: usize = 4;

/// Notes a SYN that is over the budget of `reason`, and tells whether it may pass (1) or not (0): it was seen in
/// one of the generations before this one, and what passes for that is within a budget as large as the one that
/// it is over.
#[inline(never)]
pub fn again(raw: *mut xdp_md, header: u64, transport: u64, reason: u32) -> u64 {
    let context = packet::opaque(raw);
    let (header, transport) = (Header(header), Transport::unpack(transport));
    let Some(settings) = SETTINGS.get(0) else { return 0 };
    let Some(ports) = packet::read::<u32>(&context, transport.start) else { return 0 };
    let Some(sequence) = packet::read::<u32>(&context, transport.start + TCP_SEQUENCE) else { return 0 };
    let (source, destination, packets, syns) = if header.is_v6() {
        let Some([source, destination]) = packet::networks6(&context, header) else { return 0 };
        (source, destination, Class::Packet6, Class::Syn6)
    } else {
        let Some([source, destination]) = packet::addresses4(&context, header) else { return 0 };
        (u32::from_be(source) as u64, destination as u64, Class::Packet4, Class::Syn4)
    };
    let now_ns = budget::now_ns(settings);
    let generation = now_ns / GENERATION_NS;
    let place = Place::new(settings.classes[Class::Flow as usize].key, source, destination, ports, sequence);
    let mut seen = false;
    for back in 1..=GENERATIONS_BACK {
        let before = generation.wrapping_sub(back);
        if let Some(word) = SEEN.get(place.index(before)) {
            seen |= place.is_in(*word, before);
        }
    }
    if let Some(word) = SEEN.get_ptr_mut(place.index(generation)) {
        // SAFETY: the pointer is into the map's value. Reads and writes of eight aligned bytes do not tear; that
        // another CPU's SYN can be lost is accepted: it is refused once more.
        unsafe { word.write_volatile(place.noted(word.read_volatile(), generation)) };
    }
    let class = if reason == Reason::OverSyns as u32 { syns } else { packets };
    // The complement is no source: it stands for what this one has on top.
    (seen && budget::conforms(&settings.classes[class as usize], !source, now_ns)) as u64
}
