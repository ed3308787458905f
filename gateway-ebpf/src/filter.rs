//! The membership filter: two reads that tell most packets from listed ones.

use gateway_common::{filter::Probe, settings::Settings};

use crate::maps::{FILTER, WIDE};

/// Whether the denylist has to be read. Also true if a map does not answer, which cannot happen with maps
/// of the checked sizes.
#[inline(always)]
pub fn may_be_listed(settings: &Settings, probe: &Probe) -> bool {
    let (word, bit) = probe.wide_word();
    match WIDE.get(word) {
        Some(bits) if (*bits >> bit) & 1 == 0 => {}
        _ => return true,
    }
    match FILTER.get(probe.line & settings.filter_mask) {
        Some(line) => probe.may_be_in(line),
        None => true,
    }
}
