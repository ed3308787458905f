//! Counters of the kernel program, added up over the CPUs.

use aya::maps::{MapData, PerCpuArray};
use gateway_common::{
    counters::{BanCount, Count},
    maps,
    verdict::{REASONS, Reason},
};

use super::{Error, load::Maps, wire::Wire};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// Packets and bytes by reason, since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    tallies: [Tally; REASONS],
}

impl Counters {
    /// Under one reason.
    pub fn of(&self, reason: Reason) -> Tally {
        self.tallies[reason as usize]
    }

    /// All reasons with their tallies.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, Tally)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.of(reason)))
    }

    /// All that was dropped.
    pub fn dropped(&self) -> Tally {
        self.iter().filter(|(reason, _)| reason.is_drop()).fold(Tally::default(), |sum, (_, tally)| Tally {
            packets: sum.packets + tally.packets,
            bytes: sum.bytes + tally.bytes,
        })
    }

    /// Adds a cell of the kernel's; one of an unknown reason is left out.
    pub(super) fn add(&mut self, number: u32, count: &Count) {
        if let Some(tally) = self.tallies.get_mut(number as usize) {
            tally.packets += count.packets;
            tally.bytes += count.bytes;
        }
    }

    /// What was counted since an earlier reading of the same maps.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = *self;
        for (now, before) in difference.tallies.iter_mut().zip(&earlier.tallies) {
            now.packets = now.packets.saturating_sub(before.packets);
            now.bytes = now.bytes.saturating_sub(before.bytes);
        }
        difference
    }
}

/// What one ban has dropped or, observed, would have dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BanCounters {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Those of them that would have opened a TCP connection.
    pub syns: u64,
    /// `CLOCK_MONOTONIC` of the last one in nanoseconds; 0 if there was none.
    pub last_ns: u64,
}

impl BanCounters {
    /// With the counts of one more CPU.
    pub(super) fn plus(self, count: &BanCount) -> Self {
        Self {
            packets: self.packets + count.packets,
            bytes: self.bytes + count.bytes,
            syns: self.syns + count.syns,
            last_ns: self.last_ns.max(count.last_ns),
        }
    }

    /// With the counts of another slot.
    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            syns: self.syns + other.syns,
            last_ns: self.last_ns.max(other.last_ns),
        }
    }
}

/// The counters in the kernel.
pub struct KernelCounters {
    map: PerCpuArray<MapData, Wire<Count>>,
    /// What a program before has counted that is not in the map.
    carried: Counters,
}

impl KernelCounters {
    pub fn open(maps: &mut Maps) -> Result<Self, Error> {
        Ok(Self { map: maps.take_as(&maps::COUNTERS)?, carried: Counters::default() })
    }

    /// Adds to all readings from now on what is not in the map.
    pub fn carry(&mut self, counters: Counters) {
        self.carried = counters;
    }

    pub fn read(&self) -> Result<Counters, Error> {
        let mut counters = self.carried;
        for number in 0..REASONS as u32 {
            let values =
                self.map.get(&number, 0).map_err(|error| Error::map("read", maps::COUNTERS.name, error))?;
            values.iter().for_each(|Wire(count)| counters.add(number, count));
        }
        Ok(counters)
    }
}
