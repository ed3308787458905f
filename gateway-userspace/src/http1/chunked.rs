//! Bodies in chunks (RFC 9112 §7.1), taken apart as the bytes come.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::fields;

/// Most bytes of a body that are neither data nor sizes: chunk extensions, and the trailer section. A sender has no
/// use for more, and each costs time without bringing a body on.
pub const OVERHEAD_MAX: usize = 16 << 10;

/// Most bytes of padding after a size. Some software pads to a fixed width.
const PADDING_MAX: u8 = 16;

/// Data of fewer bytes is given together with what follows, up to so many bytes.
const LITTLE_BYTES: usize = 1 << 10;
const TOGETHER_BYTES: usize = 8 << 10;

/// A trailer section without fields.
const EMPTY_LINE: &[u8] = b"\r\n";

/// Most digits of a chunk's size: what fits into 64 bits.
const DIGITS_MAX: u8 = 16;

/// Takes a body apart.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of extensions and trailers so far.
    overhead: usize,
    /// The trailer section so far, with the empty line that ends it.
    trailers: Vec<u8>,
    /// What is wrong after the data that was given last.
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the size of a chunk.
    Size { size: u64, digits: u8 },
    /// After the size, in padding.
    Padding { size: u64, bytes: u8 },
    /// In an extension.
    Extension { size: u64 },
    /// Before the LF that ends the line of the size.
    SizeEnd { size: u64 },
    /// So many bytes of a chunk are left, 1 at least.
    Data { left: u64 },
    /// Before the CR after a chunk.
    DataEnd,
    /// Before the LF after a chunk.
    DataEndLf,
    /// After the last chunk.
    Trailers,
    /// The body has ended.
    Ended,
}

/// What comes next in a body.
#[derive(Debug)]
pub enum Piece {
    /// Data, never empty.
    Data(Bytes),
    /// The fields after the data, never none; the body has ended.
    Trailers(HeaderMap),
    /// The body has ended.
    End,
    /// All input is used up, and more is needed.
    More,
}

/// Why a body cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A size is missing, too large, or followed by something else.
    #[error("a chunk's size is not valid")]
    Size,
    /// An extension holds a control character.
    #[error("a chunk extension is not valid")]
    Extension,
    /// No CRLF where a line or chunk ends.
    #[error("a chunk does not end where it should")]
    LineEnd,
    /// More than [`OVERHEAD_MAX`].
    #[error("chunk extensions and trailers are too long")]
    Overhead,
    /// The trailer section is not a list of fields.
    #[error("the trailer section is not valid")]
    Trailers,
}

impl Default for Decoder {
    fn default() -> Decoder {
        let state = State::Size { size: 0, digits: 0 };
        Decoder { state, overhead: 0, trailers: Vec::new(), fault: None }
    }
}

