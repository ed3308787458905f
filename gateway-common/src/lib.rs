//! The contract between the kernel program and userspace.
//!
//! Everything that both sides must agree on lives here once: map names and sizes, the layout of every
//! key and value, the hash functions of the membership filter and of the packet budget. The crate has no
//! dependency and no `std`, so that the same source compiles for `bpfel-unknown-none` and for the host.
//!
//! Limits: little-endian 64-bit hosts only (the kernel program is built for `bpfel`). A change of any
//! layout or map size or of the filter's hash raises [`ABI_VERSION`], which is part of the pin path. A map that is
//! new does not: where its pin is missing it is made.
#![no_std]

#[cfg(test)]
extern crate std;

mod pod;

pub mod allowlist;
pub mod bench;
pub mod budget;
pub mod counters;
pub mod denylist;
pub mod event;
pub mod filter;
pub mod maps;
pub mod remembered;
pub mod seen;
pub mod settings;
pub mod source;
pub mod v1;
pub mod verdict;

pub use pod::KernelPod;

/// Version of everything in this crate. Maps are pinned below `v{ABI_VERSION}`, so that two builds that
/// disagree about a layout never share a map.
pub const ABI_VERSION: u32 = 2;

#[cfg(not(target_endian = "little"))]
compile_error!("the kernel program and its maps are little-endian");
