//! What the packet bench and its generator agree on. Not part of the product.

use crate::kernel_pod;

kernel_pod! {
    /// The pool of sources that the generator walks through.
    pub struct Plan (size = 16, align = 4) {
        /// Number of the first source.
        pub first: u32,
        /// Size of the pool minus one; the size is a power of two.
        pub mask: u32,
        /// Position, counted up by the generator.
        pub next: u32,
        /// 1 for IPv6 frames.
        pub is_v6: u32,
    }
}

/// The address of a number: a bijection, so that the sources of a pool are distinct and scattered.
#[inline(always)]
pub const fn scatter(number: u32) -> u32 {
    let mut h = number;
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}
