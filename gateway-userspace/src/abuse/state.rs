//! The state file: what must survive a restart and a reboot, as one JSON line for each thing that happened.
//!
//! **When it is on disk.** A line is written when the thing happens, so a crash of the process loses nothing. It is
//! flushed to the disk (`fdatasync`) before an operator's command is answered and otherwise within a second, so a power
//! cut loses at most the last second of bans by rule.
//! **Damage.** A last line that is not whole is cut off; a line in the middle that cannot be read is skipped. Either is
//! reported, the file as it was found is kept beside it as `bans.log.damaged`, and a clean one takes its place.
//! **Size.** When the file is over 1 MiB and more than twice as large as after the last rewriting, it is written anew
//! from the live state, and put in place by a rename. Expiries are by the wall clock: the monotonic one begins anew at
//! a reboot. A lock on the file keeps a second gateway away from it.

mod outline;
mod reread;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ban::{By, Enforced, State};
use super::crowd::Others;
use super::harm::Harm;
use super::lists::Counts;
use super::parole::Parole;
use super::receipt::RuleAtBan;
use super::signal::Evidence;
use super::target::Target;

pub use outline::{Outline, Written};
pub use reread::{Reread, Upto};

/// Longest line: a ban with its evidence needs about 45 KiB with the longest texts.
const LINE_BYTES_MAX: usize = 256 << 10;
/// Below this a file is not rewritten.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first line: the file's version, the id that the next ban gets, and the number of the last suppression.
    Begin {
        version: u32,
        next_id: u32,
        #[serde(default)]
        suppressions: u32,
    },
    /// A ban, in force unless an [`Record::End`] follows.
    Ban(Box<BanRecord>),
    /// A ban's end.
    End {
        id: u32,
        state: State,
        at_ms: u64,
        packets: u64,
        bytes: u64,
        #[serde(default)]
        syns: u64,
    },
    /// What a shadow ban would have done in an hour of Unix time, all of it; without a ban, what those of the rule, or
    /// those by hand, would have that are over. `seen` is what the kernel had counted by then.
    Harm {
        ban: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<Arc<str>>,
        hour: u64,
        #[serde(flatten)]
        harm: Harm,
        seen_packets: u64,
        seen_bytes: u64,
    },
    /// What a shadow ban only counted until here it drops from here on.
    Promoted { id: u32 },
    /// A ban's client was refused on parole: it lasts from `at_ms` on.
    Renew { id: u32, at_ms: u64, until_ms: u64, offence: u32 },
    /// An operator allowed a prefix …
    Allow { prefix: IpNet },
    /// … or took it off the list.
    Disallow { prefix: IpNet },
    /// A rule bans somebody no more until then …
    Suppress {
        number: u32,
        rule: String,
        #[serde(flatten)]
        target: Target,
        until_ms: u64,
    },
    /// … or does again.
    Unsuppress { number: u32 },
    /// A list of addresses that somebody else keeps, as it was told last …
    List(Box<ListRecord>),
    /// … and that it is gone.
    Unlist { name: Arc<str> },
    /// Who was banned by rule so many times, the last of which ends at `until_ms`.
    Offender {
        #[serde(flatten)]
        target: Target,
        count: u32,
        until_ms: u64,
    },
}

/// A list without its addresses, which are in a file of their own. Times are milliseconds of Unix time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListRecord {
    pub name: Arc<str>,
    pub id: u32,
    pub source: Box<str>,
    pub format: Box<str>,
    pub is_configured: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observe: bool,
    pub told_ms: Option<u64>,
    pub until_ms: Option<u64>,
    #[serde(flatten)]
    pub counts: Counts,
}

/// A ban as it was made. Times are milliseconds of Unix time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BanRecord {
    pub id: u32,
    #[serde(flatten)]
    pub target: Target,
    pub reason: Box<str>,
    pub by: By,
    pub enforced: Enforced,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    pub since_ms: u64,
    pub until_ms: Option<u64>,
    pub offence: u32,
    pub latency_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parole: Option<Parole>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleAtBan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
    #[serde(default, skip_serializing_if = "<[u32]>::is_empty")]
    pub derived_from: Box<[u32]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// The version of the file that this code writes. It reads the first one too, which knew bans of prefixes only.
pub const VERSION: u32 = 2;

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder.
    #[error("cannot {what} {path}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    /// Another process has it.
    #[error("{path} is in use by another gateway")]
    InUse { path: PathBuf },
    /// Written by a later release.
    #[error("{path} has version {found}, and this release reads up to version {VERSION}")]
    TooNew { path: PathBuf, found: u32 },
}

impl Error {
    /// Whether this user may not keep a file there at all: no permission, or nothing can be written.
    pub fn is_unwritable(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, Error::File { source, .. } if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem))
    }
}

/// What was wrong with the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// Bytes cut off its end.
    pub cut_bytes: u64,
    /// Lines in the middle that could not be read.
    pub lines_skipped: u64,
}

impl Damage {
    /// Whether there was any.
    pub fn any(&self) -> bool {
        *self != Damage::default()
    }
}

/// The open file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    compacted_length: u64,
    unsynced: bool,
    /// How often another file has taken its place.
    rewritten: u64,
}

