//! Writing the files of a configuration: all of a change, or nothing of it.
//!
//! Each new text goes to a file of its own beside the old one (`.NAME.new`), is flushed, and is renamed over it; the
//! old file stays as `.NAME.old` until the change is in force, so that going back needs neither space nor permission
//! that going on did not need. Before the first rename a note (`.MAIN.change`) says what is under way. A process that
//! dies leaves the note: [`recover`] finds it at the next start and puts back what was there, unless somebody has
//! written to one of the files since.
//!
//! **Kept**: owner, group and mode; a symbolic link is followed, and stays. Access control lists and extended
//! attributes of a replaced file are not carried over.
//! **Refused**: a file that is not what the caller saw, a file that belongs to no configuration, an owner that cannot
//! be kept.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};
use serde::{Deserialize, Serialize};

use super::files::{self, Files, Fingerprint};
use super::overlay::{Overlay, real};
use super::read::DROP_INS;

mod recovery;

pub use recovery::{Recovered, recover};

/// One file that is to become another.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Which; relative to the folder of the main file.
    pub path: PathBuf,
    /// What the caller believes is there now.
    pub expected: Expected,
    /// Its new content; none: it is removed.
    pub text: Option<String>,
}

/// What the caller believes that a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Any,
    /// There is none.
    Absent,
    /// Its content has this fingerprint.
    Is(Fingerprint),
}

impl Edit {
    /// An edit of a file that is to be as it was found.
    pub fn of(found: &Files, path: PathBuf, text: Option<String>) -> Edit {
        let expected = match found.iter().find(|file| file.path == path) {
            Some(file) => Expected::Is(Fingerprint::of(file.text.as_bytes())),
            None => Expected::Absent,
        };
        Edit { path, expected, text }
    }
}

/// Why nothing was written, or why what was written could not be taken back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The optimistic lock.
    #[error("{} was changed by somebody else in the meantime; look at it again", .0.display())]
    Changed(PathBuf),
    /// Not a file that a configuration is made of.
    #[error(
        "{} is no file of this configuration: those are the main file, conf.d/*.toml beside it, and what they include",
        .0.display()
    )]
    NotPart(PathBuf),
    /// The owner would be lost.
    #[error("{} belongs to {uid}:{gid}, and this process cannot keep it so", path.display())]
    Owner { path: PathBuf, uid: u32, gid: u32 },
    /// Another process is changing the same files.
    #[error("another process is changing the configuration: it holds {}", .0.display())]
    Busy(PathBuf),
    /// The system.
    #[error("cannot {what} {}", path.display())]
    System {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether it is a matter of who came first, so that the caller should look again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Changed(_) | Error::Busy(_))
    }
}

/// The files as they would be after these edits, once every edit is permitted and sees what it expects. `known` is what
/// the configuration is made of now.
pub fn overlay(main: &Path, known: &Files, edits: &[Edit]) -> Result<Overlay, Error> {
    let mut overlay = Overlay::default();
    for edit in edits {
        let path = files::folder(main).join(&edit.path);
        permit(main, known, &path)?;
        current(&path)?.meets(&path, &edit.expected)?;
        overlay.lay(&path, edit.text.as_deref());
    }
    Ok(overlay)
}

/// The main file, a drop-in, or a file that is part of the configuration now.
fn permit(main: &Path, known: &Files, path: &Path) -> Result<(), Error> {
    let folder = files::folder(main);
    let file = real(path);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_drop_in = path.parent().map(real) == Some(real(&folder.join(DROP_INS)))
        && name.ends_with(".toml")
        && !name.starts_with('.');
    let is_known = || known.iter().any(|known| real(&folder.join(&known.path)) == file);
    match is_drop_in || file == real(main) || is_known() {
        true => Ok(()),
        false => Err(Error::NotPart(path.to_owned())),
    }
}

