//! Maps of the version before: what is in force moves into new ones, without a packet that slips through.
//!
//! A start that finds maps of version 1 and none of this one reads them, makes all of its own beside
//! ([`Staged`]), fills them, and puts them in their place once the links are switched to the new program. The old
//! maps are only read, so a start that dies on the way leaves them, and the next one does it again. Their pins go
//! last.
//!
//! What moves: the entries whose lease still runs, the allowlist, the counters by reason and by ban. What the old
//! program drops between the reading and the switch is counted too, by this process only: its next start does not
//! know it. Budgets begin anew, for their cells are of another kind.
//!
//! Limits: [`SLOTS_MAX`] bans keep counters of their own, those that dropped something last; the counts so far of the
//! others end with this process.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::{
    maps::{Map, MapData, PerCpuHashMap},
    util::nr_cpus,
};
use gateway_common::{
    KernelPod,
    allowlist::AllowValue,
    counters::{BAN_SLOTS, BanCount, Count},
    denylist::{DenyValue, FLAG_APART, FLAG_OBSERVE},
    maps::{self, Spec},
    v1,
    verdict::REASONS,
};
use ipnet::IpNet;

use super::{
    BanCounters, Counters, Error,
    allowlist::Ranges,
    clock, pins,
    prefix::Key,
    staged::{Staged, check_room, discard},
    syscall::{self, look_up, update, update_batch},
    walk::Walk,
    wire::Wire,
};

/// Slots that are given to bans of the version before: some are left for new ones.
const SLOTS_MAX: usize = BAN_SLOTS as usize - 1024;
/// Entries that are written in one call.
const BATCH: usize = 4096;
/// Bit of the flags of an entry of version 1: it observes.
const OLD_FLAG_OBSERVE: u32 = 1;

/// The move from the maps of version 1, under way.
pub struct Migration {
    old: PathBuf,
    staged: Staged,
    entries: Vec<(Key, v1::DenyValue)>,
    allowed: BTreeSet<IpNet>,
    counted: Counted,
}

/// Counts of the old program at one moment.
#[derive(Clone, Default)]
pub struct Counted {
    /// By reason.
    pub reasons: Counters,
    /// By ban.
    pub bans: HashMap<u32, BanCounters>,
}

impl Migration {
    /// Reads the maps of version 1, if there are some and none of this version. `None` if there is nothing to move.
    ///
    /// # Errors
    /// [`Error::PinMismatch`] if one of them is not what its name says, [`Error::Capacity`] if what is in force has
    /// no room in the new maps, [`Error::Map`] and [`Error::Pin`].
    pub fn prepare(root: &Path, specs: &[Spec]) -> Result<Option<Self>, Error> {
        let (old, directory) = (pins::old_maps(root), pins::maps(root));
        // The pin of this list is the last one that comes into its place.
        if directory.join(maps::DENY4.name).exists() || !old.join(v1::DENY4.name).exists() {
            return Ok(None);
        }
        for spec in v1::ALL {
            pins::check_layout(&old, &spec)?;
        }
        discard(&directory)?;
        for spec in maps::ALL {
            pins::remove(&directory.join(spec.name))?;
        }
        let mut this = Self {
            entries: entries(&old)?,
            allowed: allowed(&old)?,
            counted: Counted::read(&old)?,
            staged: Staged::begin(&directory, in_order())?,
            old,
        };
        let now_ns = clock::monotonic_ns();
        this.entries.retain(|(_, value)| value.until_ns == 0 || value.until_ns > now_ns);
        let count = |of: fn(&Key) -> bool| this.entries.iter().filter(|(key, _)| of(key)).count();
        let addresses = count(|key| matches!(key, Key::Source4(_)));
        check_room(specs, addresses, count(|key| matches!(key, Key::Source6(_))))?;
        Ok(Some(this))
    }

    /// Where the map of the new program is pinned until [`Migration::finish`].
    pub fn pin_of(&self, spec: &Spec) -> PathBuf {
        self.staged.pin_of(spec)
    }

