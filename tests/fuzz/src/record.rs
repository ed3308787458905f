//! The input that is tried, in a file: the kernel keeps that when the process dies of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file: eight bytes of length, then the input, then what is left of longer ones.
pub struct Record(File);

const HEAD: u64 = 8;

impl Record {
    /// # Errors
    /// If the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Record> {
        File::create(path).map(Record)
    }

    /// Writes the input that is tried next.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn note(&self, input: &[u8]) -> io::Result<()> {
        self.0.write_all_at(input, HEAD)?;
        self.0.write_all_at(&(input.len() as u64).to_le_bytes(), 0)
    }

    /// The input that was tried last.
    ///
    /// # Errors
    /// If the file cannot be read, or nothing was tried.
    pub fn last(path: &Path) -> io::Result<Vec<u8>> {
        let bytes = std::fs::read(path)?;
        let (head, rest) = bytes.split_at_checked(HEAD as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = head.try_into().map_or(0, u64::from_le_bytes) as usize;
        rest.get(..length).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_input_is_there_whole_after_a_longer_one() {
        let path = std::env::temp_dir().join(format!("portcullis-record-{}", std::process::id()));
        let record = Record::create(&path).expect("a file");
        assert!(Record::last(&path).is_err(), "nothing was tried");
        for input in [&b"a longer one"[..], b"", b"short"] {
            record.note(input).expect("written");
            assert_eq!(Record::last(&path).expect("read"), input);
        }
        std::fs::remove_file(path).expect("removed");
    }
}
