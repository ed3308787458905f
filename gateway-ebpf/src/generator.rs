//! A packet generator for the bench: gives each frame another source, then calls the program under test.
//!
//! `BPF_PROG_TEST_RUN` repeats one frame, so every lookup hits the first-level cache. `generate` writes the
//! source address of a pool into the frame, walking the pool in a scattered order, and jumps to the program
//! in `SUBJECT`. `floor` is the least that a program can do. Loaded by the bench, never attached.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP},
    btf_maps::{Array, ProgramArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use gateway_common::bench::{Plan, scatter};

/// The pool, and where in it the next packet is.
#[btf_map]
static PLAN: Array<Plan, 1> = Array::new();

/// The program under test, in slot 0.
#[btf_map]
static SUBJECT: ProgramArray<1> = ProgramArray::new();

const ETHERNET_BYTES: usize = 14;
const IPV4_SOURCE: usize = ETHERNET_BYTES + 12;
const IPV6_SOURCE: usize = ETHERNET_BYTES + 8;

/// Drops at once.
#[xdp]
pub fn floor(_: XdpContext) -> u32 {
    XDP_DROP
}

/// Writes the next source and jumps. Returns `XDP_ABORTED` if there is nothing to jump to.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let Some(plan) = PLAN.get_ptr_mut(0) else { return XDP_ABORTED };
    let data = context.data();
    if data + IPV4_SOURCE + 8 > context.data_end() {
        return XDP_ABORTED;
    }
    // SAFETY: one thread runs the bench, so nobody else writes the plan; the frame was checked to reach
    // eight bytes beyond the start of either source address.
    unsafe {
        let source = scatter((*plan).first.wrapping_add((*plan).next & (*plan).mask));
        (*plan).next = (*plan).next.wrapping_add(1);
        if (*plan).is_v6 == 0 {
            ((data + IPV4_SOURCE) as *mut u32).write_unaligned(source.to_be());
        } else {
            // 2001:db8:, then 32 bits that make up the rest of the /64.
            ((data + IPV6_SOURCE + 4) as *mut u32).write_unaligned(source.to_be());
        }
        SUBJECT.tail_call(&context, 0);
    }
    XDP_ABORTED
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
