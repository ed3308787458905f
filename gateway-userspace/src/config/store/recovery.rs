//! The note of a change under way, and what is done at a start that finds one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Error, Move, Note, current, failed, flush_folder, real, remove};

/// What became of a change that a process did not finish.
#[derive(Debug, PartialEq, Eq)]
pub enum Recovered {
    /// There was none.
    Nothing,
    /// No file had been touched yet, or each had been put back already.
    Untouched,
    /// These files are again what they were before it.
    PutBack(Vec<PathBuf>),
    /// These have been written to since, or their old content is gone; nothing was touched. What is left of the old
    /// ones lies beside them as `.NAME.old`.
    LeftAlone(Vec<PathBuf>),
}

/// Where the note lies: beside the main file, for where else to look stands in the files that it is about.
pub fn note_path(main: &Path) -> PathBuf {
    let main = real(main);
    let name = main.file_name().unwrap_or_default().to_string_lossy();
    main.with_file_name(format!(".{name}.change"))
}

/// Writes the note, and holds it locked.
pub fn note(path: &Path, note: &Note) -> Result<File, Error> {
    let mut file = open(path, true)?;
    if !crate::lock::take(&file).map_err(failed("lock", path))? {
        return Err(Error::Busy(path.to_owned()));
    }
    let json = serde_json::to_vec(note).map_err(|error| failed("write", path)(error.into()))?;
    // What is there is a note that nobody holds, which a start would have done away with.
    let written = file.set_len(0).and_then(|()| file.write_all(&json)).and_then(|()| file.sync_all());
    if let Err(error) = written {
        remove(path)?;
        return Err(failed("write", path)(error));
    }
    flush_folder(path)?;
    Ok(file)
}

/// Puts back what an unfinished change left behind. To be called before the configuration is read.
pub fn recover(main: &Path) -> Result<Recovered, Error> {
    let path = note_path(main);
    let mut file = match open(&path, false) {
        Err(Error::System { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(Recovered::Nothing);
        }
        file => file?,
    };
    if !crate::lock::take(&file).map_err(failed("lock", &path))? {
        return Err(Error::Busy(path));
    }
    let mut json = Vec::new();
    file.read_to_end(&mut json).map_err(failed("read", &path))?;
    // A note that is not whole was never followed: it is flushed before the first step.
    let result = match serde_json::from_slice::<Note>(&json) {
        Ok(note) => put_back(&note)?,
        Err(_) => Recovered::Untouched,
    };
    remove(&path)?;
    flush_folder(&path)?;
    Ok(result)
}

fn put_back(note: &Note) -> Result<Recovered, Error> {
    let mut back: Vec<&Move> = Vec::new();
    let mut foreign = Vec::new();
    for step in &note.moves {
        let now = current(&step.path)?;
        if now.fingerprint() == step.before.as_ref() {
            continue;
        }
        let old = current(&step.beside("old"))?;
        match now.fingerprint() == step.after.as_ref() && old.fingerprint() == step.before.as_ref() {
            true => back.push(step),
            false => foreign.push(step.path.clone()),
        }
    }
    if !foreign.is_empty() {
        return Ok(Recovered::LeftAlone(foreign));
    }
    for step in &back {
        step.go_back()?;
    }
    note.moves.iter().for_each(Move::tidy);
    match back.is_empty() {
        true => Ok(Recovered::Untouched),
        false => Ok(Recovered::PutBack(back.into_iter().map(|step| step.path.clone()).collect())),
    }
}

fn open(path: &Path, create: bool) -> Result<File, Error> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false).mode(0o600).custom_flags(no_follow);
    options.open(path).map_err(failed("open", path))
}
