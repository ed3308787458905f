//! The maps, declared with the sizes that userspace checks, as BTF maps: their keys and values have types.
//! aya-log's ring is not here: it comes with that crate, is not pinned, and nobody checks it.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf},
    macros::btf_map,
};
use gateway_common::{
    allowlist::AllowValue,
    budget::Cells,
    counters::{BanCount, Count},
    denylist::DenyValue,
    filter::Line,
    maps::{self, Spec},
    remembered::Remembered,
    settings::Settings,
};

const fn entries(spec: &Spec) -> usize {
    spec.max_entries as usize
}

const fn flags(spec: &Spec) -> usize {
    spec.flags as usize
}

#[btf_map]
pub static SETTINGS: Array<Settings, { entries(&maps::SETTINGS) }> = Array::new();

#[btf_map]
pub static WIDE: Array<u64, { entries(&maps::WIDE) }, { flags(&maps::WIDE) }> = Array::new();

#[btf_map]
pub static FILTER: Array<Line, { entries(&maps::FILTER) }, { flags(&maps::FILTER) }> = Array::new();

#[btf_map]
pub static DENY4: HashMap<[u8; 4], DenyValue, { entries(&maps::DENY4) }, { flags(&maps::DENY4) }> =
    HashMap::new();

#[btf_map]
pub static DENY6: HashMap<[u8; 8], DenyValue, { entries(&maps::DENY6) }, { flags(&maps::DENY6) }> =
    HashMap::new();

#[btf_map]
pub static DENY_PREFIX4: LpmTrie<[u8; 8], DenyValue, { entries(&maps::DENY_PREFIX4) }> = LpmTrie::new();

#[btf_map]
pub static DENY_PREFIX6: LpmTrie<[u8; 16], DenyValue, { entries(&maps::DENY_PREFIX6) }> = LpmTrie::new();

#[btf_map]
pub static ALLOW4: LpmTrie<[u8; 8], AllowValue, { entries(&maps::ALLOW4) }> = LpmTrie::new();

#[btf_map]
pub static ALLOW6: LpmTrie<[u8; 16], AllowValue, { entries(&maps::ALLOW6) }> = LpmTrie::new();

#[btf_map]
pub static BUDGET: Array<Cells, { entries(&maps::BUDGET) }> = Array::new();

#[btf_map]
pub static SEEN: Array<u64, { entries(&maps::SEEN) }> = Array::new();

#[btf_map]
pub static REMEMBERED: Array<Remembered, { entries(&maps::REMEMBERED) }> = Array::new();

#[btf_map]
pub static CHANGES: Array<u64, { entries(&maps::CHANGES) }, { flags(&maps::CHANGES) }> = Array::new();

#[btf_map]
pub static COUNTERS: PerCpuArray<Count, { entries(&maps::COUNTERS) }> = PerCpuArray::new();

#[btf_map]
pub static BAN_COUNTERS: PerCpuArray<BanCount, { entries(&maps::BAN_COUNTERS) }> = PerCpuArray::new();

#[btf_map]
pub static EVENTS: RingBuf<(), { entries(&maps::EVENTS) }> = RingBuf::new();
