//! The kernel program's own sources, unmodified, compiled for the host over a stand-in for `aya-ebpf`. Only its entry
//! points and its handler of panics are left out: those belong to the BPF target.

// aya-log is of the same cloth.
extern crate aya_ebpf as aya_log_ebpf;

pub use aya_ebpf as stand_in;

#[path = "../../../../gateway-ebpf/src/allowlist.rs"]
pub mod allowlist;
#[path = "../../../../gateway-ebpf/src/budget.rs"]
pub mod budget;
#[path = "../../../../gateway-ebpf/src/denylist.rs"]
pub mod denylist;
#[path = "../../../../gateway-ebpf/src/diagnostic.rs"]
pub mod diagnostic;
#[path = "../../../../gateway-ebpf/src/exemptions.rs"]
pub mod exemptions;
#[path = "../../../../gateway-ebpf/src/filter.rs"]
pub mod filter;
#[path = "../../../../gateway-ebpf/src/flow.rs"]
pub mod flow;
#[path = "../../../../gateway-ebpf/src/judge.rs"]
pub mod judge;
#[path = "../../../../gateway-ebpf/src/maps.rs"]
pub mod maps;
#[path = "../../../../gateway-ebpf/src/packet.rs"]
pub mod packet;
#[path = "../../../../gateway-ebpf/src/parole.rs"]
pub mod parole;
#[path = "../../../../gateway-ebpf/src/refusal.rs"]
pub mod refusal;
#[path = "../../../../gateway-ebpf/src/remembered.rs"]
pub mod remembered;
#[path = "../../../../gateway-ebpf/src/report.rs"]
pub mod report;
#[path = "../../../../gateway-ebpf/src/seen.rs"]
pub mod seen;
