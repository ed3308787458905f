//! The denylist: the only place that writes deny entries and their filter bits.
//!
//! Order matters, because the kernel reads while we write. On adding: first the entry, then its bits; on
//! removing: first the bits, then the entry. In between an entry is not found, which is what it was before
//! or is going to be.
//!
//! A mirror of the entries is kept here, those of bans with an index by the end of the lease, those of [`lists`] as
//! lean as can be. It is rebuilt from the maps when they are opened, so entries survive whatever happened to the
//! process before.
//!
//! One key of the kernel has one value. Where a ban and lists want the same one, the highest [claim](Claim::rank) has
//! it, and the next one when that goes.
//!
//! Limits: when a ban ends, a list behind it takes over with the next sweep. The maps do not tell what stands behind
//! the value of a key, so the next process knows it again when it has been told.

mod bans;
mod compare;
mod kernel;
mod lists;
mod shares;
mod sorted;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use gateway_common::denylist::{DenyValue, FLAG_APART, FLAG_OBSERVE, FOREVER};
use ipnet::IpNet;

pub use self::compare::{Compared, Progress};
pub use self::lists::{ListLease, Listed};
use self::{
    bans::Bans,
    compare::carried,
    kernel::{PIECE, Tables},
    lists::{Claim, Generation, Lists},
};
use super::{
    BanCounters, Drift, Error,
    allowlist::Allowlist,
    clock,
    filter::Filter,
    load::Maps,
    prefix::{Key, canonical, marks},
    settings::SettingsMap,
    walk::{DENYLISTS, Reading},
};

/// What a ban denies, until when, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenyEntry {
    /// End of the lease in nanoseconds of `CLOCK_MONOTONIC` (see [`clock`]), or `None` for no end.
    pub until_ns: Option<u64>,
    /// The ban it belongs to; several entries may share one. 0: not counted per ban.
    pub ban_id: u32,
    /// Count what would be dropped, and pass it.
    pub observe: bool,
    /// When one connection at a time is let through. Only exact entries (IPv4 /32, IPv6 /64) that do not
    /// observe have it; others are as if it were `None`.
    pub parole: Option<Parole>,
}

/// From some instant on, one connection per interval of a denied source is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parole {
    /// The instant, in nanoseconds of `CLOCK_MONOTONIC`. Of an entry that was taken over from a process before,
    /// the next one.
    pub from_ns: u64,
    /// The interval, in whole milliseconds up to 49 days. No packet passes of a connection that is older.
    pub every: Duration,
}

impl DenyEntry {
    /// An entry that ends `duration` from now.
    pub fn lasting(duration: Duration, ban_id: u32) -> Self {
        Self { until_ns: Some(clock::monotonic_ns_after(duration)), ..Self::forever(ban_id) }
    }

    /// An entry without an end.
    pub fn forever(ban_id: u32) -> Self {
        Self { until_ns: None, ban_id, observe: false, parole: None }
    }

    /// The same entry, only counting.
    pub fn observed(self) -> Self {
        Self { observe: true, ..self }
    }

    /// The same entry with a parole.
    pub fn paroled(self, parole: Parole) -> Self {
        Self { parole: Some(parole), ..self }
    }

    /// Whether the lease still runs at `now_ns`.
    pub fn is_live(&self, now_ns: u64) -> bool {
        self.until_ns.is_none_or(|until_ns| until_ns > now_ns)
    }

    fn value(&self, prefix: IpNet, slot: u32, apart: bool) -> DenyValue {
        // An end at 0, the boot, is long over; 0 itself means no end.
        let until_ns = self.until_ns.map_or(FOREVER, |until_ns| until_ns.max(1));
        let parole = self.parole.filter(|_| !self.observe && Key::of(prefix).is_exact());
        let every_ms = parole.map_or(0, |parole| parole.every.as_millis().max(1));
        DenyValue {
            slot,
            // As for the end: 0 means none.
            parole_ns: parole.map_or(0, |parole| parole.from_ns.max(1)),
            parole_every_ms: u32::try_from(every_ms).unwrap_or(u32::MAX),
            ..DenyValue::new(until_ns, self.ban_id, prefix.prefix_len())
        }
        .with(FLAG_OBSERVE, self.observe)
        .with(FLAG_APART, apart)
    }