/// A file as it is.
#[derive(Debug)]
enum Current {
    Absent,
    File { fingerprint: Fingerprint, mode: u32, uid: u32, gid: u32 },
}

impl Current {
    fn meets(&self, path: &Path, expected: &Expected) -> Result<(), Error> {
        let met = match (expected, self) {
            (Expected::Any, _) | (Expected::Absent, Current::Absent) => true,
            (Expected::Is(expected), Current::File { fingerprint, .. }) => expected == fingerprint,
            _ => false,
        };
        if met { Ok(()) } else { Err(Error::Changed(path.to_owned())) }
    }

    fn fingerprint(&self) -> Option<&Fingerprint> {
        match self {
            Current::Absent => None,
            Current::File { fingerprint, .. } => Some(fingerprint),
        }
    }
}

fn current(path: &Path) -> Result<Current, Error> {
    let failed = failed("read", path);
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Current::Absent),
        Err(error) => return Err(failed(error)),
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    Ok(Current::File {
        fingerprint: Fingerprint::of(&content),
        mode: metadata.permissions().mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// The note of what is under way.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    moves: Vec<Move>,
}

/// One file's way from one content to another; none means that there is no file.
#[derive(Debug, Serialize, Deserialize)]
struct Move {
    path: PathBuf,
    before: Option<Fingerprint>,
    after: Option<Fingerprint>,
}

impl Move {
    fn beside(&self, ending: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".{name}.{ending}"))
    }

    /// Makes the new text and the way back ready.
    fn stage(&self, text: Option<&str>, current: &Current, like: &Current) -> Result<(), Error> {
        let (new, old) = (self.beside("new"), self.beside("old"));
        remove(&new)?;
        remove(&old)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir(folder).map_err(failed("make the folder", folder))?;
        }
        if current.fingerprint().is_some() && fs::hard_link(&self.path, &old).is_err() {
            // A file system without hard links.
            let kept = fs::copy(&self.path, &old).and_then(|_| fs::File::open(&old)?.sync_all());
            kept.map_err(failed("keep a copy as", &old))?;
        }
        let Some(text) = text else { return Ok(()) };
        let like = if current.fingerprint().is_some() { current } else { like };
        let (mode, owner) = match like {
            Current::File { mode, uid, gid, .. } => (*mode, Some((*uid, *gid))),
            Current::Absent => (0o640, None),
        };
        write(&new, text.as_bytes(), mode, owner)
    }

    fn go(&self) -> Result<(), Error> {
        match self.after {
            Some(_) => {
                fs::rename(self.beside("new"), &self.path).map_err(failed("put in place", &self.path))?
            }
            None => remove(&self.path)?,
        }
        flush_folder(&self.path)
    }

    fn go_back(&self) -> Result<(), Error> {
        match self.before {
            Some(_) => fs::rename(self.beside("old"), &self.path).map_err(failed("put back", &self.path))?,
            None => remove(&self.path)?,
        }
        flush_folder(&self.path)
    }

    fn tidy(&self) {
        let _ = remove(&self.beside("new"));
        let _ = remove(&self.beside("old"));
    }
}

/// Files that were written, until it is known whether they stay.
#[must_use = "a change that is neither kept nor taken back is taken back at the next start"]
#[derive(Debug)]
pub struct Put {
    note_path: PathBuf,
    note: Note,
    /// Its lock tells other processes that somebody is at work; none if there was nothing to write.
    _lock: Option<fs::File>,
}

/// Writes the edits. An edit that changes nothing writes nothing. Blocks until all is on the disk.
pub fn put(main: &Path, known: &Files, edits: &[Edit]) -> Result<Put, Error> {
    let mut note = Note { version: 1, moves: Vec::new() };
    if let Err(error) = stage(main, known, edits, &mut note.moves) {
        note.moves.iter().for_each(Move::tidy);
        return Err(error);
    }
    declare(main, note)?.go()
}

