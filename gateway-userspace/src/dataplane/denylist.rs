//! The denylist: the only place that writes deny entries and their filter bits.
//!
//! Order matters, because the kernel reads while we write. On adding: first the entry, then its bits; on
//! removing: first the bits, then the entry. In between an entry is not found, which is what it was before
//! or is going to be.
//!
//! A mirror of the entries is kept here, with an index by the end of the lease. It is rebuilt from the maps
//! when they are opened, so entries survive whatever happened to the process before.

mod bans;
mod kernel;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use gateway_common::denylist::{DenyValue, FOREVER};
use ipnet::IpNet;

use self::{bans::Bans, kernel::Tables};
use super::{
    BanCounters, Error, clock,
    filter::Filter,
    load::Maps,
    prefix::{Key, canonical, marks},
    settings::SettingsMap,
};

/// What is denied, until when, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenyEntry {
    /// End of the lease in nanoseconds of `CLOCK_MONOTONIC` (see [`clock`]), or `None` for no end.
    pub until_ns: Option<u64>,
    /// The ban it belongs to; several entries may share one. 0: not counted per ban.
    pub ban_id: u32,
    /// Count what would be dropped, and pass it.
    pub observe: bool,
}

impl DenyEntry {
    /// An entry that ends `duration` from now.
    pub fn lasting(duration: Duration, ban_id: u32) -> Self {
        Self { until_ns: Some(clock::monotonic_ns_after(duration)), ban_id, observe: false }
    }

    /// An entry without an end.
    pub fn forever(ban_id: u32) -> Self {
        Self { until_ns: None, ban_id, observe: false }
    }

    /// The same entry, only counting.
    pub fn observed(self) -> Self {
        Self { observe: true, ..self }
    }

    /// Whether the lease still runs at `now_ns`.
    pub fn is_live(&self, now_ns: u64) -> bool {
        self.until_ns.is_none_or(|until_ns| until_ns > now_ns)
    }

    fn value(&self, prefix_bits: u8) -> DenyValue {
        // An end at 0, the boot, is long over; 0 itself means no end.
        let until_ns = self.until_ns.map_or(FOREVER, |until_ns| until_ns.max(1));
        DenyValue::new(until_ns, self.ban_id, self.observe, prefix_bits)
    }

    fn from_value(value: &DenyValue) -> Self {
        let until_ns = (value.until_ns != FOREVER).then_some(value.until_ns);
        Self { until_ns, ban_id: value.ban_id, observe: value.is_observed() }
    }
}

/// Entries that are written in one call.
const BATCH: usize = 4096;

/// Entries, filter and counters of the bans.
pub struct Denylist {
    tables: Tables,
    filter: Filter,
    bans: Bans,
    entries: BTreeMap<IpNet, DenyEntry>,
    /// Ends of leases, with the entry that ends.
    ends: BTreeSet<(u64, IpNet)>,
    /// The last entry that [`Denylist::next_sample`] has returned.
    sampled: Option<IpNet>,
}

impl Denylist {
    /// Opens the maps and takes over what is in them.
    pub fn open(maps: &mut Maps, settings: &mut SettingsMap) -> Result<Self, Error> {
        let tables = Tables::open(maps)?;
        let filter = Filter::open(maps)?;
        let bans = Bans::open(maps)?;
        let mut this =
            Self { tables, filter, bans, entries: BTreeMap::new(), ends: BTreeSet::new(), sampled: None };
        for (key, value) in this.tables.read()? {
            let Some(prefix) = key.prefix() else { continue };
            let entry = DenyEntry::from_value(&value);
            this.bans.retain(entry.ban_id)?;
            this.remember(prefix, entry)?;
        }
        this.bans.forget_unreferenced()?;
        this.filter.rebuild(settings, this.entries.keys().map(|prefix| marks(*prefix)))?;
        Ok(this)
    }

    /// Adds or replaces an entry.
    pub fn deny(&mut self, settings: &mut SettingsMap, prefix: IpNet, entry: DenyEntry) -> Result<(), Error> {
        let prefix = canonical(prefix);
        // The counter first: it is there when the first packet is dropped.
        self.bans.retain(entry.ban_id)?;
        if let Err(error) = self.tables.insert(Key::of(prefix), entry.value(prefix.prefix_len())) {
            self.bans.release(entry.ban_id)?;
            return Err(error);
        }
        if self.remember(prefix, entry)? {
            self.filter.add(settings, &marks(prefix))?;
        }
        Ok(())
    }

