//! The flood of the attack bench, and the least that can be done against it.
//!
//! `flood` is run by `BPF_PROG_TEST_RUN` with live frames (Linux 5.18): it gives each frame, a SYN, another source with
//! checksums that fit and sends it out of an interface. `floor` drops without a look at the frame. `touch` drops after
//! one: the first read of what another core has written, which nothing that decides by the source can do without.
//! Loaded by the bench; the last two are attached to the interfaces of its namespaces.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    btf_maps::Array,
    helpers::bpf_redirect,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use gateway_common::bench::{Flood, checksum};

#[btf_map]
static FLOOD: Array<Flood, 1> = Array::new();

const IPV4_CHECKSUM: usize = 14 + 10;
const IPV4_SOURCE: usize = 14 + 12;
const TCP_SOURCE_PORT: usize = 14 + 20;
const TCP_CHECKSUM: usize = 14 + 20 + 16;
/// Ethernet, IPv4 and TCP without options.
const FRAME_BYTES: usize = 14 + 20 + 20;

/// Drops at once.
#[xdp]
pub fn floor(_: XdpContext) -> u32 {
    XDP_DROP
}

/// Reads the source address, then drops.
#[xdp]
pub fn touch(context: XdpContext) -> u32 {
    let data = context.data();
    if data + FRAME_BYTES > context.data_end() {
        return XDP_PASS;
    }
    // SAFETY: the frame was checked to reach beyond the source address.
    let source = unsafe { ((data + IPV4_SOURCE) as *const u32).read_unaligned() };
    // So that the read is not for nothing: no frame of the flood comes from 0.0.0.0.
    if source == 0 { XDP_PASS } else { XDP_DROP }
}

/// Writes the next source into the frame and sends it.
#[xdp]
pub fn flood(context: XdpContext) -> u32 {
    let Some(flood) = FLOOD.get_ptr_mut(0) else { return XDP_ABORTED };
    let data = context.data();
    if data + FRAME_BYTES > context.data_end() {
        return XDP_ABORTED;
    }
    // SAFETY: one thread runs the flood, so nobody else writes the plan; the frame was checked to reach beyond all
    // that is written.
    unsafe {
        let position = (*flood).next;
        (*flood).next = position.wrapping_add(1);
        let (source, port) = (*flood).source(position);
        let address = (source >> 16) + (source & 0xffff);
        let put = |place: usize, value: u16| {
            ((data + place) as *mut u16).write_unaligned(value.to_be());
        };
        put(IPV4_CHECKSUM, checksum((*flood).ip_sum + address));
        ((data + IPV4_SOURCE) as *mut u32).write_unaligned(source.to_be());
        put(TCP_SOURCE_PORT, port);
        put(TCP_CHECKSUM, checksum((*flood).tcp_sum + address + u32::from(port)));
        bpf_redirect((*flood).interface, 0) as u32
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