    fn from_value(value: &DenyValue) -> Self {
        let parole =
            Parole { from_ns: value.parole_ns, every: Duration::from_millis(value.parole_every_ms.into()) };
        Self {
            until_ns: (value.until_ns != FOREVER).then_some(value.until_ns),
            ban_id: value.ban_id,
            observe: value.is_observed(),
            parole: (value.parole_ns != 0).then_some(parole),
        }
    }
}

/// How full a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Whether it is the list of addresses (IPv6: of /64s), not the one of prefixes.
    pub exact: bool,
    /// What is in it, for people.
    pub name: &'static str,
    /// Entries, those included that are over and not swept yet.
    pub entries: usize,
    /// Entries that there is room for.
    pub capacity: usize,
}

impl Room {
    /// Whether nothing more fits.
    pub const fn is_full(&self) -> bool {
        self.entries >= self.capacity
    }
}

/// Entries that are told in one go.
const BATCH: usize = 4096;

/// Entries, filter and counters of the bans and lists.
pub struct Denylist {
    tables: Tables,
    filter: Filter,
    bans: Bans,
    lists: Lists,
    /// Those of bans.
    entries: BTreeMap<IpNet, DenyEntry>,
    /// Ends of leases, with the entry that ends.
    ends: BTreeSet<(u64, IpNet)>,
    /// The last entry of a ban that [`Denylist::next_sample`] has returned.
    sampled: Option<IpNet>,
    /// Entries of each map, in the order of [`DENYLISTS`].
    counts: [usize; DENYLISTS.len()],
    /// How far the maps have been read back.
    reading: Reading,
}

impl Denylist {
    /// Opens the maps and takes over what is in them.
    pub fn open(maps: &mut Maps, settings: &mut SettingsMap, allowlist: &Allowlist) -> Result<Self, Error> {
        let tables = Tables::open(maps)?;
        let filter = Filter::open(maps)?;
        let bans = Bans::open(maps)?;
        let mut this = Self {
            tables,
            filter,
            bans,
            lists: Lists::default(),
            entries: BTreeMap::new(),
            ends: BTreeSet::new(),
            sampled: None,
            counts: [0; DENYLISTS.len()],
            reading: Reading::new(),
        };
        let mut stale = Vec::new();
        let mut reading = Reading::new();
        loop {
            let (rows, ended) = this.tables.read_on(&mut reading, PIECE)?;
            for (key, value) in rows {
                let Some(prefix) = key.prefix() else { continue };
                // Flags may have been left by a process that died between the allowlist and its entries.
                if !this.adopt(prefix, &value) || value.is_apart() == allowlist.overlaps(prefix) {
                    stale.push(prefix);
                }
            }
            if ended {
                break;
            }
        }
        this.bans.adopted();
        for prefix in stale {
            // What fails here is found again as drift.
            let _ = this.refresh(allowlist, prefix);
        }
        // Each key has been found once: no list has what a ban or another one has.
        let of_bans = this.entries.keys().map(|prefix| marks(*prefix));
        this.filter.rebuild(settings, of_bans.chain(this.lists.iter().flat_map(Generation::marks)))?;
        Ok(this)
    }

    /// Takes over an entry that a process before has written. Whether it is as it must be.
    fn adopt(&mut self, prefix: IpNet, value: &DenyValue) -> bool {
        let entry = DenyEntry::from_value(value);
        let DenyEntry { until_ns, ban_id, observe, .. } = entry;
        let key = Key::of(prefix);
        self.counts[key.list()] += 1;
        if value.is_of_list() {
            let generations = self.lists.iter().count();
            let lease = ListLease { id: ban_id, until_ns, observe };
            let adopted = self.lists.adopt(prefix, lease);
            if self.lists.iter().count() > generations {
                self.bans.adopt(ban_id, value.slot, None);
            }
            return adopted && self.bans.slot(ban_id) == value.slot;
        }
        self.remember(prefix, entry);
        self.bans.adopt(ban_id, value.slot, Some(prefix))
    }

    /// Has the program look up again what it has found before.
    pub fn forget_findings(&self) {
        self.tables.changed();
    }

    /// Adds or replaces an entry.
    pub fn deny(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        prefix: IpNet,
        entry: DenyEntry,
    ) -> Result<(), Error> {
        let prefix = canonical(prefix);
        // A ban that is not counted by itself is better than none.
        let _ = self.relieve_bans(allowlist);
        // The counter first: it is there when the first packet is dropped.
        let slot = self.bans.retain(entry.ban_id, Some(prefix))?;
        let value = self.value_beside_lists(allowlist, prefix, entry, slot);
        if let Err(error) = self.tables.insert(Key::of(prefix), value) {
            self.bans.release(entry.ban_id);
            return Err(error);
        }
        self.note(settings, prefix, entry)
    }

