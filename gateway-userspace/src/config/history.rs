//! The configurations that were in force, so that an operator can look at them and go back to one.
//!
//! One file for each, `NUMBER.json` in `history/` of the state folder, for nobody but the gateway's own user to read:
//! it holds the users' own texts, with variables as they wrote them, and whatever secrets they wrote out. What a
//! setting reads from elsewhere (`file:`, `cred:`, certificates, variables) is not in it.
//!
//! **When it is on disk.** An entry is written to a file of its own, flushed and renamed, so there is never half of
//! one. **Limits.** 32 entries and 64 MiB, of which the oldest go first, but never the one in force and the one before
//! it; a configuration of more than 16 MiB is not kept.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::files::{self, Files, Fingerprint};

/// Most entries.
pub const ENTRIES_MAX: usize = 32;
/// Most bytes of all texts together.
const BYTES_MAX: usize = 64 << 20;
/// Most bytes of one entry's texts.
const ENTRY_BYTES_MAX: usize = 16 << 20;
/// Entries that stay however large they are: the one in force, and the one to go back to.
const ENTRIES_MIN: usize = 2;
/// Most differences that an entry names.
const CHANGES_MAX: usize = 1000;
/// The version of the files that this code writes.
const VERSION: u32 = 1;

/// Who changed the configuration, how and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// `uid 1000 (alice)`, `SIGHUP`, `start`.
    pub who: String,
    /// `start`, `reload`, `apply`, `rollback`, or another command's name.
    pub verb: String,
    /// What the user said about it; may be empty.
    pub why: String,
    /// Whether a certificate is all that is known of them.
    pub is_remote: bool,
}

impl Author {
    /// Of this machine, with nothing said about it.
    pub fn new(who: impl Into<String>, verb: impl Into<String>) -> Author {
        Author { who: who.into(), verb: verb.into(), why: String::new(), is_remote: false }
    }
}

/// One configuration, without its texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1; never used twice.
    pub number: u64,
    /// When it came into force, or was put by.
    #[serde(with = "crate::observe::timestamp")]
    pub at: SystemTime,
    /// Who did it.
    pub who: String,
    /// By which command.
    pub verb: String,
    /// What for.
    pub why: String,
    /// Whether it was in force. What an operator had written and not yet reloaded when a command replaced it is put by
    /// too, and was not.
    pub was_in_force: bool,
    /// Of all its files.
    pub fingerprint: Fingerprint,
    /// Bytes of its texts.
    pub bytes: usize,
    /// How it differs from what was in force before, as `portcullis diff` says it.
    pub changes: Vec<String>,
}

/// As it is on the disk.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    version: u32,
    entry: Entry,
    files: T,
}

#[derive(Serialize, Deserialize)]
struct StoredFile {
    path: PathBuf,
    text: String,
}

/// Why the history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system.
    #[error("cannot {what} the history of configurations in {}", path.display())]
    System {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// No such entry, or no longer.
    #[error("the history has no number {0}; `portcullis history` lists what there is")]
    Unknown(u64),
    /// There is only one.
    #[error("there is no earlier configuration to go back to")]
    NothingBefore,
    /// Not kept.
    #[error("the configuration has {0} bytes, and no more than 16 MiB are kept")]
    TooLarge(usize),
    /// Written by a later release.
    #[error("{} was written by a later release", .0.display())]
    TooNew(PathBuf),
    /// Not what was written.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
}

/// All of it; the texts stay on the disk.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    /// Oldest first.
    entries: VecDeque<Entry>,
}

