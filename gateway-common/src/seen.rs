//! SYNs that were refused lately: a TCP client sends its SYN again after one second, a forger rarely does.
//!
//! Four generations of one second each, each of [`GENERATION_WORDS`] words. A word is a Bloom filter of 48 bits
//! with the stamp of its generation beside it: a word of an older one is empty, so nothing is ever cleared.
//! Only SYNs over their budget come here.
//!
//! Limits: a forger that sends every SYN twice in time is believed, and so is, where very many SYNs are
//! refused at once, one that was never seen. This is no proof, so what it lets through has a budget of its
//! own, as large as that for SYNs.

use crate::budget::siphash13;

/// Words of one generation.
pub const GENERATION_WORDS: u32 = 1 << 15;
/// Words of all four: 1 MiB.
pub const WORDS: u32 = 4 * GENERATION_WORDS;
/// Length of a generation.
pub const GENERATION_NS: u64 = 1_000_000_000;
/// How many generations back a SYN is looked for: TCP repeats it after one and after three seconds (RFC 6298).
pub const GENERATIONS_BACK: u64 = 2;

const STAMP_BITS: u32 = 16;
const FILTER_BITS: u32 = 64 - STAMP_BITS;

/// A SYN, as a word of a generation and bits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    word: u32,
    bits: u64,
}

impl Place {
    /// Of a SYN: its source and its destination as numbers (IPv6: the /64), both ports and the sequence number.
    #[inline(always)]
    pub const fn new(key: [u64; 2], source: u64, destination: u64, ports: u32, sequence: u32) -> Self {
        let hash = siphash13(key, source);
        let hash = siphash13(key, hash ^ destination);
        let hash = siphash13(key, hash ^ ((ports as u64) << 32 | sequence as u64));
        Self {
            word: hash as u32 & (GENERATION_WORDS - 1),
            bits: bit(hash >> 15) | bit(hash >> 31) | bit(hash >> 47),
        }
    }

    /// Index of its word in a generation.
    #[inline(always)]
    pub const fn index(self, generation: u64) -> u32 {
        (generation % 4) as u32 * GENERATION_WORDS + self.word
    }

    /// Whether a word says that it was seen in this generation.
    #[inline(always)]
    pub const fn is_in(self, word: u64, generation: u64) -> bool {
        word & STAMP == stamp(generation) && word & self.bits == self.bits
    }

    /// The word with this SYN noted in it.
    #[inline(always)]
    pub const fn noted(self, word: u64, generation: u64) -> u64 {
        let stamp = stamp(generation);
        if word & STAMP == stamp { word | self.bits } else { stamp | self.bits }
    }
}

const STAMP: u64 = (1 << STAMP_BITS) - 1;

/// Never 0, which is the stamp of a word that nobody has written.
#[inline(always)]
const fn stamp(generation: u64) -> u64 {
    1 + generation % STAMP
}

/// One of the 48 bits, from sixteen of a hash.
#[inline(always)]
const fn bit(hash: u64) -> u64 {
    1 << (STAMP_BITS as u64 + (((hash & 0xffff) * FILTER_BITS as u64) >> 16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    const KEY: [u64; 2] = [1, 2];

    fn syn(number: u32) -> Place {
        Place::new(KEY, 0xc000_0201, 0xc633_6401, 40_000 << 16 | 443, number)
    }

    /// The map, and whether a SYN was in a generation.
    struct Seen(Vec<u64>);

    impl Seen {
        fn new() -> Self {
            Self(vec![0; WORDS as usize])
        }

        fn note(&mut self, place: Place, generation: u64) {
            let word = &mut self.0[place.index(generation) as usize];
            *word = place.noted(*word, generation);
        }

        fn has(&self, place: Place, generation: u64) -> bool {
            place.is_in(self.0[place.index(generation) as usize], generation)
        }
    }

    #[test]
    fn a_syn_is_found_in_its_generation_and_in_no_other() {
        for generation in [0, 3, 65_534, 65_535, 1 << 40] {
            let mut seen = Seen::new();
            seen.note(syn(7), generation);
            assert!(seen.has(syn(7), generation));
            for other in 1..10 {
                assert!(!seen.has(syn(7), generation + other), "{generation} + {other}");
            }
            assert!(!seen.has(syn(8), generation));
        }
    }

    #[test]
    fn a_generation_takes_the_place_of_the_one_four_before() {
        let mut seen = Seen::new();
        seen.note(syn(7), 5);
        seen.note(syn(7), 9);
        assert!(seen.has(syn(7), 9) && !seen.has(syn(7), 5));
    }

    #[test]
    fn every_part_of_a_syn_counts() {
        let (source, destination, ports, sequence) = (1, 2, 3, 4);
        let place = Place::new(KEY, source, destination, ports, sequence);
        assert_ne!(place, Place::new([1, 3], source, destination, ports, sequence));
        assert_ne!(place, Place::new(KEY, 9, destination, ports, sequence));
        assert_ne!(place, Place::new(KEY, source, 9, ports, sequence));
        assert_ne!(place, Place::new(KEY, source, destination, 9, sequence));
        assert_ne!(place, Place::new(KEY, source, destination, ports, 9));
    }

    #[test]
    fn a_hundred_thousand_refused_syns_a_second_hide_nobody_and_few_pass_for_seen() {
        let mut seen = Seen::new();
        (0..100_000).for_each(|number| seen.note(syn(number), 1));
        assert!((0..100_000).all(|number| seen.has(syn(number), 1)));
        let wrong = (100_000..200_000).filter(|number| seen.has(syn(*number), 1)).count();
        // Three of 48 bits in a word that holds three SYNs on average.
        assert!(wrong < 1_500, "{wrong}");
    }
}