    /// Adds or replaces many entries, exact ones in batches.
    pub fn deny_many(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        entries: &[(IpNet, DenyEntry)],
    ) -> Result<(), Error> {
        for batch in entries.chunks(BATCH) {
            let _ = self.relieve_bans(allowlist);
            let batch = last_of_each(batch);
            let mut rows = Vec::with_capacity(batch.len());
            for (prefix, entry) in &batch {
                let slot = self.bans.retain(entry.ban_id, Some(*prefix)).inspect_err(|_| {
                    batch[..rows.len()].iter().for_each(|(_, entry)| self.bans.release(entry.ban_id));
                })?;
                rows.push((Key::of(*prefix), self.value_beside_lists(allowlist, *prefix, *entry, slot)));
            }
            self.insert_batch(settings, allowlist, &batch, &rows)?;
        }
        Ok(())
    }

    /// Writes and notes the entries of a batch, whose bans are retained, as if each came alone.
    fn insert_batch(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        batch: &[(IpNet, DenyEntry)],
        rows: &[(Key, DenyValue)],
    ) -> Result<(), Error> {
        let whole = self.tables.insert_all(rows).is_empty();
        if !whole {
            // Some may have taken the room of others before them: once more, in order.
            self.take_back(allowlist, batch);
        }
        for (done, ((prefix, entry), (key, value))) in batch.iter().zip(rows).enumerate() {
            let inserted = if whole { Ok(()) } else { self.tables.insert(*key, *value) };
            let rest = &batch[done + usize::from(inserted.is_ok())..];
            if let Err(error) = inserted.and_then(|()| self.note(settings, *prefix, *entry)) {
                rest.iter().for_each(|(_, entry)| self.bans.release(entry.ban_id));
                self.take_back(allowlist, rest);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Entries that are written and not noted must not come to life later: the kernel has what it had before. All of
    /// them, also behind one that fails, which is found again as drift.
    fn take_back(&mut self, allowlist: &Allowlist, entries: &[(IpNet, DenyEntry)]) {
        for (prefix, _) in entries {
            let _ = match self.best(*prefix) {
                Some(_) => self.refresh(allowlist, *prefix),
                None => self.tables.remove(Key::of(*prefix)),
            };
        }
    }

    /// What the kernel shall have for a ban that is about to be noted.
    fn value_beside_lists(
        &self,
        allowlist: &Allowlist,
        prefix: IpNet,
        entry: DenyEntry,
        slot: u32,
    ) -> DenyValue {
        let apart = !allowlist.overlaps(prefix);
        let ban = Claim::ban(entry);
        match self.lists.best(prefix) {
            Some(list) if list.rank() > ban.rank() => {
                list.value(prefix, self.bans.slot(list.entry.ban_id), apart)
            }
            _ => ban.value(prefix, slot, apart),
        }
    }

    /// Removes the entry of a ban; `false` if there was none.
    pub fn lift(&mut self, allowlist: &Allowlist, prefix: IpNet) -> Result<bool, Error> {
        let prefix = canonical(prefix);
        let Some(entry) = self.entries.remove(&prefix) else { return Ok(false) };
        if let Some(until_ns) = entry.until_ns {
            self.ends.remove(&(until_ns, prefix));
        }
        let written = if self.lists.best(prefix).is_some() {
            self.refresh(allowlist, prefix)
        } else {
            self.counts[Key::of(prefix).list()] -= 1;
            self.filter.remove(&marks(prefix));
            self.tables.remove(Key::of(prefix))
        };
        self.bans.release(entry.ban_id);
        written.map(|()| true)
    }

    /// Removes the entries of bans that ended at or before `now_ns`, which it returns, and some of the lists.
    pub fn sweep(&mut self, allowlist: &Allowlist, now_ns: u64) -> Result<Vec<IpNet>, Error> {
        let mut swept = Vec::new();
        while let Some(&(until_ns, prefix)) = self.ends.first() {
            if until_ns > now_ns {
                break;
            }
            self.lift(allowlist, prefix)?;
            swept.push(prefix);
        }
        self.sweep_lists(allowlist, now_ns)?;
        self.bans.settle()?;
        Ok(swept)
    }

    /// Whether the kernel has an entry as it should be, but for what the program itself writes there. If not, it is
    /// written again.
    pub fn check(&mut self, allowlist: &Allowlist, prefix: IpNet) -> Result<Option<Drift>, Error> {
        let Some(wanted) = self.wanted(allowlist, prefix) else { return Ok(None) };
        let found = self.tables.get(Key::of(prefix))?;
        let now_ns = clock::monotonic_ns();
        let drift = match found {
            None => Drift::Missing(prefix),
            Some(found) if carried(wanted, &found, now_ns) != found => Drift::Different(prefix),
            Some(_) => return Ok(None),
        };
        self.refresh(allowlist, prefix)?;
        Ok(Some(drift))
    }

    /// Writes the bits of an entry again, after something else has changed them. Returns how many words that were.
    pub fn repair_bits(&mut self, prefix: IpNet) -> usize {
        if self.best(prefix).is_some() { self.filter.repair(&marks(prefix)) } else { 0 }
    }

    /// Reads the next about `room` entries back from the kernel, going round. What is not in the mirror was written by
    /// something else and is removed; a value that differs is written again. Returns also how many it has read.
    pub fn read_back(&mut self, allowlist: &Allowlist, room: usize) -> Result<(usize, Vec<Drift>), Error> {
        let (rows, _) = self.tables.read_on(&mut self.reading, room)?;
        let now_ns = clock::monotonic_ns();
        let mut drifted = Vec::new();
        for (key, found) in &rows {
            let prefix = key.prefix().map(|prefix| prefix.trunc());
            // A host in a trie is none of ours: hosts are in the hashes.
            let ours = prefix.filter(|prefix| Key::of(*prefix).is_exact() == key.is_exact());
            match ours.and_then(|prefix| Some((prefix, self.wanted(allowlist, prefix)?))) {
                Some((prefix, wanted)) if carried(wanted, found, now_ns) != *found => {
                    self.refresh(allowlist, prefix)?;
                    drifted.push(Drift::Different(prefix));
                }
                Some(_) => {}
                None => {
                    self.tables.remove(*key)?;
                    drifted.push(Drift::Extra(prefix));
                }
            }
        }
        Ok((rows.len(), drifted))
    }

    /// Compares the next `lines` of the filter with what they must be, going round, and repairs them. Returns how many
    /// words had been changed.
    pub fn read_filter_back(&mut self, lines: usize) -> usize {
        self.filter.read_back(lines)
    }

    /// The allowlist has changed at a prefix: entries that overlap it are told whether they must ask it.
    pub fn reconsider(&mut self, allowlist: &Allowlist, prefix: IpNet) -> Result<(), Error> {
        let prefix = canonical(prefix);
        let around = (0..prefix.prefix_len()).filter_map(|bits| IpNet::new(prefix.addr(), bits).ok());
        let around = around.map(|around| around.trunc()).filter(|around| self.entries.contains_key(around));
        let inside = self.entries.range(prefix..).map(|(inside, _)| *inside);
        let inside = inside.take_while(|inside| prefix.contains(inside));
        let overlapping: Vec<IpNet> = around.chain(inside).collect();
        // All of them, also behind one that fails: each may cover an allowed host.
        let bans =
            overlapping.into_iter().map(|entry| self.refresh(allowlist, entry)).fold(Ok(()), Result::and);
        bans.and(self.reconsider_lists(allowlist, prefix))
    }

    /// Writes an entry again, with its slot and flags as they are now.
    fn refresh(&mut self, allowlist: &Allowlist, prefix: IpNet) -> Result<(), Error> {
        let Some(wanted) = self.wanted(allowlist, prefix) else { return Ok(()) };
        let key = Key::of(prefix);
        let found = self.tables.get(key)?;
        let value = found.map_or(wanted, |found| carried(wanted, &found, clock::monotonic_ns()));
        if found == Some(value) {
            return Ok(());
        }
        self.tables.insert(key, value)
    }

    /// What the kernel shall have for an entry.
    fn wanted(&self, allowlist: &Allowlist, prefix: IpNet) -> Option<DenyValue> {
        let claim = self.best(prefix)?;
        Some(claim.value(prefix, self.bans.slot(claim.entry.ban_id), !allowlist.overlaps(prefix)))
    }

    /// Who holds the key of a prefix.
    fn best(&self, prefix: IpNet) -> Option<Claim> {
        let ban = self.entries.get(&prefix).map(|entry| Claim::ban(*entry));
        ban.into_iter().chain(self.lists.best(prefix)).max_by_key(Claim::rank)
    }

    /// Lets bans hand their slots over while there are some left.
    fn relieve_bans(&mut self, allowlist: &Allowlist) -> Result<(), Error> {
        for (ban_id, prefix) in self.bans.coldest()? {
            let slot = self.bans.take(ban_id);
            if let Err(error) = self.refresh(allowlist, prefix) {
                self.bans.put_back(ban_id, slot);
                return Err(error);
            }
            self.bans.rest(ban_id, slot);
        }
        Ok(())
    }

    /// How full each map is.
    pub fn rooms(&self) -> [Room; DENYLISTS.len()] {
        const LISTS: [(&str, bool, &str); DENYLISTS.len()] = [
            ("ipv4", true, "IPv4 addresses"),
            ("ipv6", true, "IPv6 /64s"),
            ("ipv4", false, "IPv4 prefixes"),
            ("ipv6", false, "IPv6 prefixes"),
        ];
        std::array::from_fn(|map| {
            let (family, exact, name) = LISTS[map];
            Room { family, exact, name, entries: self.counts[map], capacity: self.tables.capacities()[map] }
        })
    }

    /// Those of bans, in the order of their prefixes.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (IpNet, DenyEntry)> + '_ {
        self.entries.iter().map(|(prefix, entry)| (*prefix, *entry))
    }

    /// Up to `count` entries, after those of the last call, going round: half of them of lists, as far as there are.
    pub fn next_sample(&mut self, count: usize) -> Vec<(IpNet, DenyEntry)> {
        let of_lists = self.lists.next_sample((count / 2).max(count.saturating_sub(self.entries.len())));
        let mut sample = self.next_bans(count - of_lists.len());
        sample.extend(of_lists);
        sample.into_iter().filter_map(|prefix| Some((prefix, self.best(prefix)?.entry))).collect()
    }

    fn next_bans(&mut self, count: usize) -> Vec<IpNet> {
        let start = self.sampled.map_or(Unbounded, Excluded);
        let rest = self.entries.range((start, Unbounded));
        let sample: Vec<_> = rest
            .chain(self.entries.iter())
            .take(count.min(self.entries.len()))
            .map(|(prefix, _)| *prefix)
            .collect();
        self.sampled = sample.last().copied();
        sample
    }

    pub fn ban_counters(&self, ban_id: u32) -> Result<Option<BanCounters>, Error> {
        self.bans.read(ban_id)
    }

    /// Adds to bans what a program before has counted for them that is not in the kernel.
    pub fn carry(&mut self, bans: &HashMap<u32, BanCounters>) {
        bans.iter().for_each(|(ban_id, counts)| self.bans.carry(*ban_id, counts));
    }

    /// Notes an entry that is in the kernel and whose ban is retained, and sets its bits.
    fn note(&mut self, settings: &mut SettingsMap, prefix: IpNet, entry: DenyEntry) -> Result<(), Error> {
        match self.remember(prefix, entry) {
            Some(old) => {
                self.bans.release(old.ban_id);
                Ok(())
            }
            None if self.lists.best(prefix).is_some() => Ok(()),
            None => {
                self.counts[Key::of(prefix).list()] += 1;
                self.filter.add(settings, &marks(prefix))
            }
        }
    }

    /// Puts an entry into the mirror. Returns the one whose place it takes.
    fn remember(&mut self, prefix: IpNet, entry: DenyEntry) -> Option<DenyEntry> {
        if let Some(until_ns) = entry.until_ns {
            self.ends.insert((until_ns, prefix));
        }
        let old = self.entries.insert(prefix, entry)?;
        if old.until_ns != entry.until_ns
            && let Some(until_ns) = old.until_ns
        {
            self.ends.remove(&(until_ns, prefix));
        }
        Some(old)
    }
}

/// Entries with their prefixes in canonical form, each prefix once, with what was said of it last.
fn last_of_each(entries: &[(IpNet, DenyEntry)]) -> Vec<(IpNet, DenyEntry)> {
    let mut seen = HashSet::with_capacity(entries.len());
    let canonical = entries.iter().rev().map(|(prefix, entry)| (canonical(*prefix), *entry));
    let mut last: Vec<_> = canonical.filter(|(prefix, _)| seen.insert(*prefix)).collect();
    last.reverse();
    last
}