impl History {
    /// Opens or creates the history in a state folder. Files that cannot be read are named, and left alone.
    pub fn open(state: &Path) -> Result<(History, Vec<Error>), Error> {
        let folder = state.join("history");
        let failed = |what| failed(what, &folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed("create"))?;
        let mut entries = Vec::new();
        let mut unreadable = Vec::new();
        for found in fs::read_dir(&folder).map_err(failed("read"))? {
            let path = found.map_err(failed("read"))?.path();
            if numbered(&path).is_none() {
                // What a process that died was about to write.
                if path.extension().is_some_and(|ending| ending == "new") {
                    fs::remove_file(&path).map_err(failed("tidy"))?;
                }
                continue;
            }
            match read::<serde::de::IgnoredAny>(&path) {
                Ok(stored) => entries.push(stored.entry),
                Err(error) => unreadable.push(error),
            }
        }
        entries.sort_by_key(|entry| entry.number);
        Ok((History { folder, entries: entries.into() }, unreadable))
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// The newest that came into force.
    pub fn newest(&self) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.was_in_force)
    }

    /// The one that was in force before the newest.
    pub fn before(&self) -> Result<&Entry, Error> {
        let newest = self.newest().ok_or(Error::NothingBefore)?;
        let before = self.entries.iter().rev().find(|entry| {
            entry.was_in_force && entry.number < newest.number && entry.fingerprint != newest.fingerprint
        });
        before.ok_or(Error::NothingBefore)
    }

    /// One entry.
    pub fn get(&self, number: u64) -> Result<&Entry, Error> {
        self.entries.iter().find(|entry| entry.number == number).ok_or(Error::Unknown(number))
    }

    /// The texts of an entry.
    pub fn files(&self, number: u64) -> Result<Files, Error> {
        self.get(number)?;
        let path = self.path(number);
        let stored: Stored<Vec<StoredFile>> = read(&path)?;
        let files = stored.files.into_iter();
        let files = Files::new(
            files.map(|StoredFile { path, text }| files::File { path, text: text.into() }).collect(),
        );
        if files.fingerprint() != stored.entry.fingerprint { Err(Error::Damaged(path)) } else { Ok(files) }
    }

    /// Writes down that these files are in force since now; its number. Files that are so already are not written
    /// down again.
    pub fn add(
        &mut self,
        files: &Files,
        author: &Author,
        changes: &[String],
        now: SystemTime,
    ) -> Result<u64, Error> {
        let fingerprint = files.fingerprint();
        match self.newest() {
            Some(newest) if newest.fingerprint == fingerprint => Ok(newest.number),
            _ => self.write(files, fingerprint, author, changes, true, now),
        }
    }

    /// Puts by what is about to be overwritten and was not in force, unless the history has it.
    pub fn put_by(&mut self, files: &Files, author: &Author, now: SystemTime) -> Result<(), Error> {
        let fingerprint = files.fingerprint();
        if self.entries.iter().all(|entry| entry.fingerprint != fingerprint) {
            self.write(files, fingerprint, author, &[], false, now)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        files: &Files,
        fingerprint: Fingerprint,
        author: &Author,
        changes: &[String],
        was_in_force: bool,
        now: SystemTime,
    ) -> Result<u64, Error> {
        let bytes = files.bytes();
        if bytes > ENTRY_BYTES_MAX {
            return Err(Error::TooLarge(bytes));
        }
        let Author { who, verb, why, is_remote: _ } = author.clone();
        let mut shown = changes[..changes.len().min(CHANGES_MAX)].to_vec();
        if changes.len() > CHANGES_MAX {
            shown.push(format!("… and {} more", changes.len() - CHANGES_MAX));
        }
        let number = self.next_number().map_err(failed("read", &self.folder))?;
        let entry =
            Entry { number, at: now, who, verb, why, was_in_force, fingerprint, bytes, changes: shown };
        let stored_files = files.iter();
        let stored_files: Vec<_> = stored_files
            .map(|file| StoredFile { path: file.path.clone(), text: file.text.to_string() })
            .collect();
        let stored = Stored { version: VERSION, entry: entry.clone(), files: stored_files };
        let path = self.path(number);
        write(&path, &stored).map_err(failed("write", &self.folder))?;
        self.entries.push_back(entry);
        self.forget_oldest();
        Ok(number)
    }

    /// Behind every number on the disk, readable or not.
    fn next_number(&self) -> io::Result<u64> {
        let mut last = self.entries.back().map_or(0, |entry| entry.number);
        for found in fs::read_dir(&self.folder)? {
            last = last.max(numbered(&found?.path()).unwrap_or(0));
        }
        Ok(last + 1)
    }

    fn forget_oldest(&mut self) {
        let over = |entries: &VecDeque<Entry>| {
            let bytes: usize = entries.iter().map(|entry| entry.bytes).sum();
            entries.len() > ENTRIES_MAX || (entries.len() > ENTRIES_MIN && bytes > BYTES_MAX)
        };
        while over(&self.entries) {
            let Some(oldest) = self.entries.pop_front() else { return };
            if let Err(error) = fs::remove_file(self.path(oldest.number)) {
                tracing::warn!(%error, number = oldest.number, "an old configuration could not be removed");
            }
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.json"))
    }
}

fn numbered(path: &Path) -> Option<u64> {
    let number = path.file_name()?.to_str()?.strip_suffix(".json")?;
    number.parse().ok()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Stored<T>, Error> {
    /// What every release can read.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let json = fs::read(path).map_err(failed("read", path))?;
    match serde_json::from_slice::<Versioned>(&json) {
        Ok(Versioned { version }) if version > VERSION => return Err(Error::TooNew(path.to_owned())),
        Ok(_) => {}
        Err(_) => return Err(Error::Damaged(path.to_owned())),
    }
    serde_json::from_slice(&json).map_err(|_| Error::Damaged(path.to_owned()))
}

fn write<T: Serialize>(path: &Path, stored: &Stored<T>) -> io::Result<()> {
    let json = serde_json::to_vec(stored)?;
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&json)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::System { what, path: path.clone(), source }
}

#[cfg(test)]
mod tests;
