//! The hash against the standard library's, the spread of the cells, and GCRA across the end of its clock.

use super::*;
use core::hash::Hasher;
use std::collections::HashMap;

/// SipHash-1-3 of some whole words with the block of the length, made of the same rounds.
fn with_length(key: [u64; 2], words: &[u64]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for word in words.iter().copied().chain([(words.len() as u64 * 8) << 56]) {
        v[3] ^= word;
        v = round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    v = round(round(round(v)));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[test]
fn the_rounds_are_those_of_siphash_1_3() {
    // The standard library's default hasher is SipHash-1-3 with a zero key.
    for word in [0, 1, 0x0102_0304_0506_0708, u64::MAX] {
        let mut reference = std::hash::DefaultHasher::new();
        reference.write(&u64::to_le_bytes(word));
        assert_eq!(with_length([0, 0], &[word]), reference.finish());
    }
}

#[test]
fn without_the_length_a_word_is_its_only_block() {
    // A message of no word is the block of the length alone, which is zero.
    assert_eq!(siphash13([3, 4], 0), with_length([3, 4], &[]));
}

/// A key as it is drawn.
const KEY: [u64; 2] = [0x3a1f_9c07_52e4_d86b, 0x91c6_0b7d_e83f_4a25];

#[test]
fn either_half_of_the_key_moves_every_source() {
    for other in [[KEY[0] ^ 2, KEY[1]], [KEY[0], KEY[1] ^ 2]] {
        let same = (0..1_000).filter(|&source| place(KEY, source) == place(other, source)).count();
        assert_eq!(same, 0);
    }
}

#[test]
fn sources_that_differ_in_one_bit_share_no_cell_more_often_than_others() {
    let cells = |source| {
        let (line, picks) = place(KEY, source);
        (0..GROUPS).map(|group| (line, cell(picks, group))).collect::<std::vec::Vec<_>>()
    };
    let pairs = (0..64).flat_map(|bit| (0..512_u64).map(move |n| (n << 9, (n << 9) ^ 1 << bit)));
    let shared = pairs.filter(|(a, b)| a != b && cells(*a).iter().any(|cell| cells(*b).contains(cell)));
    // One of 32 768 pairs lies in one line by chance, and in two of three of those they share a cell.
    assert!(shared.count() < 8);
}

#[test]
fn sources_spread_evenly_over_lines_and_cells() {
    let mut lines: HashMap<u32, u32> = HashMap::new();
    let mut cells = [0_u32; 16];
    for source in 0..u64::from(CLASS_LINES) {
        let (line, picks) = place(KEY, source);
        assert!(line < CLASS_LINES);
        *lines.entry(line).or_default() += 1;
        for group in 0..GROUPS {
            assert_eq!(cell(picks, group) / GROUP_CELLS, group);
            cells[cell(picks, group)] += 1;
        }
    }
    // One ball per bin: 1 - 1/e of the bins are hit, and the fullest holds around ten.
    assert!((0.62..0.65).contains(&(lines.len() as f64 / f64::from(CLASS_LINES))));
    assert!(*lines.values().max().unwrap() < 14);
    assert!(cells.iter().all(|count| (7_800..8_600).contains(count)), "{cells:?}");
}

/// Instants near the start, in the middle and at the end of the clock's round.
const STARTS: [u32; 4] = [1_000, 1 << 31, u32::MAX - 20, u32::MAX];

/// A cell that was never charged, as seen at `now`.
fn empty(now: u32) -> u32 {
    now.wrapping_sub(1)
}

#[test]
fn exactly_the_burst_passes_at_one_instant() {
    let (cost, burst) = (10, 50);
    for now in STARTS {
        let mut cell = empty(now);
        let mut passed = 0;
        for _ in 0..20 {
            if let Some(next) = charge(cell, now, cost, burst) {
                cell = next;
                passed += 1;
            }
        }
        assert_eq!(passed, 5, "at {now}");
    }
}

#[test]
fn a_source_at_its_rate_never_runs_out_and_one_above_it_gets_the_rate() {
    let (cost, burst) = (10, 50);
    for start in STARTS {
        let mut cell = empty(start);
        for step in (0..10_000).step_by(10) {
            cell = charge(cell, start.wrapping_add(step), cost, burst).expect("a packet per cost conforms");
        }
        let mut passed = 0;
        let mut cell = empty(start);
        for step in 0..10_000 {
            if let Some(next) = charge(cell, start.wrapping_add(step), cost, burst) {
                cell = next;
                passed += 1;
            }
        }
        assert!((1_000..=1_005).contains(&passed), "{passed} from {start}");
    }
}

#[test]
fn a_refused_packet_is_not_charged_and_a_pause_refills() {
    for now in STARTS {
        let spent = now.wrapping_add(50);
        assert_eq!(charge(spent, now, 10, 50), None);
        assert_eq!(charge(spent, now.wrapping_add(10), 10, 50), Some(now.wrapping_add(60)));
        assert_eq!(charge(spent, now.wrapping_add(9_000), 10, 50), Some(now.wrapping_add(9_010)));
    }
}

#[test]
fn a_cell_of_another_age_or_of_other_units_is_an_empty_one() {
    for ahead in [101, 1 << 20, 1 << 30, 1 << 31, u32::MAX] {
        assert_eq!(charge(7_000_u32.wrapping_add(ahead), 7_000, 10, 50), Some(7_010), "{ahead}");
    }
    for ahead in [51, 60, 100] {
        assert_eq!(charge(7_000 + ahead, 7_000, 10, 50), None, "{ahead}: by a clock that is a tick ahead");
    }
}

#[test]
fn the_largest_burst_overflows_nothing() {
    let full = charge(0, 0, BURST_MAX, BURST_MAX);
    assert_eq!(full, Some(BURST_MAX));
    assert_eq!(charge(BURST_MAX, 0, BURST_MAX, BURST_MAX), None);
    assert_eq!(charge(BURST_MAX, BURST_MAX, 1, BURST_MAX), Some(BURST_MAX + 1));
}
