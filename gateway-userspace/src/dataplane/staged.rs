//! Maps that are made beside those in force: pinned in a directory `next`, filled there, and put in their place when
//! the program that uses them is attached.
//!
//! The old program goes on with the old maps until its links are switched to the new one, which finds every entry
//! already there. A process that dies on the way leaves the old pins, which hold every entry, and the next start
//! begins again: nobody but us writes them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gateway_common::maps::{self, Spec};

use super::{Error, pins};

/// Maps that are not in their place yet. Dropped, they are gone.
pub struct Staged {
    directory: PathBuf,
    next: PathBuf,
    /// Those that are made anew, in the order in which they are put in their place.
    names: Vec<&'static str>,
    finished: bool,
}

impl Staged {
    /// Makes the directory, which [`discard`] has cleared.
    pub fn begin(directory: &Path, names: Vec<&'static str>) -> Result<Self, Error> {
        let next = next(directory);
        fs::create_dir(&next).map_err(|source| Error::Pin {
            doing: "make the directory",
            path: next.clone(),
            source,
        })?;
        Ok(Self { directory: directory.into(), next, names, finished: false })
    }

    /// Where the map of the new program is pinned until [`Staged::finish`].
    pub fn pin_of(&self, spec: &Spec) -> PathBuf {
        let staged = self.names.contains(&spec.name);
        if staged { self.next.join(spec.name) } else { self.directory.join(spec.name) }
    }

    /// Puts the new pins in the place of the old: the new program is attached.
    pub fn finish(mut self) -> Result<(), Error> {
        for name in &self.names {
            let path = self.next.join(name);
            fs::rename(&path, self.directory.join(name)).map_err(|source| Error::Pin {
                doing: "put in its place the pin",
                path,
                source,
            })?;
        }
        self.finished = true;
        discard(&self.directory)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.finished {
            // What is left is removed by the next start.
            let _ = discard(&self.directory);
        }
    }
}

/// Removes what a change that was not finished has left below `directory`.
pub fn discard(directory: &Path) -> Result<(), Error> {
    let next = next(directory);
    for spec in maps::ALL {
        pins::remove(&next.join(spec.name))?;
    }
    // Not there, as a rule.
    let _ = fs::remove_dir(next);
    Ok(())
}

fn next(directory: &Path) -> PathBuf {
    directory.join("next")
}

/// Whether the exact lists that are asked for have room for what is in force.
///
/// # Errors
/// [`Error::Capacity`] if not.
pub fn check_room(specs: &[Spec], addresses: usize, networks: usize) -> Result<(), Error> {
    let capacity =
        |of: Spec| specs.iter().find(|spec| spec.name == of.name).map_or(0, |spec| spec.max_entries);
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
