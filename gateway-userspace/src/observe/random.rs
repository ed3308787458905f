//! Random bits for ids: unique, cheap, and not meant to be secret.

use std::cell::Cell;

/// A generator of one worker: xoshiro256++ (Blackman and Vigna, 2018), seeded by the operating system, so that no two
/// workers or processes give the same ids.
pub struct Random(Cell<[u64; 4]>);

impl Random {
    /// A generator with a fresh seed.
    pub fn new() -> Random {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().expect("chunks of eight"));
        }
        // Only the state of all zeros would stay what it is.
        state[0] |= 1;
        Random(Cell::new(state))
    }

    /// 64 bits.
    pub fn bits(&self) -> u64 {
        let mut state = self.0.get();
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        self.0.set(state);
        result
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

/// A number from 0 to 1 that spreads pauses, drawn anew by the operating system.
pub fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the pauses are merely not spread.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

/// Writes `bytes` as lower-case hexadecimal digits; `text` must be twice as long.
pub fn write_hex(bytes: &[u8], text: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair.copy_from_slice(&PAIRS[usize::from(*byte)]);
    }
}

/// The two digits of each byte.
static PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generators_never_say_the_same() {
        let (one, other) = (Random::new(), Random::new());
        let mut seen: Vec<u64> = (0..1000).flat_map(|_| [one.bits(), other.bits()]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        // The reference implementation's first outputs for the state 1, 2, 3, 4.
        let random = Random(Cell::new([1, 2, 3, 4]));
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223];
        assert_eq!([random.bits(), random.bits(), random.bits()], expected);
    }
}
