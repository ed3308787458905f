//! What the benches of packets and of attacks and their generators agree on. Not part of the product.

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

kernel_pod! {
    /// What the flood of the attack bench sends.
    pub struct Flood (size = 20, align = 4) {
        /// Index of the interface that the frames leave by.
        pub interface: u32,
        /// There are 2^k sources, k at most 24.
        pub sources_shift: u32,
        /// Position, counted up by the program.
        pub next: u32,
        /// Sum of the 16-bit words of the IPv4 header, the source's not among them.
        pub ip_sum: u32,
        /// The same of the TCP header and its pseudo header; the source port is not among them either.
        pub tcp_sum: u32,
    }
}

impl Flood {
    /// Source address and port of the frame at a position: each source in turn, then each with the next port.
    #[inline(always)]
    pub const fn source(&self, position: u32) -> (u32, u16) {
        let address = source_of_flood(position & ((1 << self.sources_shift) - 1));
        (address, (1024 + (position >> self.sources_shift) % 0x8000) as u16)
    }
}

/// The address of a number below 2^24: distinct ones of 10.0.0.0/8, scattered over it.
#[inline(always)]
pub const fn source_of_flood(number: u32) -> u32 {
    // An odd factor is invertible modulo 2^24.
    0x0a00_0000 | number.wrapping_mul(0x009e_3779) & 0x00ff_ffff
}

/// The internet checksum (RFC 1071) of words that add up to `sum`.
#[inline(always)]
pub const fn checksum(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_takes_each_source_in_turn_and_then_the_next_port() {
        let flood = Flood { interface: 1, sources_shift: 10, next: 0, ip_sum: 0, tcp_sum: 0 };
        let (first, port) = flood.source(5);
        assert_eq!((flood.source(5 + 1024), port), ((first, 1025), 1024));
        for position in 0..1024 {
            assert_eq!(flood.source(position).0 == first, position == 5, "{position}");
            assert_eq!(flood.source(position).0 >> 24, 10);
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_example_in_rfc_1071() {
        assert_eq!(checksum(0x0001 + 0xf203 + 0xf4f5 + 0xf6f7), !0xddf2);
    }
}
