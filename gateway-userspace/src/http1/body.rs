//! The body of a message, taken out of what has been read of its connection.

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::chunked::{Decoder, Fault, Piece};
use super::framing::Length;

/// What is still to be given of a body.
#[derive(Debug)]
pub enum Left {
    /// So many bytes, never 0.
    Known(u64),
    /// Chunks.
    Chunked(Decoder),
    /// Whatever comes until the sender closes.
    UntilClose,
    /// It has ended.
    Nothing,
}

/// What comes next of a body.
#[derive(Debug)]
pub enum Next {
    /// Data, never empty, or trailers.
    Frame(Frame<Bytes>),
    /// It has ended.
    End,
    /// All that was read is used up, and more is needed.
    More,
}

impl From<Length> for Left {
    fn from(length: Length) -> Left {
        match length {
            Length::Known(0) => Left::Nothing,
            Length::Known(length) => Left::Known(length),
            Length::Chunked => Left::Chunked(Decoder::default()),
            Length::UntilClose => Left::UntilClose,
        }
    }
}

impl Left {
    /// Whether all of it has been given.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Left::Nothing)
    }

    /// Whether all of it that is still to be given is known to be in these bytes.
    pub fn is_within(&self, unread: &Bytes) -> bool {
        match self {
            Left::Nothing => true,
            Left::Known(left) => unread.len() as u64 >= *left,
            Left::Chunked(_) | Left::UntilClose => false,
        }
    }

    /// How much that is.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Left::Nothing => SizeHint::with_exact(0),
            Left::Known(left) => SizeHint::with_exact(*left),
            Left::Chunked(_) | Left::UntilClose => SizeHint::default(),
        }
    }

    /// Takes the next frame off these bytes. What comes after the end stays there.
    pub fn next(&mut self, unread: &mut Bytes) -> Result<Next, Fault> {
        let frame = match self {
            Left::Nothing => return Ok(Next::End),
            Left::Known(_) | Left::UntilClose if unread.is_empty() => return Ok(Next::More),
            Left::UntilClose => return Ok(Next::Frame(Frame::data(std::mem::take(unread)))),
            Left::Known(left) => {
                let take = usize::try_from(*left).map_or(unread.len(), |left| left.min(unread.len()));
                *left -= take as u64;
                if *left > 0 {
                    return Ok(Next::Frame(Frame::data(unread.split_to(take))));
                }
                Next::Frame(Frame::data(unread.split_to(take)))
            }
            Left::Chunked(decoder) => match decoder.next(unread)? {
                Piece::More => return Ok(Next::More),
                Piece::Data(data) if !decoder.has_ended() => return Ok(Next::Frame(Frame::data(data))),
                Piece::Data(data) => Next::Frame(Frame::data(data)),
                Piece::Trailers(trailers) => Next::Frame(Frame::trailers(trailers)),
                Piece::End => Next::End,
            },
        };
        *self = Left::Nothing;
        Ok(frame)
    }
}
