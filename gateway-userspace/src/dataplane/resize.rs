//! Another capacity: new maps beside the old ones, filled from them, then put in their place.
//!
//! A map keeps its size for life. Where the pinned denylists or the filter have another size than the options
//! ask for, new ones are pinned in a directory `next`, with a copy of the settings, because the number of
//! filter lines in use belongs to the filter. The old program goes on with the old maps until the links are
//! switched to the new one, which finds every entry already there; only then do the new pins replace the old.
//! All other maps (prefixes, allowlist, budgets, counters) are shared by both programs and not touched.
//!
//! A process that dies on the way leaves the old pins, which hold every entry, and the next start begins
//! again: nobody but us writes them.

use std::{
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::maps::{Array, HashMap, Map, MapData};
use gateway_common::{
    KernelPod,
    denylist::{DenyValue, FOREVER},
    maps::{self, Spec},
    settings::Settings,
};

use super::{Error, clock, pins, syscall::update_batch, wire::Wire};

/// The maps that are made anew.
const REPLACED: [&str; 4] = [maps::SETTINGS.name, maps::DENY4.name, maps::DENY6.name, maps::FILTER.name];
/// Entries that are written in one call.
const BATCH: usize = 4096;

type Rows<K> = (Vec<K>, Vec<DenyValue>);

/// A change of capacity that is under way.
pub struct Resize {
    directory: PathBuf,
    next: PathBuf,
    sources4: Rows<[u8; 4]>,
    networks6: Rows<[u8; 8]>,
    settings: Option<Settings>,
    finished: bool,
}

impl Resize {
    /// Compares the pinned maps with what is needed, and reads what has to move. `None` if every map fits.
    ///
    /// # Errors
    /// [`Error::Capacity`] if there is not enough room for what is in force, [`Error::PinMismatch`] if a map
    /// differs in more than its size.
    pub fn prepare(directory: &Path, specs: &[Spec]) -> Result<Option<Self>, Error> {
        let next = directory.join("next");
        discard(&next)?;
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
        let this = Self {
            sources4: live(&directory.join(maps::DENY4.name), maps::DENY4)?,
            networks6: live(&directory.join(maps::DENY6.name), maps::DENY6)?,
            settings: settings(&directory.join(maps::SETTINGS.name))?,
            directory: directory.into(),
            next,
            finished: false,
        };
        this.check_room(specs)?;
        fs::create_dir(&this.next).map_err(|source| Error::Pin {
            doing: "make the directory",
            path: this.next.clone(),
            source,
        })?;
        Ok(Some(this))
    }

    fn check_room(&self, specs: &[Spec]) -> Result<(), Error> {
        let capacity =
            |of: Spec| specs.iter().find(|spec| spec.name == of.name).map_or(0, |spec| spec.max_entries);
        let (addresses, networks) = (self.sources4.0.len(), self.networks6.0.len());
        let (capacity4, capacity6) = (capacity(maps::DENY4), capacity(maps::DENY6));
        let too_small = |setting, capacity| Err(Error::Capacity { setting, capacity, addresses, networks });
        if addresses > capacity4 as usize || (capacity6 == capacity4 && networks > capacity6 as usize) {
            too_small("shield.capacity", capacity4)
        } else if networks > capacity6 as usize {
            too_small("shield.capacity-ipv6", capacity6)
        } else {
            Ok(())
        }
    }

    /// Where the map of the new program is pinned until [`Resize::finish`].
    pub fn pin_of(&self, spec: &Spec) -> PathBuf {
        if REPLACED.contains(&spec.name) { self.next.join(spec.name) } else { self.directory.join(spec.name) }
    }

    /// Fills the new maps, which have been made meanwhile. The filter is written by its owner.
    pub fn fill(&self) -> Result<(), Error> {
        write(&self.next, maps::DENY4, &self.sources4)?;
        write(&self.next, maps::DENY6, &self.networks6)?;
        let Some(settings) = self.settings else { return Ok(()) };
        let failed = |error| Error::map("write", maps::SETTINGS.name, error);
        let data = MapData::from_pin(self.next.join(maps::SETTINGS.name)).map_err(failed)?;
        let mut map: Array<_, Wire<Settings>> = Map::Array(data).try_into().map_err(failed)?;
        map.set(0, Wire(settings), 0).map_err(failed)
    }

    /// Puts the new pins in the place of the old: the new program is attached.
    pub fn finish(mut self) -> Result<(), Error> {
        for name in REPLACED {
            let path = self.next.join(name);
            fs::rename(&path, self.directory.join(name)).map_err(|source| Error::Pin {
                doing: "put in its place the pin",
                path,
                source,
            })?;
        }
        self.finished = true;
        discard(&self.next)
    }
}

impl Drop for Resize {
    fn drop(&mut self) {
        if !self.finished {
            // What is left is removed by the next start.
            let _ = discard(&self.next);
        }
    }
}

/// Removes what a change that was not finished has left.
fn discard(next: &Path) -> Result<(), Error> {
    for name in REPLACED {
        pins::remove(&next.join(name))?;
    }
    // Not there, as a rule.
    let _ = fs::remove_dir(next);
    Ok(())
}

/// The entries of a pinned denylist whose lease still runs; none if there is no such pin.
fn live<K: aya::Pod>(pin: &Path, spec: Spec) -> Result<Rows<K>, Error> {
    let failed = |error| Error::map("read", spec.name, error);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    if !pin.exists() {
        return Ok((keys, values));
    }
    let data = MapData::from_pin(pin).map_err(failed)?;
    let map: HashMap<_, K, Wire<DenyValue>> = Map::HashMap(data).try_into().map_err(failed)?;
    let now_ns = clock::monotonic_ns();
    for item in map.iter() {
        let (key, Wire(value)) = item.map_err(failed)?;
        if value.until_ns == FOREVER || value.until_ns > now_ns {
            keys.push(key);
            values.push(value);
        }
    }
    Ok((keys, values))
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

fn write<K: KernelPod>(directory: &Path, spec: Spec, (keys, values): &Rows<K>) -> Result<(), Error> {
    let data =
        MapData::from_pin(directory.join(spec.name)).map_err(|error| Error::map("open", spec.name, error))?;
    for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
        update_batch(data.fd().as_fd(), keys, values).map_err(|source| Error::Map {
            doing: "add the entries of the old map to",
            map: spec.name,
            source,
        })?;
    }
    Ok(())
}