impl Journal {
    /// Opens or creates `bans.log` in the folder, which is created too, and reads it.
    pub fn open(folder: &Path) -> Result<(Journal, Vec<Record>, Damage), Error> {
        let path = folder.join("bans.log");
        let failed = |what| {
            let path = path.clone();
            move |source| Error::File { what, path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed("create the folder of"))?;
        let file = open_file(&path).map_err(failed("open"))?;
        lock(&file, &path)?;
        let (records, length, damage) = read(&file).map_err(failed("read"))?;
        let too_new = |record: &Record| match record {
            Record::Begin { version, .. } if *version > VERSION => Some(*version),
            _ => None,
        };
        if let Some(found) = records.iter().find_map(too_new) {
            return Err(Error::TooNew { path, found });
        }
        let mut journal =
            Journal { path: path.clone(), file, length, compacted_length: 0, unsynced: false, rewritten: 0 };
        if damage.any() {
            let beside = path.with_extension("log.damaged");
            std::fs::copy(&path, &beside).map_err(failed("keep a copy of"))?;
            journal.file.set_len(length).map_err(failed("cut"))?;
        }
        journal.file.seek(SeekFrom::Start(length)).map_err(failed("read"))?;
        Ok((journal, records, damage))
    }

    /// Adds a line. After an error the file holds whole lines only, and the next line is tried again.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let line = line(record);
        let written = self.file.write_all(&line);
        if written.is_err() {
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
        }
        written.map_err(self.failed("write"))?;
        self.length += line.len() as u64;
        self.unsynced = true;
        Ok(())
    }

    /// Opens the file by its name once more, for whoever reads beside this one what stands in it.
    pub fn reread(&self) -> Result<Reread, Error> {
        let file = File::open(&self.path).map_err(self.failed("read"))?;
        Ok(Reread::new(file, self.path.clone(), self.rewritten))
    }

    /// Brings what was written to the disk.
    pub fn sync(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data().map_err(self.failed("flush"))?;
        }
        Ok(())
    }

    /// Whether most of the file is history.
    pub fn wants_compaction(&self) -> bool {
        self.length > COMPACT_BYTES_MIN && self.length > 2 * self.compacted_length
    }

    /// Replaces the file by one with these lines. On an error the old one stays in use.
    pub fn compact(&mut self, records: impl Iterator<Item = Record>) -> Result<(), Error> {
        let fresh_path = self.path.with_extension("log.new");
        let write = || -> io::Result<(File, u64)> {
            match std::fs::remove_file(&fresh_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let fresh = open_file(&fresh_path)?;
            // Locked before it has the name that others look for.
            if !crate::lock::take(&fresh)? {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            let mut writer = io::BufWriter::with_capacity(64 << 10, &fresh);
            let mut length = 0;
            for record in records {
                let line = line(&record);
                writer.write_all(&line)?;
                length += line.len() as u64;
            }
            writer.flush()?;
            drop(writer);
            fresh.sync_all()?;
            std::fs::rename(&fresh_path, &self.path)?;
            Ok((fresh, length))
        };
        let (fresh, length) = write().map_err(self.failed("rewrite"))?;
        // From the rename on this is the file: a line added to the old one would be lost with it.
        (self.file, self.length, self.compacted_length, self.unsynced) = (fresh, length, length, false);
        self.rewritten += 1;
        let Some(folder) = self.path.parent() else { return Ok(()) };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(self.failed("flush the folder of"))
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::File { what, path, source }
    }
}

/// Milliseconds of Unix time; 0 before 1970.
pub fn to_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The reverse of [`to_ms`]; what is beyond the clock's range is the year 9999.
pub fn from_ms(ms: u64) -> SystemTime {
    const YEAR_9999_MS: u64 = 253_370_764_800_000;
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(ms.min(YEAR_9999_MS))
}

fn open_file(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .custom_flags(no_follow)
        .open(path)
}

fn lock(file: &File, path: &Path) -> Result<(), Error> {
    match crate::lock::take(file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::InUse { path: path.into() }),
        Err(source) => Err(Error::File { what: "lock", path: path.into(), source }),
    }
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("records have string keys and finite numbers");
    line.push(b'\n');
    line
}

/// All records, the length of the whole lines, and what was wrong.
fn read(file: &File) -> io::Result<(Vec<Record>, u64, Damage)> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut records = Vec::new();
    let mut damage = Damage::default();
    let mut length = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let taken = read_line(&mut reader, &mut line)?;
        if taken == 0 {
            return Ok((records, length, damage));
        }
        if line.last() != Some(&b'\n') {
            damage.cut_bytes = taken;
            return Ok((records, length, damage));
        }
        length += taken;
        match serde_json::from_slice(&line) {
            Ok(record) => records.push(record),
            Err(_) => damage.lines_skipped += 1,
        }
    }
}

/// Reads to the next newline, keeps the line's first [`LINE_BYTES_MAX`] bytes and its newline; how many bytes it had.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        if end.is_some() && part.len() > room {
            line.push(b'\n');
        }
        let count = part.len();
        taken += count as u64;
        reader.consume(count);
        if end.is_some() || count == 0 {
            return Ok(taken);
        }
    }
}

#[cfg(test)]
mod tests;