/// Makes every edit ready; after an error, `moves` says what has to be tidied up.
fn stage(main: &Path, known: &Files, edits: &[Edit], moves: &mut Vec<Move>) -> Result<(), Error> {
    let folder = files::folder(main);
    let like = current(main)?;
    for edit in edits {
        let path = folder.join(&edit.path);
        permit(main, known, &path)?;
        let current = current(&path)?;
        current.meets(&path, &edit.expected)?;
        let after = edit.text.as_ref().map(|text| Fingerprint::of(text.as_bytes()));
        if current.fingerprint() == after.as_ref() {
            continue;
        }
        moves.push(Move { path: real(&path), before: current.fingerprint().cloned(), after });
        moves[moves.len() - 1].stage(edit.text.as_deref(), &current, &like)?;
    }
    Ok(())
}

/// Writes the note down, if there is anything to do.
fn declare(main: &Path, note: Note) -> Result<Put, Error> {
    let note_path = recovery::note_path(main);
    if note.moves.is_empty() {
        return Ok(Put { note_path, note, _lock: None });
    }
    match recovery::note(&note_path, &note) {
        Ok(lock) => Ok(Put { note_path, note, _lock: Some(lock) }),
        Err(error) => {
            note.moves.iter().for_each(Move::tidy);
            Err(error)
        }
    }
}

impl Put {
    /// Takes every step, or none.
    fn go(self) -> Result<Put, Error> {
        for step in &self.note.moves {
            // Somebody may have written to it while this was made ready.
            let result =
                current(&step.path).and_then(|now| match now.fingerprint() == step.before.as_ref() {
                    true => step.go(),
                    false => Err(Error::Changed(step.path.clone())),
                });
            if let Err(error) = result {
                self.take_back()?;
                return Err(error);
            }
        }
        Ok(self)
    }

    /// Whether any file was written.
    pub fn wrote(&self) -> bool {
        !self.note.moves.is_empty()
    }

    /// It stays.
    pub fn keep(self) -> Result<(), Error> {
        if self.wrote() {
            remove(&self.note_path)?;
            flush_folder(&self.note_path)?;
            self.note.moves.iter().for_each(Move::tidy);
        }
        Ok(())
    }

    /// Puts back what was there. A file that somebody has changed meanwhile is left alone.
    pub fn take_back(self) -> Result<(), Error> {
        for step in self.note.moves.iter().rev() {
            let now = current(&step.path)?;
            if now.fingerprint() == step.after.as_ref() {
                step.go_back()?;
            }
        }
        self.keep()
    }
}

/// Puts another text in place of one file's, without a way back; owner, mode and links stay. Refused if the file is not
/// what the caller saw.
pub fn replace(path: &Path, seen: &Fingerprint, text: &str) -> Result<(), Error> {
    let now = current(path)?;
    now.meets(path, &Expected::Is(seen.clone()))?;
    let after = Some(Fingerprint::of(text.as_bytes()));
    let step = Move { path: real(path), before: now.fingerprint().cloned(), after };
    let written = step.stage(Some(text), &now, &now).and_then(|()| step.go());
    step.tidy();
    written
}

/// A new file with this content, mode and owner, flushed.
fn write(path: &Path, content: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<(), Error> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(no_follow);
    let mut file = options.open(path).map_err(failed("create", path))?;
    file.write_all(content).map_err(failed("write", path))?;
    let made = file.metadata().map_err(failed("write", path))?;
    if let Some((uid, gid)) = owner.filter(|(uid, gid)| made.uid() != *uid || made.gid() != *gid) {
        let (owner, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::fchown(&file, Some(owner), Some(group)).map_err(|_| Error::Owner {
            path: path.to_owned(),
            uid,
            gid,
        })?;
    }
    // After the owner: changing that takes set-id bits away.
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed("set the mode of", path))?;
    file.sync_all().map_err(failed("flush", path))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn flush_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush the folder", folder))
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::System { what, path: path.clone(), source }
}

#[cfg(test)]
mod tests;
