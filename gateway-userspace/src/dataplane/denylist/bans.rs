//! Counters per ban: a slot of the kernel's array for each, given with the first entry of a ban and taken back
//! after its last.
//!
//! There are fewer slots than there can be bans. Before they run out, those bans hand theirs over that have
//! dropped nothing for longest; their counts so far are kept here, and what they drop from then on is counted
//! by reason only. A slot is given again when nothing has pointed to it for a second, so that no packet in
//! flight counts for the wrong ban, and is zeroed then.
//!
//! Limits: a ban with several entries keeps its slot, as does a list. What is kept here ends with the process.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    os::fd::AsFd as _,
};

use aya::{maps::MapData, util::nr_cpus};
use gateway_common::{
    counters::{BAN_SLOTS, BanCount},
    maps,
};
use ipnet::IpNet;

use crate::dataplane::{BanCounters, Error, clock, load::Maps, syscall};

/// Ended bans whose counts are kept.
const ENDED_MAX: usize = 4096;
/// For how long nothing must have pointed to a slot before it is given again.
const REST_NS: u64 = 1_000_000_000;
/// Free slots below which some are handed over, and how many at a time.
const LOW: usize = 256;
const HANDED_OVER: usize = 512;

/// The slot of entries that are not counted by themselves.
pub const NO_SLOT: u32 = 0;

/// A ban that has entries.
struct Living {
    slot: u32,
    /// Entries that refer to it; a list counts as one each time it is told.
    references: u32,
    /// Its entry, as long as it never had another. A list has none.
    only: Option<IpNet>,
    /// When it got the slot.
    since_ns: u64,
}

/// A slot that no entry has any more, and packets in flight may.
struct Resting {
    ban_id: u32,
    slot: u32,
    since_ns: u64,
}

/// The slots, and who has them.
pub struct Bans {
    map: MapData,
    cpus: usize,
    living: HashMap<u32, Living>,
    free: Vec<u32>,
    /// Slots of entries that are being taken over.
    taken: HashSet<u32>,
    resting: VecDeque<Resting>,
    /// Counts from slots that bans had before: of living ones that handed theirs over or come again, and of
    /// ended ones.
    past: HashMap<u32, BanCounters>,
    /// The ended ones, in the order of their ends.
    ended: VecDeque<u32>,
}

impl Bans {
    /// Opens the counters. Every slot is free that no entry [has](Bans::adopt) then.
    pub fn open(maps: &mut Maps) -> Result<Self, Error> {
        let map = maps.take_data(&maps::BAN_COUNTERS)?;
        let cpus = nr_cpus().map_err(|(_, source)| failed("size", source))?;
        Ok(Self {
            map,
            cpus,
            living: HashMap::new(),
            free: (1..BAN_SLOTS).rev().collect(),
            taken: HashSet::new(),
            resting: VecDeque::new(),
            past: HashMap::new(),
            ended: VecDeque::new(),
        })
    }

    /// Takes over an entry that was there before, with the slot that it has in the kernel. A list has no prefix of its
    /// own and comes once. Whether that is the slot of the ban: otherwise the entry has to be written again.
    pub fn adopt(&mut self, ban_id: u32, slot: u32, prefix: Option<IpNet>) -> bool {
        if ban_id == 0 {
            return slot == NO_SLOT;
        }
        let taken = &mut self.taken;
        let living = self.living.entry(ban_id).or_insert_with(|| {
            let is_free = slot != NO_SLOT && slot < BAN_SLOTS && taken.insert(slot);
            Living { slot: if is_free { slot } else { NO_SLOT }, references: 0, only: prefix, since_ns: 0 }
        });
        living.references += 1;
        if living.references > 1 {
            living.only = None;
        }
        living.slot == slot
    }

    /// All entries have been taken over: the other slots are free.
    pub fn adopted(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.free.retain(|slot| !taken.contains(slot));
    }

    /// One more entry refers to a ban, or a list with all that it has. Its slot, which the entries have to carry.
    pub fn retain(&mut self, ban_id: u32, prefix: Option<IpNet>) -> Result<u32, Error> {
        if ban_id == 0 {
            return Ok(NO_SLOT);
        }
        // A ban that has handed its slot over gets one again, if no other entry of it goes without.
        if let Some(living) = self.living.get_mut(&ban_id)
            && (living.slot != NO_SLOT || prefix.is_none() || living.only != prefix)
        {
            living.references += 1;
            if living.only != prefix {
                living.only = None;
            }
            return Ok(living.slot);
        }
        let slot = self.give()?;
        let since_ns = clock::monotonic_ns();
        let living =
            self.living.entry(ban_id).or_insert(Living { slot, references: 0, only: prefix, since_ns });
        living.references += 1;
        (living.slot, living.since_ns) = (slot, since_ns);
        Ok(slot)
    }

    /// One entry less refers to a ban; it is gone from the kernel. With the last one the slot is taken back.
    pub fn release(&mut self, ban_id: u32) {
        let Some(living) = self.living.get_mut(&ban_id) else { return };
        living.references -= 1;
        if living.references > 0 {
            return;
        }
        let slot = living.slot;
        self.living.remove(&ban_id);
        self.rest(ban_id, slot);
        self.ended.push_back(ban_id);
        while self.ended.len() > ENDED_MAX {
            let Some(oldest) = self.ended.pop_front() else { break };
            // One that has come again, or has ended once more since, is still told about.
            if !self.living.contains_key(&oldest) && !self.ended.contains(&oldest) {
                self.past.remove(&oldest);
            }
        }
    }