    /// Entries that move.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Fills the new maps, which have been made meanwhile and which no program uses yet. Filter and settings are
    /// written by their owners.
    pub fn fill(&self) -> Result<(), Error> {
        self.fill_allowlist()?;
        let slots = self.fill_counters()?;
        let ranges = Ranges::of(&self.allowed);
        let (mut sources4, mut sources6) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let (trie4, trie6) = (self.open(maps::DENY_PREFIX4)?, self.open(maps::DENY_PREFIX6)?);
        for (key, old) in &self.entries {
            let Some(prefix) = key.prefix() else { continue };
            let slot = slots.get(&old.ban_id).copied().unwrap_or_default();
            let value = DenyValue { slot, ..DenyValue::new(old.until_ns, old.ban_id, prefix.prefix_len()) }
                .with(FLAG_OBSERVE, old.flags & OLD_FLAG_OBSERVE != 0)
                .with(FLAG_APART, !ranges.overlap(prefix));
            match key {
                Key::Source4(address) => {
                    sources4.0.push(*address);
                    sources4.1.push(value);
                }
                Key::Source6(network) => {
                    sources6.0.push(*network);
                    sources6.1.push(value);
                }
                Key::Prefix4(..) => write(&trie4, maps::DENY_PREFIX4, &key.trie4(), &[value])?,
                Key::Prefix6(..) => write(&trie6, maps::DENY_PREFIX6, &key.trie6(), &[value])?,
            }
        }
        self.write_batches(maps::DENY4, &sources4)?;
        self.write_batches(maps::DENY6, &sources6)
    }

    fn fill_allowlist(&self) -> Result<(), Error> {
        let (allow4, allow6) = (self.open(maps::ALLOW4)?, self.open(maps::ALLOW6)?);
        let value = [AllowValue::default()];
        for prefix in &self.allowed {
            let key = Key::of_trie(*prefix);
            match prefix {
                IpNet::V4(_) => write(&allow4, maps::ALLOW4, &key.trie4(), &value)?,
                IpNet::V6(_) => write(&allow6, maps::ALLOW6, &key.trie6(), &value)?,
            }
        }
        Ok(())
    }

    /// Writes the counts so far, as if one CPU had counted them all. Returns the slots of the bans.
    fn fill_counters(&self) -> Result<HashMap<u32, u32>, Error> {
        let cpus = cpus(maps::COUNTERS)?;
        let counters = self.open(maps::COUNTERS)?;
        for (reason, tally) in self.counted.reasons.iter() {
            let mut counts = vec![Count::default(); cpus];
            counts[0] = Count { packets: tally.packets, bytes: tally.bytes };
            write(&counters, maps::COUNTERS, &(reason as u32), &counts)?;
        }
        let ban_counters = self.open(maps::BAN_COUNTERS)?;
        let slots = self.slots();
        for (ban_id, slot) in &slots {
            let count = self.counted.bans.get(ban_id).copied().unwrap_or_default();
            let mut counts = vec![BanCount::default(); cpus];
            let BanCounters { packets, bytes, syns, last_ns } = count;
            counts[0] = BanCount { packets, bytes, syns, last_ns };
            write(&ban_counters, maps::BAN_COUNTERS, slot, &counts)?;
        }
        Ok(slots)
    }

    /// A slot for each ban that has entries, as far as they go.
    fn slots(&self) -> HashMap<u32, u32> {
        let bans: BTreeSet<u32> = self.entries.iter().map(|(_, value)| value.ban_id).collect();
        let mut bans: Vec<u32> = bans.into_iter().filter(|ban_id| *ban_id != 0).collect();
        let last_ns = |ban_id: &u32| self.counted.bans.get(ban_id).map_or(0, |counts| counts.last_ns);
        bans.sort_by_key(|ban_id| std::cmp::Reverse(last_ns(ban_id)));
        bans.into_iter().take(SLOTS_MAX).zip(1..).collect()
    }

    /// Puts the new pins in their place and removes the old ones: the new program is attached. Returns what the new
    /// maps do not have: the counts of the old program since it was read, and those of bans without a slot. If the old
    /// counters cannot be read once more, those since then are lost: the maps are in use, and their pins must not be.
    pub fn finish(self) -> Result<Counted, Error> {
        let mut now = Counted::read(&self.old).unwrap_or_else(|_| self.counted.clone());
        let slots = self.slots();
        now.reasons = now.reasons.since(&self.counted.reasons);
        for (ban_id, counts) in &mut now.bans {
            if slots.contains_key(ban_id)
                && let Some(before) = self.counted.bans.get(ban_id)
            {
                counts.packets = counts.packets.saturating_sub(before.packets);
                counts.bytes = counts.bytes.saturating_sub(before.bytes);
            }
        }
        self.staged.finish()?;
        Ok(now)
    }

    fn open(&self, spec: Spec) -> Result<MapData, Error> {
        MapData::from_pin(self.staged.pin_of(&spec)).map_err(|error| Error::map("open", spec.name, error))
    }

