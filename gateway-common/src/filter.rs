//! The membership filter in front of the denylist: "certainly not listed" in one cache line.
//!
//! Two parts. **WIDE** is a small bitmap, one bit per IPv4 /16 and per hash of an IPv6 /32, set where a
//! prefix shorter than /24 (/48) lies. **FILTER** is an array of 64-byte lines; a line is chosen by the
//! *site* of the source (/24, /48), and in it three bits stand for the *host* (/32, /64) and three for the
//! site itself. A clean packet thus costs two reads, of which one is always in the first-level cache.
//!
//! Both sides use the functions here, so they cannot disagree. A false positive costs a lookup; a false
//! negative must not exist: an entry whose bits are not set is not enforced.

use crate::kernel_pod;

kernel_pod! {
    /// One line of the filter: 512 bits.
    pub struct Line (size = 64, align = 8) {
        /// The bits.
        pub words: [u64; 8],
    }
}

/// Bits of WIDE per address family.
pub const WIDE_BITS: u32 = 1 << 16;
/// Words of WIDE: IPv4 first, then IPv6.
pub const WIDE_WORDS: u32 = 2 * WIDE_BITS / 64;
/// Entries per line at which the filter should grow: 16 bits per entry.
pub const ENTRIES_PER_LINE: u32 = 32;

/// Three bits of a line, from 27 bits of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(pub u32);

impl Pattern {
    /// The three bits as (word, bit).
    #[inline(always)]
    pub const fn bits(self) -> [(usize, u32); 3] {
        let y = self.0;
        [
            ((y & 7) as usize, (y >> 3) & 63),
            (((y >> 9) & 7) as usize, (y >> 12) & 63),
            (((y >> 18) & 7) as usize, (y >> 21) & 63),
        ]
    }

    /// Lowest bit of the result: whether all three bits are set.
    #[inline(always)]
    const fn test(self, line: &Line) -> u64 {
        let [a, b, c] = self.bits();
        (line.words[a.0] >> a.1) & (line.words[b.0] >> b.1) & (line.words[c.0] >> c.1)
    }

    /// Sets the three bits.
    pub const fn set(self, line: &mut Line) {
        let bits = self.bits();
        line.words[bits[0].0] |= 1 << bits[0].1;
        line.words[bits[1].0] |= 1 << bits[1].1;
        line.words[bits[2].0] |= 1 << bits[2].1;
    }
}

/// Where a source is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Bit of WIDE.
    pub wide: u32,
    /// Line of FILTER, before the mask.
    pub line: u32,
    /// Pattern of the site.
    pub site: Pattern,
    /// Pattern of the host.
    pub host: Pattern,
}

impl Probe {
    /// For an IPv4 source, as a number.
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        Self::new(address >> 16, (address >> 8) as u64, address as u64)
    }

    /// For an IPv6 source, given its /64 as a number.
    #[inline(always)]
    pub const fn v6(network: u64) -> Self {
        // The top bit keeps IPv6 sites apart from IPv4 ones; a /48 leaves it free.
        Self::new(wide6((network >> 32) as u32), 1 << 63 | network >> 16, network)
    }

    #[inline(always)]
    const fn new(wide: u32, site: u64, host: u64) -> Self {
        let site = mix64(site.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let host = mix64(host.wrapping_add(0x51ed_270b_35ae_5e1d));
        Self { wide, line: (site >> 32) as u32, site: Pattern(site as u32), host: Pattern(host as u32) }
    }

    /// Word and bit of WIDE.
    #[inline(always)]
    pub const fn wide_word(&self) -> (u32, u32) {
        (self.wide / 64, self.wide % 64)
    }

    /// Whether the host or its site may be listed, by its line.
    #[inline(always)]
    pub const fn may_be_in(&self, line: &Line) -> bool {
        (self.site.test(line) | self.host.test(line)) & 1 != 0
    }
}

/// What has to be set for a prefix, so that every source in it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marks {
    /// One pattern in one line (line before the mask).
    Line(u32, Pattern),
    /// A range of bits of WIDE.
    Wide(core::ops::Range<u32>),
    /// The bits of WIDE of a range of IPv6 /32s, to be passed through [`wide6`].
    Hashed(core::ops::RangeInclusive<u32>),
}

/// Marks of an IPv4 prefix. `bits` is at most 32.
pub fn marks4(address: u32, bits: u8) -> Marks {
    let probe = Probe::v4(address);
    match bits {
        32 => Marks::Line(probe.line, probe.host),
        24..=31 => Marks::Line(probe.line, probe.site),
        _ => {
            let first =
                probe.wide >> 16_u32.saturating_sub(bits.into()) << 16_u32.saturating_sub(bits.into());
            Marks::Wide(first..first + (1 << 16_u32.saturating_sub(bits.into())))
        }
    }
}

/// Marks of an IPv6 prefix, given the /64 of its first address. `bits` is at most 128.
pub fn marks6(network: u64, bits: u8) -> Marks {
    let probe = Probe::v6(network);
    match bits {
        64..=128 => Marks::Line(probe.line, probe.host),
        48..=63 => Marks::Line(probe.line, probe.site),
        32..=47 => Marks::Wide(probe.wide..probe.wide + 1),
        // Up to 2^16 /32s are hashed one by one; beyond that their hashes cover every bit anyway.
        16..=31 => {
            let first = (network >> 32) as u32 & (u32::MAX << (32 - bits));
            Marks::Hashed(first..=first | (u32::MAX >> bits))
        }
        _ => Marks::Wide(WIDE_BITS..2 * WIDE_BITS),
    }
}

/// Bit of WIDE of an IPv6 /32, given its 32 bits.
#[inline(always)]
pub const fn wide6(network32: u32) -> u32 {
    let mut h = network32;
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    WIDE_BITS + (h & (WIDE_BITS - 1))
}

/// A bijective mixer (two rounds of xor-shift and multiplication). Not keyed: a collision costs a lookup.
#[inline(always)]
const fn mix64(mut x: u64) -> u64 {
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ x >> 32
}

#[cfg(test)]
mod tests;