    /// The slot that a ban has now.
    pub fn slot(&self, ban_id: u32) -> u32 {
        self.living.get(&ban_id).map_or(NO_SLOT, |living| living.slot)
    }

    /// Adds to a ban that has entries what was counted for it elsewhere.
    pub fn carry(&mut self, ban_id: u32, counts: &BanCounters) {
        if self.living.contains_key(&ban_id) {
            let past = self.past.entry(ban_id).or_default();
            *past = past.and(counts);
        }
    }

    /// The bans that shall hand their slots over, with their entries, because slots are running out: those that
    /// have dropped nothing for longest.
    pub fn coldest(&mut self) -> Result<Vec<(u32, IpNet)>, Error> {
        if self.free.len() + self.resting.len() >= LOW {
            return Ok(Vec::new());
        }
        let mut candidates = Vec::new();
        for (ban_id, living) in &self.living {
            let Some(prefix) = living.only.filter(|_| living.slot != NO_SLOT) else { continue };
            let last_ns = self.read_slot(living.slot)?.last_ns;
            candidates.push((last_ns.max(living.since_ns), *ban_id, prefix));
        }
        candidates.sort_unstable();
        Ok(candidates.into_iter().take(HANDED_OVER).map(|(_, ban_id, prefix)| (ban_id, prefix)).collect())
    }

    /// Takes the slot of a ban, whose entry has to be written without it; it [rests](Bans::rest) then.
    pub fn take(&mut self, ban_id: u32) -> u32 {
        self.living.get_mut(&ban_id).map_or(NO_SLOT, |living| std::mem::replace(&mut living.slot, NO_SLOT))
    }

    /// Gives the slot back to its ban, whose entry could not be written without it.
    pub fn put_back(&mut self, ban_id: u32, slot: u32) {
        if let Some(living) = self.living.get_mut(&ban_id) {
            living.slot = slot;
        }
    }

    /// Counts of a ban, over all CPUs and over all its lives. `None` for one that is not known, or was long ago.
    pub fn read(&self, ban_id: u32) -> Result<Option<BanCounters>, Error> {
        let living = self.living.get(&ban_id);
        let resting = self.resting.iter().filter(|resting| resting.ban_id == ban_id);
        let past = self.past.get(&ban_id);
        let slots: Vec<u32> =
            resting.map(|resting| resting.slot).chain(living.map(|living| living.slot)).collect();
        if slots.is_empty() && past.is_none() {
            return Ok(None);
        }
        let mut sum = past.copied().unwrap_or_default();
        for slot in slots.into_iter().filter(|slot| *slot != NO_SLOT) {
            sum = sum.and(&self.read_slot(slot)?);
        }
        Ok(Some(sum))
    }

    /// Frees the slots that have rested long enough.
    pub fn settle(&mut self) -> Result<(), Error> {
        while let Some(slot) = self.reclaim()? {
            self.free.push(slot);
        }
        Ok(())
    }

    /// No entry of a ban has this slot any more.
    pub fn rest(&mut self, ban_id: u32, slot: u32) {
        if slot != NO_SLOT {
            self.resting.push_back(Resting { ban_id, slot, since_ns: clock::monotonic_ns() });
        }
    }

    /// A zeroed slot; [`NO_SLOT`] if there is none: the ban is enforced, only not counted by itself.
    fn give(&mut self) -> Result<u32, Error> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => match self.reclaim()? {
                Some(slot) => slot,
                None => return Ok(NO_SLOT),
            },
        };
        let zeros = vec![BanCount::default(); self.cpus];
        syscall::update(self.map.fd().as_fd(), &slot, &zeros).map_err(|source| failed("clear", source))?;
        Ok(slot)
    }

    /// Takes the slot that has rested longest, if that is long enough, and keeps what is in it.
    fn reclaim(&mut self) -> Result<Option<u32>, Error> {
        let rested_ns = clock::monotonic_ns().saturating_sub(REST_NS);
        let Some(resting) = self.resting.front().filter(|resting| resting.since_ns <= rested_ns) else {
            return Ok(None);
        };
        let (ban_id, slot) = (resting.ban_id, resting.slot);
        let counts = self.read_slot(slot)?;
        self.resting.pop_front();
        if self.living.contains_key(&ban_id) || self.ended.contains(&ban_id) {
            let past = self.past.entry(ban_id).or_default();
            *past = past.and(&counts);
        }
        Ok(Some(slot))
    }

    fn read_slot(&self, slot: u32) -> Result<BanCounters, Error> {
        let mut counts = vec![BanCount::default(); self.cpus];
        syscall::look_up(self.map.fd().as_fd(), &slot, &mut counts)
            .map_err(|source| failed("read", source))?;
        Ok(counts.iter().fold(BanCounters::default(), BanCounters::plus))
    }
}

fn failed(doing: &'static str, source: io::Error) -> Error {
    Error::Map { doing, map: maps::BAN_COUNTERS.name, source }
}
