//! What stands in the state file, read beside the one who writes it: most of it by another thread, the last lines by the
//! writer itself, who knows then that nothing is missing.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::{Damage, Error, Journal, Outline, Record, read_line};

/// Bytes that the writer itself reads at most.
const TAIL_BYTES_MAX: u64 = 256 << 10;

/// A file that is being read.
#[derive(Debug)]
pub struct Reread {
    file: File,
    path: PathBuf,
    /// Which of the journal's files it is.
    rewritten: u64,
    /// Bytes that have been read, and those that there were when it was last looked.
    position: u64,
    end: u64,
    /// What it says as far as it has been read.
    pub outline: Outline,
    /// Lines that could be read.
    pub lines: usize,
    /// What was wrong with others.
    pub damage: Damage,
}

/// How a reading stands that the writer has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upto {
    /// All has been read.
    Date,
    /// There is more than the writer would read: [`Reread::read`], then look again.
    Behind,
    /// Another file has taken the place of this one.
    Replaced,
}

impl Reread {
    pub(super) fn new(file: File, path: PathBuf, rewritten: u64) -> Reread {
        let (outline, damage) = (Outline::default(), Damage::default());
        Reread { file, path, rewritten, position: 0, end: 0, outline, lines: 0, damage }
    }

    /// Brings the reading up to the last line, if that is not far. For the thread that writes the file.
    pub fn catch_up(&mut self, journal: &Journal) -> Result<Upto, Error> {
        if journal.rewritten != self.rewritten {
            return Ok(Upto::Replaced);
        }
        let metadata = self.file.metadata();
        self.end = metadata.map_err(|source| self.failed(source))?.len();
        if self.end.saturating_sub(self.position) > TAIL_BYTES_MAX {
            return Ok(Upto::Behind);
        }
        self.read()?;
        Ok(Upto::Date)
    }

    /// Reads on to where the file ended when it was last looked.
    pub fn read(&mut self) -> Result<(), Error> {
        self.read_on().map_err(|source| self.failed(source))
    }

    fn read_on(&mut self) -> io::Result<()> {
        let rest = self.end.saturating_sub(self.position);
        if rest == 0 {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(self.position))?;
        let mut reader = BufReader::with_capacity(64 << 10, (&self.file).take(rest));
        let mut line = Vec::new();
        loop {
            line.clear();
            let taken = read_line(&mut reader, &mut line)?;
            if taken == 0 {
                return Ok(());
            }
            self.position += taken;
            if line.last() != Some(&b'\n') {
                self.damage.cut_bytes += taken;
                return Ok(());
            }
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) => {
                    self.lines += 1;
                    self.outline.add(record);
                }
                Err(_) => self.damage.lines_skipped += 1,
            }
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::File { what: "read", path: self.path.clone(), source }
    }
}
