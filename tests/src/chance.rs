//! Numbers that look like chance and are the same for the same seed (xorshift64*, after Vigna 2014).

/// A sequence of them.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of a seed, which may be any number.
    pub fn new(seed: u64) -> Chance {
        // Neighbouring seeds begin far apart, and none at 0, where the sequence would stay.
        let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Chance(if mixed == 0 { 1 } else { mixed })
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.number()) * end as u128) >> 64) as usize
    }

    /// Whether the one case of `cases` has come.
    pub fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }

    /// One of several; `all` must not be empty.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_and_another_gives_another() {
        let sequence = |seed| {
            let mut chance = Chance::new(seed);
            [0; 8].map(|_| chance.number())
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        assert_ne!(sequence(0x9e37_79b9_7f4a_7c15), [0; 8]);
    }

    #[test]
    fn every_number_below_the_end_comes_and_none_beyond() {
        let mut chance = Chance::new(1);
        let mut seen = [0; 5];
        (0..500).for_each(|_| seen[chance.below(5)] += 1);
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }
}