    /// Adds or replaces many entries, exact ones in batches.
    pub fn deny_many(
        &mut self,
        settings: &mut SettingsMap,
        entries: &[(IpNet, DenyEntry)],
    ) -> Result<(), Error> {
        for batch in entries.chunks(BATCH) {
            let rows: Vec<_> = batch
                .iter()
                .map(|(prefix, entry)| {
                    let prefix = canonical(*prefix);
                    (Key::of(prefix), entry.value(prefix.prefix_len()))
                })
                .collect();
            let written = self.tables.insert_exact(&rows).is_ok();
            if let Err(error) = self.note_batch(settings, batch, written) {
                // What the batch has written beyond the entry to blame must not come to life later.
                for (key, _) in rows {
                    if key.prefix().is_some_and(|prefix| !self.entries.contains_key(&prefix)) {
                        self.tables.remove(key)?;
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Notes the entries of a batch as if each came alone. Where the batch has failed, writing them once
    /// more tells which entry is to blame; prefixes were not in it.
    fn note_batch(
        &mut self,
        settings: &mut SettingsMap,
        batch: &[(IpNet, DenyEntry)],
        written: bool,
    ) -> Result<(), Error> {
        for (prefix, entry) in batch {
            let prefix = canonical(*prefix);
            if !written || !Key::of(prefix).is_exact() {
                self.deny(settings, prefix, *entry)?;
                continue;
            }
            self.bans.retain(entry.ban_id)?;
            if self.remember(prefix, *entry)? {
                self.filter.add(settings, &marks(prefix))?;
            }
        }
        Ok(())
    }

    /// Removes an entry; `false` if there was none.
    pub fn lift(&mut self, prefix: IpNet) -> Result<bool, Error> {
        let prefix = canonical(prefix);
        let Some(entry) = self.entries.remove(&prefix) else { return Ok(false) };
        if let Some(until_ns) = entry.until_ns {
            self.ends.remove(&(until_ns, prefix));
        }
        self.filter.remove(&marks(prefix));
        self.tables.remove(Key::of(prefix))?;
        self.bans.release(entry.ban_id)?;
        Ok(true)
    }

    /// Removes what ended at or before `now_ns`.
    pub fn sweep(&mut self, now_ns: u64) -> Result<Vec<IpNet>, Error> {
        let mut swept = Vec::new();
        while let Some(&(until_ns, prefix)) = self.ends.first() {
            if until_ns > now_ns {
                break;
            }
            self.lift(prefix)?;
            swept.push(prefix);
        }
        Ok(swept)
    }

    /// Writes an entry and its bits again, after something else has changed them.
    pub fn repair(&mut self, prefix: IpNet) -> Result<(), Error> {
        if let Some(entry) = self.entries.get(&prefix) {
            self.tables.insert(Key::of(prefix), entry.value(prefix.prefix_len()))?;
            self.filter.repair(&marks(prefix));
        }
        Ok(())
    }

    pub fn entries(&self) -> impl ExactSizeIterator<Item = (IpNet, DenyEntry)> + '_ {
        self.entries.iter().map(|(prefix, entry)| (*prefix, *entry))
    }

    /// Up to `count` entries, after those of the last call, going round.
    pub fn next_sample(&mut self, count: usize) -> Vec<(IpNet, DenyEntry)> {
        let start = self.sampled.map_or(Unbounded, Excluded);
        let rest = self.entries.range((start, Unbounded));
        let sample: Vec<_> = rest
            .chain(self.entries.iter())
            .take(count.min(self.entries.len()))
            .map(|(prefix, entry)| (*prefix, *entry))
            .collect();
        self.sampled = sample.last().map(|(prefix, _)| *prefix);
        sample
    }

    pub fn ban_counters(&self, ban_id: u32) -> Result<Option<BanCounters>, Error> {
        self.bans.read(ban_id)
    }

    /// Notes an entry, whose ban is retained already, in the mirror. Returns whether its prefix is new.
    fn remember(&mut self, prefix: IpNet, entry: DenyEntry) -> Result<bool, Error> {
        if let Some(until_ns) = entry.until_ns {
            self.ends.insert((until_ns, prefix));
        }
        let Some(old) = self.entries.insert(prefix, entry) else { return Ok(true) };
        if old.until_ns != entry.until_ns
            && let Some(until_ns) = old.until_ns
        {
            self.ends.remove(&(until_ns, prefix));
        }
        self.bans.release(old.ban_id)?;
        Ok(false)
    }
}
