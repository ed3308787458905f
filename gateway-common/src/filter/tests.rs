//! The one property that matters (no false negative), and the rate of false positives.

use super::*;
use std::collections::HashSet;

const LINES: usize = 32;

/// The filter as userspace would build it, without reference counts.
struct Model {
    wide: HashSet<u32>,
    lines: [Line; LINES],
}

impl Model {
    fn holding(all: impl IntoIterator<Item = Marks>) -> Self {
        let mut model = Self { wide: HashSet::new(), lines: [Line::default(); LINES] };
        for marks in all {
            match marks {
                Marks::Line(line, pattern) => pattern.set(&mut model.lines[line as usize % LINES]),
                Marks::Wide(range) => model.wide.extend(range),
                Marks::Hashed(range) => model.wide.extend(range.map(wide6)),
            }
        }
        model
    }

    fn may_hold(&self, probe: Probe) -> bool {
        self.wide.contains(&probe.wide) || probe.may_be_in(&self.lines[probe.line as usize % LINES])
    }
}

/// A bijection, so that the addresses under test are spread and distinct.
fn scatter(number: u32) -> u32 {
    mix64(u64::from(number)) as u32
}

#[test]
fn every_address_of_an_ipv4_prefix_is_found() {
    for bits in 0..=32_u8 {
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        for seed in 0..20 {
            let prefix = scatter(seed) & mask;
            let model = Model::holding([marks4(prefix, bits)]);
            for inside in 0..50 {
                let address = prefix | (scatter(1_000 + inside) & !mask);
                assert!(model.may_hold(Probe::v4(address)), "{address:#x} in {prefix:#x}/{bits}");
            }
            assert!(model.may_hold(Probe::v4(prefix)));
            assert!(model.may_hold(Probe::v4(prefix | !mask)));
        }
    }
}

#[test]
fn every_address_of_an_ipv6_prefix_is_found() {
    for bits in 0..=128_u8 {
        let mask = if bits == 0 { 0 } else { u64::MAX << (64 - bits.min(64)) };
        for seed in 0..8 {
            let prefix = mix64(seed) & mask;
            let model = Model::holding([marks6(prefix, bits)]);
            for inside in 0..20 {
                let network = prefix | (mix64(1_000 + inside) & !mask);
                assert!(model.may_hold(Probe::v6(network)), "{network:#x} in {prefix:#x}/{bits}");
            }
            assert!(model.may_hold(Probe::v6(prefix | !mask)));
        }
    }
}

#[test]
fn an_empty_filter_holds_nothing() {
    let model = Model::holding([]);
    for number in 0..1_000 {
        assert!(!model.may_hold(Probe::v4(scatter(number))));
        assert!(!model.may_hold(Probe::v6(mix64(number.into()))));
    }
}

#[test]
fn a_full_line_answers_wrongly_for_about_one_clean_source_in_a_hundred() {
    let listed = ENTRIES_PER_LINE * LINES as u32;
    let model = Model::holding((0..listed).map(|number| marks4(scatter(number), 32)));
    let clean = 100_000;
    let wrong = (listed..listed + clean).filter(|&number| model.may_hold(Probe::v4(scatter(number)))).count();
    assert!(wrong < clean as usize / 50, "{wrong} of {clean}");
}

#[test]
fn a_slash_16_touches_one_wide_bit_and_a_slash_8_touches_256() {
    assert_eq!(marks4(0x0a01_0000, 16), Marks::Wide(0x0a01..0x0a02));
    assert_eq!(marks4(0x0a01_8000, 20), Marks::Wide(0x0a01..0x0a02));
    assert_eq!(marks4(0x0a00_0000, 8), Marks::Wide(0x0a00..0x0b00));
    assert_eq!(marks4(0, 0), Marks::Wide(0..WIDE_BITS));
}

#[test]
fn families_do_not_share_wide_bits() {
    for number in 0..10_000 {
        assert!(Probe::v4(scatter(number)).wide < WIDE_BITS);
        assert!((WIDE_BITS..2 * WIDE_BITS).contains(&Probe::v6(mix64(number.into())).wide));
    }
}
