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
mod judge;
mod maps;
mod packet;
mod parole;
mod refusal;
mod remembered;
mod report;
mod seen;

use aya_ebpf::{helpers::generated::bpf_jiffies64, macros::xdp, programs::XdpContext};

/// The program that is attached. Returns an XDP action.
#[xdp]
pub fn portcullis(context: XdpContext) -> u32 {
    judge::packet(&context)
}

/// Tells what the filter and the denylist hold for the source of a packet: the number of a
/// [`Reason`](gateway_common::verdict::Reason), which is `Clean` for a source that is not listed. Never attached:
/// userspace runs it with `BPF_PROG_TEST_RUN` to check that its entries are enforced. Counts nothing, charges nothing.
#[xdp]
pub fn probe(context: XdpContext) -> u32 {
    judge::listed(&context)
}

/// Tells the tick of this kernel (`jiffies64`), the lower half of it. Never attached: userspace runs it to say
/// until which tick something holds.
#[xdp]
pub fn ticks(_: XdpContext) -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_jiffies64() as u32 }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