impl Decoder {
    /// Whether the body has ended, and all of it has been given.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended && self.trailers.len() <= EMPTY_LINE.len() && self.fault.is_none()
    }

    /// Takes the next piece off the input. Bytes after the end stay there.
    ///
    /// Where a chunk ends means nothing, so little ones that came together are one piece. The framing after a piece is
    /// looked at with it, so the last one is known to be the last.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Piece, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.frame(input)?;
        match self.state {
            State::Data { .. } if !input.is_empty() => {}
            State::Ended if self.trailers.len() > EMPTY_LINE.len() => {
                let section = Bytes::from(std::mem::take(&mut self.trailers));
                return fields::section(&section).map(Piece::Trailers).ok_or(Fault::Trailers);
            }
            State::Ended => return Ok(Piece::End),
            _ => return Ok(Piece::More),
        }
        let data = self.take(input, usize::MAX);
        if data.len() >= LITTLE_BYTES || !self.has_data(input) {
            return Ok(Piece::Data(data));
        }
        let mut together = BytesMut::with_capacity(TOGETHER_BYTES.min(data.len() + input.len()));
        together.extend_from_slice(&data);
        while self.has_data(input) && together.len() < TOGETHER_BYTES {
            let room = TOGETHER_BYTES - together.len();
            together.extend_from_slice(&self.take(input, room));
        }
        Ok(Piece::Data(together.freeze()))
    }

    fn has_data(&self, input: &Bytes) -> bool {
        matches!(self.state, State::Data { .. }) && !input.is_empty() && self.fault.is_none()
    }

    /// Data of the chunk that the input is in, and the framing after it.
    fn take(&mut self, input: &mut Bytes, most: usize) -> Bytes {
        let State::Data { left } = self.state else { return Bytes::new() };
        let here = input.len().min(most);
        let take = usize::try_from(left).map_or(here, |left| left.min(here));
        let left = left - take as u64;
        self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
        let data = input.split_to(take);
        self.fault = self.frame(input).err();
        data
    }

    /// Goes on to the next data, to the end, or to the end of the input.
    fn frame(&mut self, input: &mut Bytes) -> Result<(), Fault> {
        while !matches!(self.state, State::Data { .. } | State::Ended)
            && let Some(&byte) = input.first()
        {
            input.advance(1);
            self.step(byte)?;
        }
        Ok(())
    }

    /// Goes on by one byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), Fault> {
        self.state = match (self.state, byte) {
            (State::Size { size, digits }, digit) if digit.is_ascii_hexdigit() => {
                if digits == DIGITS_MAX {
                    return Err(Fault::Size);
                }
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Fault::Size),
            (State::Size { size, .. }, b' ' | b'\t') => State::Padding { size, bytes: 1 },
            (State::Padding { size, bytes }, b' ' | b'\t') if bytes < PADDING_MAX => {
                State::Padding { size, bytes: bytes + 1 }
            }
            (State::Size { size, .. } | State::Padding { size, .. }, b';') => State::Extension { size },
            (State::Size { size, .. } | State::Padding { size, .. } | State::Extension { size }, b'\r') => {
                State::SizeEnd { size }
            }
            (State::Size { .. } | State::Padding { .. }, _) => return Err(Fault::Size),
            (State::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.spend(1)?;
                State::Extension { size }
            }
            (State::Extension { .. }, _) => return Err(Fault::Extension),
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers,
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataEnd, b'\r') => State::DataEndLf,
            (State::DataEndLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::Trailers, byte) => {
                self.spend(1)?;
                self.trailers.push(byte);
                let ended = self.trailers == EMPTY_LINE || self.trailers.ends_with(b"\r\n\r\n");
                if byte == b'\n' && !self.trailers.ends_with(b"\r\n") {
                    return Err(Fault::LineEnd);
                }
                if ended { State::Ended } else { State::Trailers }
            }
            (State::SizeEnd { .. } | State::DataEnd | State::DataEndLf, _) => return Err(Fault::LineEnd),
            (state @ (State::Data { .. } | State::Ended), _) => state,
        };
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.overhead += bytes;
        if self.overhead > OVERHEAD_MAX { Err(Fault::Overhead) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body holds.
    #[derive(Debug, Default)]
    struct Decoded {
        data: Vec<u8>,
        trailers: Vec<(String, String)>,
        ended: bool,
        left_over: usize,
    }

    /// Everything that a body holds, when it comes in pieces of this many bytes.
    fn decode(body: &[u8], step: usize) -> Result<Decoded, Fault> {
        let mut decoder = Decoder::default();
        let mut decoded = Decoded::default();
        for part in body.chunks(step) {
            let mut input = Bytes::copy_from_slice(part);
            loop {
                match decoder.next(&mut input)? {
                    Piece::Data(bytes) => decoded.data.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => {
                        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
                        let fields = fields.iter().map(|(name, value)| (name.to_string(), text(value)));
                        decoded.trailers.extend(fields);
                    }
                    Piece::End | Piece::More => break,
                }
            }
            decoded.left_over += input.len();
        }
        decoded.ended = decoder.has_ended();
        Ok(decoded)
    }

    #[test]
    fn data_and_trailers_come_out_however_the_bytes_are_cut() {
        let body = b"5\r\nhello\r\n6;a=\"b c\"\r\n world\r\n00 \r\nX-Sum: 1\r\nx-b:  2 \r\n\r\nGET";
        for step in 1..=body.len() {
            let decoded = decode(body, step).unwrap();
            assert_eq!(decoded.data, b"hello world", "step {step}");
            let expected = [("x-sum", "1"), ("x-b", "2")].map(|(name, value)| (name.into(), value.into()));
            assert_eq!(decoded.trailers, expected, "step {step}");
            assert_eq!((decoded.ended, decoded.left_over), (true, 3), "step {step}");
        }
    }

    #[test]
    fn little_chunks_that_came_together_are_one_piece_and_the_last_is_known_to_be_the_last() {
        let body = "1\r\nx\r\n".repeat(5000) + "0\r\n\r\nGET";
        let (mut decoder, mut input) = (Decoder::default(), Bytes::from(body));
        let mut pieces = Vec::new();
        while let Ok(Piece::Data(data)) = decoder.next(&mut input) {
            pieces.push((data.len(), decoder.has_ended()));
        }
        assert_eq!(pieces, [(5000, true)]);
        assert_eq!(input, "GET");
        let large = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n1\r\ny\r\n"].concat();
        let (mut decoder, mut input) = (Decoder::default(), Bytes::from(large));
        assert!(matches!(decoder.next(&mut input), Ok(Piece::Data(data)) if data.len() == 0x2000));
        assert!(matches!(decoder.next(&mut input), Ok(Piece::Data(data)) if data == "y"));
        assert!(!decoder.has_ended());
    }

    #[test]
    fn data_before_a_fault_is_given() {
        let (mut decoder, mut input) = (Decoder::default(), Bytes::from("1\r\na\r\n1\r\nb\r\nno size"));
        assert!(matches!(decoder.next(&mut input), Ok(Piece::Data(data)) if data == "ab"));
        assert!(!decoder.has_ended());
        assert_eq!(decoder.next(&mut input).unwrap_err(), Fault::Size);
    }

    #[test]
    fn an_unfinished_body_has_not_ended() {
        let body = b"A\r\n0123456789\r\n0\r\n\r\n";
        for end in 1..body.len() {
            assert!(!decode(&body[..end], 3).unwrap().ended, "after {end} bytes");
        }
        assert!(decode(body, 3).unwrap().ended);
    }

    #[test]
    fn framing_has_one_reading() {
        for (body, fault) in [
            (&b"\r\n"[..], Fault::Size),
            (b"g\r\n", Fault::Size),
            (b"-1\r\n", Fault::Size),
            (b"0x5\r\nhello\r\n", Fault::Size),
            (b" 5\r\nhello\r\n", Fault::Size),
            (b"5 5\r\nhello\r\n", Fault::Size),
            (b"10000000000000000\r\n", Fault::Size),
            (b"5\nhello\r\n", Fault::Size),
            (b"5\r\rhello\r\n", Fault::LineEnd),
            (b"5\r\nhello\n0\r\n\r\n", Fault::LineEnd),
            (b"5\r\nhello!\r\n0\r\n\r\n", Fault::LineEnd),
            (b"5\r\nhello\r0\r\n\r\n", Fault::LineEnd),
            (b"5;a\nb\r\nhello\r\n", Fault::Extension),
            (b"5;a\0\r\nhello\r\n", Fault::Extension),
            (b"0\r\na: b\n\r\n", Fault::LineEnd),
            (b"0\r\na b\r\n\r\n", Fault::Trailers),
            (b"0\r\na : b\r\n\r\n", Fault::Trailers),
            (b"0\r\n: b\r\n\r\n", Fault::Trailers),
        ] {
            for step in [1, 2, 3, body.len()] {
                assert_eq!(decode(body, step).unwrap_err(), fault, "{}", body.escape_ascii());
            }
        }
        assert_eq!(decode(b"ffffffffffffffff\r\nx", 4).unwrap().data, b"x");
    }

    #[test]
    fn what_is_not_data_has_a_limit_over_the_whole_body() {
        let extension = format!("1;{}\r\nx\r\n", "e".repeat(1 << 10));
        let body = extension.repeat(17);
        assert_eq!(decode(body.as_bytes(), 4096).unwrap_err(), Fault::Overhead);
        assert!(decode(extension.repeat(15).as_bytes(), 4096).is_ok());
        let trailers = format!("0\r\na: {}\r\n\r\n", "t".repeat(OVERHEAD_MAX));
        assert_eq!(decode(trailers.as_bytes(), 4096).unwrap_err(), Fault::Overhead);
        let padded = |bytes: usize| format!("1{}\r\nx\r\n", " ".repeat(bytes));
        assert_eq!(decode(padded(17).as_bytes(), 4096).unwrap_err(), Fault::Size);
        assert!(
            decode(padded(16).repeat(2000).as_bytes(), 4096).is_ok(),
            "padding has no limit over the body"
        );
    }
}
