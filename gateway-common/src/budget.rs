//! Packet budgets per source: a keyed hash and a GCRA cell, in two rows.
//!
//! A source is hashed to one cell in each of two rows. A cell is the *theoretical arrival time* of GCRA: a
//! single number, no timestamp beside it, and an old one heals by itself, so nothing is ever inserted,
//! evicted or swept. A packet is over budget only if **both** cells say so: a source that is within its
//! budget suffers only when each of its cells is shared with a source that is not. With 100 such sources
//! and 2^17 cells per row that is one in about 2 million.
//!
//! Limits: stores are not atomic, so one source spread over several CPUs may get a little more than its
//! budget, never less. A source address can be forged: a budget sheds load, it never bans.

/// Cells in one row.
pub const ROW_CELLS: u32 = 1 << 17;
/// Cells in both rows.
pub const CELLS: u32 = 2 * ROW_CELLS;

/// What is charged apart. The tag goes into the hash, so each class has its own cells.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// IPv4, all but SYN.
    Packet4 = 0,
    /// IPv4 TCP segments with SYN and without ACK.
    Syn4 = 1,
    /// IPv6, all but SYN.
    Packet6 = 2,
    /// IPv6 TCP segments with SYN and without ACK, without extension headers.
    Syn6 = 3,
}

/// One step of GCRA. Returns the new arrival time if the packet conforms, `None` if it is over budget and
/// must not be charged.
///
/// `burst_ns` is the whole depth: with `burst_ns = n * cost_ns`, `n` packets pass at one instant.
#[inline(always)]
pub const fn charge(arrival_ns: u64, now_ns: u64, cost_ns: u64, burst_ns: u64) -> Option<u64> {
    let start = if arrival_ns > now_ns { arrival_ns } else { now_ns };
    let next = start.wrapping_add(cost_ns);
    if next - now_ns > burst_ns { None } else { Some(next) }
}

/// The cells of a source: an index into each row. `source` is the IPv4 address or the IPv6 /64.
#[inline(always)]
pub const fn cells(key: [u64; 2], source: u64, class: Class) -> (u32, u32) {
    let hash = siphash13(key, source, class as u64);
    let row = ROW_CELLS - 1;
    ((hash as u32) & row, ROW_CELLS + (((hash >> 32) as u32) & row))
}

/// SipHash-1-3 of the nine bytes `word` (little-endian) and `tag`.
///
/// Keyed, because with a public hash an attacker picks sources that share both cells with a victim, and
/// spends the victim's budget. `tag` must be below 256.
#[inline(always)]
pub const fn siphash13(key: [u64; 2], word: u64, tag: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    v[3] ^= word;
    v = round(v);
    v[0] ^= word;
    let last = 9 << 56 | tag;
    v[3] ^= last;
    v = round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    v = round(round(round(v)));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
const fn round(v: [u64; 4]) -> [u64; 4] {
    let [mut v0, mut v1, mut v2, mut v3] = v;
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher;
    use std::collections::HashMap;

    #[test]
    fn the_hash_is_siphash_1_3() {
        // The standard library's default hasher is SipHash-1-3 with a zero key.
        for (word, tag) in [(0, 0), (1, 3), (0x0102_0304_0506_0708, 2), (u64::MAX, 255)] {
            let mut reference = std::hash::DefaultHasher::new();
            reference.write(&u64::to_le_bytes(word));
            reference.write(&[tag as u8]);
            assert_eq!(siphash13([0, 0], word, tag), reference.finish());
        }
    }

    #[test]
    fn the_key_moves_every_cell() {
        let same = (0..1_000)
            .filter(|&source| cells([1, 2], source, Class::Packet4) == cells([1, 3], source, Class::Packet4))
            .count();
        assert_eq!(same, 0);
    }

    #[test]
    fn cells_stay_in_their_rows_and_spread_evenly() {
        let mut seen: HashMap<u32, u32> = HashMap::new();
        for source in 0..u64::from(ROW_CELLS) {
            let (first, second) = cells([5, 9], source, Class::Packet4);
            assert!(first < ROW_CELLS);
            assert!((ROW_CELLS..CELLS).contains(&second));
            *seen.entry(first).or_default() += 1;
        }
        // One ball per bin: 1 - 1/e of the bins are hit, and the fullest holds around ten.
        assert!((0.62..0.65).contains(&(seen.len() as f64 / f64::from(ROW_CELLS))));
        assert!(*seen.values().max().unwrap() < 14);
    }

    #[test]
    fn exactly_the_burst_passes_at_one_instant() {
        let (cost, burst) = (10, 50);
        let mut arrival = 0;
        let mut passed = 0;
        for _ in 0..20 {
            if let Some(next) = charge(arrival, 1_000, cost, burst) {
                arrival = next;
                passed += 1;
            }
        }
        assert_eq!(passed, 5);
    }

    #[test]
    fn a_source_at_its_rate_never_runs_out_and_one_above_it_gets_the_rate() {
        let (cost, burst) = (10, 50);
        let mut arrival = 0;
        for now in (0..10_000).step_by(10) {
            arrival = charge(arrival, now, cost, burst).expect("a packet per cost conforms");
        }
        let mut passed = 0;
        let mut arrival = 0;
        for now in 0..10_000 {
            if let Some(next) = charge(arrival, now, cost, burst) {
                arrival = next;
                passed += 1;
            }
        }
        assert!((1_000..=1_005).contains(&passed), "{passed}");
    }

    #[test]
    fn a_refused_packet_is_not_charged_and_a_pause_refills() {
        assert_eq!(charge(1_050, 1_000, 10, 50), None);
        assert_eq!(charge(1_050, 1_010, 10, 50), Some(1_060));
        assert_eq!(charge(1_050, 9_000, 10, 50), Some(9_010));
    }
}
