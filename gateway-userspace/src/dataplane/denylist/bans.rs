//! Counters per ban: opened with the first entry of a ban, kept for a while after its last one.

use std::{
    collections::{HashMap, VecDeque},
    io,
};

use aya::{
    maps::{MapData, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use gateway_common::{counters::BanCount, maps};

use crate::dataplane::{BanCounters, Error, error::into_io, load::Maps, wire::Wire};

/// Ended bans whose counts are kept.
const ENDED_MAX: usize = 4096;

/// Counters in the kernel, and how many entries refer to each.
pub struct Bans {
    map: PerCpuHashMap<MapData, u32, Wire<BanCount>>,
    references: HashMap<u32, u32>,
    ended: VecDeque<(u32, BanCounters)>,
}

impl Bans {
    pub fn open(maps: &mut Maps) -> Result<Self, Error> {
        let map = maps.take_as(&maps::BAN_COUNTERS)?;
        Ok(Self { map, references: HashMap::new(), ended: VecDeque::new() })
    }

    /// One more entry refers to a ban.
    pub fn retain(&mut self, ban_id: u32) -> Result<(), Error> {
        if ban_id == 0 {
            return Ok(());
        }
        let references = self.references.entry(ban_id).or_default();
        *references += 1;
        if *references > 1 {
            return Ok(());
        }
        let cpus = nr_cpus().map_err(|(_, source)| failed("size", source))?;
        let zeros = PerCpuValues::try_from(vec![Wire(BanCount::default()); cpus])
            .map_err(|source| failed("size", source))?;
        match self.map.insert(ban_id, zeros, NO_REPLACE).map_err(into_io) {
            // There already, from the process before.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            // Full: the ban is enforced, only not counted by itself.
            Err(error) if error.raw_os_error() == Some(libc::E2BIG) => Ok(()),
            result => result.map_err(|source| failed("add a ban to", source)),
        }
    }

    /// One entry less refers to a ban; with the last one its counts are taken out of the kernel.
    pub fn release(&mut self, ban_id: u32) -> Result<(), Error> {
        let Some(references) = self.references.get_mut(&ban_id) else { return Ok(()) };
        *references -= 1;
        if *references > 0 {
            return Ok(());
        }
        self.references.remove(&ban_id);
        if let Some(counts) = self.read(ban_id)? {
            self.ended.retain(|(ended, _)| *ended != ban_id);
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back((ban_id, counts));
        }
        self.remove(ban_id)
    }

    /// Removes counters that no entry refers to: left by a process that died between two writes.
    pub fn forget_unreferenced(&mut self) -> Result<(), Error> {
        let stale: Vec<u32> =
            self.map.keys().flatten().filter(|ban_id| !self.references.contains_key(ban_id)).collect();
        stale.into_iter().try_for_each(|ban_id| self.remove(ban_id))
    }

    /// Counts of a ban, over all CPUs and over all its lives.
    pub fn read(&self, ban_id: u32) -> Result<Option<BanCounters>, Error> {
        let ended = self.ended.iter().find(|(ended, _)| *ended == ban_id).map(|(_, counts)| *counts);
        match self.map.get(&ban_id, 0).map_err(into_io) {
            Ok(values) => {
                let sum = values.iter().fold(ended.unwrap_or_default(), |sum, Wire(count)| sum.plus(count));
                Ok(Some(sum))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ended),
            Err(source) => Err(failed("read", source)),
        }
    }

    fn remove(&mut self, ban_id: u32) -> Result<(), Error> {
        match self.map.remove(&ban_id).map_err(into_io) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove a ban from", error)),
            _ => Ok(()),
        }
    }
}

/// `BPF_NOEXIST`
const NO_REPLACE: u64 = 1;

fn failed(doing: &'static str, source: io::Error) -> Error {
    Error::Map { doing, map: maps::BAN_COUNTERS.name, source }
}