    fn write_batches<K: KernelPod>(
        &self,
        spec: Spec,
        (keys, values): &(Vec<K>, Vec<DenyValue>),
    ) -> Result<(), Error> {
        let map = self.open(spec)?;
        for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
            update_batch(map.fd().as_fd(), keys, values).map_err(|source| Error::Map {
                doing: FILL,
                map: spec.name,
                source,
            })?;
        }
        Ok(())
    }
}

const FILL: &str = "add what the version before had to";

fn write<K: KernelPod, V: KernelPod>(map: &MapData, spec: Spec, key: &K, values: &[V]) -> Result<(), Error> {
    update(map.fd().as_fd(), key, values).map_err(|source| Error::Map { doing: FILL, map: spec.name, source })
}

/// Removes what the version before has left, pins of a change of capacity that died included.
///
/// # Errors
/// [`Error::Pin`]
pub fn remove_old(root: &Path) -> Result<(), Error> {
    let old = pins::old_maps(root);
    let next = old.join("next");
    for directory in [&next, &old] {
        for spec in v1::ALL {
            pins::remove(&directory.join(spec.name))?;
        }
        // What is not empty holds something that is not ours to remove.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

/// All maps, the one last whose pin tells that this version has maps.
fn in_order() -> Vec<&'static str> {
    let others = maps::ALL.iter().map(|spec| spec.name).filter(|name| *name != maps::DENY4.name);
    others.chain([maps::DENY4.name]).collect()
}

fn entries(old: &Path) -> Result<Vec<(Key, v1::DenyValue)>, Error> {
    let mut all = Vec::new();
    all.extend(rows(old, v1::DENY4, Key::Source4)?);
    all.extend(rows(old, v1::DENY6, Key::Source6)?);
    all.extend(rows(old, v1::DENY_PREFIX4, Key::of_trie4)?);
    all.extend(rows(old, v1::DENY_PREFIX6, Key::of_trie6)?);
    Ok(all)
}

fn allowed(old: &Path) -> Result<BTreeSet<IpNet>, Error> {
    let mut all: Vec<(Key, AllowValue)> = rows(old, v1::ALLOW4, Key::of_trie4)?;
    all.extend(rows(old, v1::ALLOW6, Key::of_trie6)?);
    Ok(all.into_iter().filter_map(|(key, _)| key.prefix()).collect())
}

/// All entries of a pinned map; none if there is no such pin.
fn rows<const K: usize, V: KernelPod + Default>(
    old: &Path,
    spec: Spec,
    key: impl Fn([u8; K]) -> Key,
) -> Result<Vec<(Key, V)>, Error> {
    let pin = old.join(spec.name);
    if !pin.exists() {
        return Ok(Vec::new());
    }
    let failed = |source| Error::Map { doing: "read", map: spec.name, source };
    let map = syscall::open_pin(&pin).map_err(failed)?;
    let all = Walk::all::<V>(map.as_fd()).map_err(failed)?;
    Ok(all.into_iter().map(|(bytes, value)| (key(bytes), value)).collect())
}

fn cpus(spec: Spec) -> Result<usize, Error> {
    nr_cpus().map_err(|(_, source)| Error::Map { doing: "size", map: spec.name, source })
}

impl Counted {
    fn read(old: &Path) -> Result<Self, Error> {
        let mut this = Self::default();
        let pin = old.join(v1::COUNTERS.name);
        if pin.exists() {
            let failed = |source| Error::Map { doing: "read", map: v1::COUNTERS.name, source };
            let map = syscall::open_pin(&pin).map_err(failed)?;
            for number in 0..v1::COUNTERS.max_entries.min(REASONS as u32) {
                let mut counts = vec![Count::default(); cpus(v1::COUNTERS)?];
                look_up(map.as_fd(), &number, &mut counts).map_err(failed)?;
                counts.iter().for_each(|count| this.reasons.add(number, count));
            }
        }
        let pin = old.join(v1::BAN_COUNTERS.name);
        if pin.exists() {
            let failed = |error| Error::map("read", v1::BAN_COUNTERS.name, error);
            let data = MapData::from_pin(pin).map_err(failed)?;
            let map: PerCpuHashMap<_, u32, Wire<v1::BanCount>> =
                Map::PerCpuHashMap(data).try_into().map_err(failed)?;
            for item in map.iter() {
                let (ban_id, counts) = item.map_err(failed)?;
                let sum = counts.iter().fold(BanCounters::default(), |sum, Wire(count)| BanCounters {
                    packets: sum.packets + count.packets,
                    bytes: sum.bytes + count.bytes,
                    syns: 0,
                    last_ns: sum.last_ns.max(count.last_ns),
                });
                this.bans.insert(ban_id, sum);
            }
        }
        Ok(this)
    }
}
