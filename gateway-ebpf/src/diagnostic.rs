//! What the program says in words: one line per ban and CPU, when the ban drops its first packet there.
//!
//! It tells an operator that a ban reaches the kernel and bites, and whom. Everything that comes more often
//! is a counter or a sampled event. The lines travel through a ring of aya-log's (128 KiB, not pinned: a
//! program that is loaded anew brings its own) and are lost when it is full, as after the gateway's death.
//!
//! Limits: a ban that observes is not told. The text is put together here, some 170 bytes of it, because
//! aya-log sends literals too; so this is a function of its own that the fast path never sees.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_get_smp_processor_id};
use aya_log_ebpf::info;

use crate::packet::{self, Header};

/// Target of the lines in userspace's log.
const TARGET: &str = "kernel";

/// Says that a ban has dropped its first packet on this CPU. The result has no meaning; a BPF-to-BPF call
/// returns a number.
#[inline(never)]
pub fn first_drop(context: *mut xdp_md, header: u64, ban_id: u32) -> u64 {
    let context = packet::opaque(context);
    let header = Header(header);
    // SAFETY: the helper has no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if header.is_v6() {
        let Some(source) = packet::source6(&context, header) else { return 0 };
        info!(&context, target: TARGET, "ban {} drops its first packet on CPU {}, from {:i}", ban_id, cpu, source);
    } else {
        let Some(source) = packet::source4(&context, header) else { return 0 };
        info!(&context, target: TARGET, "ban {} drops its first packet on CPU {}, from {:i}", ban_id, cpu, source);
    }
    0
}
