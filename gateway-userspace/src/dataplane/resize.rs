//! Another capacity: new maps beside the old ones, filled from them, then put in their place ([`Staged`]).
//!
//! A map keeps its size for life. Where the pinned denylists or the filter have another size than the options
//! ask for, new ones are made, with a copy of the settings, because the number of filter lines in use belongs to
//! the filter. All other maps (prefixes, allowlist, budgets, counters) are shared by both programs and not touched.

use std::{
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData};
use gateway_common::{
    KernelPod,
    denylist::DenyValue,
    maps::{self, Spec},
    settings::Settings,
};

use super::{
    Error, clock, pins,
    staged::{Staged, check_room, discard},
    syscall::{open_pin, update_batch},
    walk::Walk,
    wire::Wire,
};

/// The maps that are made anew.
const REPLACED: [&str; 4] = [maps::SETTINGS.name, maps::DENY4.name, maps::DENY6.name, maps::FILTER.name];
/// Entries that are written in one call.
const BATCH: usize = 4096;

type Rows<K> = (Vec<K>, Vec<DenyValue>);

/// A change of capacity that is under way.
pub struct Resize {
    staged: Staged,
    sources4: Rows<[u8; 4]>,
    networks6: Rows<[u8; 8]>,
    settings: Option<Settings>,
}

impl Resize {
    /// Compares the pinned maps with what is needed, and reads what has to move. `None` if every map fits.
    ///
    /// # Errors
    /// [`Error::Capacity`] if there is not enough room for what is in force, [`Error::PinMismatch`] if a map
    /// differs in more than its size.
    pub fn prepare(directory: &Path, specs: &[Spec]) -> Result<Option<Self>, Error> {
        discard(directory)?;
        let mut differs = false;
        for spec in specs {
            match pins::check(directory, spec) {
                Err(Error::PinMismatch { what: "capacity", .. }) if REPLACED.contains(&spec.name) => {
                    differs = true;
                }
                checked => drop(checked?),
            }
        }
        if !differs {
            return Ok(None);
        }
        let sources4 = live(&directory.join(maps::DENY4.name), maps::DENY4)?;
        let networks6 = live(&directory.join(maps::DENY6.name), maps::DENY6)?;
        let settings = settings(&directory.join(maps::SETTINGS.name))?;
        check_room(specs, sources4.0.len(), networks6.0.len())?;
        let staged = Staged::begin(directory, REPLACED.to_vec())?;
        Ok(Some(Self { staged, sources4, networks6, settings }))
    }

    /// Where the map of the new program is pinned until [`Resize::finish`].
    pub fn pin_of(&self, spec: &Spec) -> PathBuf {
        self.staged.pin_of(spec)
    }

    /// Fills the new maps, which have been made meanwhile. The filter is written by its owner.
    pub fn fill(&self) -> Result<(), Error> {
        write(&self.staged, maps::DENY4, &self.sources4)?;
        write(&self.staged, maps::DENY6, &self.networks6)?;
        let Some(settings) = self.settings else { return Ok(()) };
        let failed = |error| Error::map("write", maps::SETTINGS.name, error);
        let data = MapData::from_pin(self.staged.pin_of(&maps::SETTINGS)).map_err(failed)?;
        let mut map: Array<_, Wire<Settings>> = Map::Array(data).try_into().map_err(failed)?;
        map.set(0, Wire(settings), 0).map_err(failed)
    }

    /// Puts the new pins in the place of the old: the new program is attached.
    pub fn finish(self) -> Result<(), Error> {
        self.staged.finish()
    }
}

/// The entries of a pinned denylist whose lease still runs; none if there is no such pin.
fn live<const K: usize>(pin: &Path, spec: Spec) -> Result<Rows<[u8; K]>, Error> {
    let failed = |source| Error::Map { doing: "read", map: spec.name, source };
    if !pin.exists() {
        return Ok((Vec::new(), Vec::new()));
    }
    let map = open_pin(pin).map_err(failed)?;
    let now_ns = clock::monotonic_ns();
    let mut all: Vec<([u8; K], DenyValue)> = Walk::all(map.as_fd()).map_err(failed)?;
    all.retain(|(_, value)| value.is_live(now_ns));
    Ok(all.into_iter().unzip())
}

fn settings(pin: &Path) -> Result<Option<Settings>, Error> {
    let failed = |error| Error::map("read", maps::SETTINGS.name, error);
    if !pin.exists() {
        return Ok(None);
    }
    let data = MapData::from_pin(pin).map_err(failed)?;
    let map: Array<_, Wire<Settings>> = Map::Array(data).try_into().map_err(failed)?;
    map.get(&0, 0).map(|Wire(settings)| Some(settings)).map_err(failed)
}

fn write<K: KernelPod>(staged: &Staged, spec: Spec, (keys, values): &Rows<K>) -> Result<(), Error> {
    let data =
        MapData::from_pin(staged.pin_of(&spec)).map_err(|error| Error::map("open", spec.name, error))?;
    for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
        update_batch(data.fd().as_fd(), keys, values).map_err(|source| Error::Map {
            doing: "add the entries of the old map to",
            map: spec.name,
            source,
        })?;
    }
    Ok(())
}
