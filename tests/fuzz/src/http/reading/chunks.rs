//! Bodies.

use super::{Field, Lines, Stop, fields, is_text};
use crate::http::difference::Why;

/// Most bytes of extensions and trailers of a body, of padding after a size, and digits of a size.
const OVERHEAD_MAX: usize = 16 << 10;
const PADDING_MAX: usize = 16;
const DIGITS_MAX: usize = 16;

/// A body in these bytes.
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    data: Vec<u8>,
    overhead: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes, at: 0, data: Vec::new(), overhead: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// So many bytes of data.
    pub(super) fn data(&mut self, length: u64) -> Result<(), Stop> {
        let rest = &self.bytes[self.at..];
        let here = usize::try_from(length).map_or(rest.len(), |length| length.min(rest.len()));
        self.data.extend_from_slice(&rest[..here]);
        self.at += here;
        if here as u64 == length { Ok(()) } else { Err(Stop::Partial) }
    }

    /// Chunks, and the trailers after them.
    pub(super) fn chunks(&mut self) -> Result<Vec<Field>, Stop> {
        loop {
            let size = self.size()?;
            if size == 0 {
                return self.trailers();
            }
            self.data(size)?;
            self.line_end()?;
        }
    }

    /// The line before a chunk.
    fn size(&mut self) -> Result<u64, Stop> {
        let digits = self.count(|byte| byte.is_ascii_hexdigit());
        let text = self.take(digits);
        if digits == 0 {
            return Err(if self.at == self.bytes.len() { Stop::Partial } else { Stop::Refused(Why::Chunk) });
        }
        if digits > DIGITS_MAX {
            // Zeros before what fits.
            let zeros = text.iter().take_while(|byte| **byte == b'0').count();
            return Err(Stop::Refused(if digits - zeros > DIGITS_MAX {
                Why::Chunk
            } else {
                Why::ChunkZeros
            }));
        }
        let size = text.iter().fold(0, |size, digit| {
            size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or_default())
        });
        let padding = self.count(|byte| matches!(byte, b' ' | b'\t'));
        self.at += padding;
        if padding > PADDING_MAX {
            return Err(Stop::Refused(Why::ChunkPadding));
        }
        if self.bytes.get(self.at) == Some(&b';') {
            self.at += 1;
            let extension = self.count(is_text);
            self.at += extension;
            self.spend(extension)?;
            match self.bytes.get(self.at) {
                Some(b'\r' | b'\n') | None => {}
                Some(_) => return Err(Stop::Refused(Why::ChunkExtension)),
            }
        }
        self.line_end().map(|()| size)
    }

    fn trailers(&mut self) -> Result<Vec<Field>, Stop> {
        let from = self.at;
        let mut lines = Lines { bytes: self.bytes, at: from, alone: false };
        let found = fields(&mut lines);
        let end = if found == Err(Stop::Partial) { self.bytes.len() } else { lines.at };
        if lines.alone || end == self.bytes.len() && self.has_lf_alone(from) {
            return Err(Stop::Refused(Why::TrailerLineEnd));
        }
        self.at = end;
        self.spend(end - from)?;
        found
    }

    fn has_lf_alone(&self, from: usize) -> bool {
        let rest = &self.bytes[from..];
        rest.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || rest[at - 1] != b'\r'))
    }

    fn line_end(&mut self) -> Result<(), Stop> {
        match self.bytes[self.at..] {
            [b'\r', b'\n', ..] => {
                self.at += 2;
                Ok(())
            }
            [] | [b'\r'] => Err(Stop::Partial),
            _ => Err(Stop::Refused(Why::Chunk)),
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.overhead += bytes;
        if self.overhead > OVERHEAD_MAX { Err(Stop::Refused(Why::Overhead)) } else { Ok(()) }
    }

    fn count(&self, is: impl Fn(u8) -> bool) -> usize {
        self.bytes[self.at..].iter().take_while(|byte| is(**byte)).count()
    }

    fn take(&mut self, bytes: usize) -> &'b [u8] {
        let taken = &self.bytes[self.at..self.at + bytes];
        self.at += bytes;
        taken
    }
}
