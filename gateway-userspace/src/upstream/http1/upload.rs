//! Sending the body of a request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::Error;
use crate::http1::write;
use crate::upstream::body::{ClientBody, RequestBody};
use crate::upstream::connect::Stream;

/// A request whose body is on its way. One frame of it is held here, and the next is asked for when the target has
/// taken that.
#[derive(Debug)]
pub(super) struct Upload<B> {
    body: RequestBody<B>,
    /// Bytes that the head still promises; `None` for a body in chunks.
    left: Option<u64>,
    announced: Vec<HeaderName>,
    /// What of the head is not written.
    head: Bytes,
    /// Likewise of the size of a chunk, or of the end.
    framing: Bytes,
    data: Bytes,
    /// Likewise of what comes after a chunk.
    after: &'static [u8],
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been asked of the body, so the head may wait to go with its first bytes.
    Fresh,
    /// The body goes on.
    Streaming,
    /// What is held here is the end.
    Ending,
}

impl<B: ClientBody> Upload<B> {
    /// `head` is the head as it is written, and `fields` are its fields.
    pub(super) fn new(head: Bytes, fields: &HeaderMap, body: RequestBody<B>) -> Upload<B> {
        Upload {
            left: body.size_hint().exact(),
            announced: write::announced(fields),
            body,
            head,
            framing: Bytes::new(),
            data: Bytes::new(),
            after: b"",
            state: State::Fresh,
        }
    }

    /// Ready when all of it is with the target.
    pub(super) fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.state != State::Fresh {
                ready!(self.poll_write(stream, cx))?;
            }
            if self.state == State::Ending {
                return Pin::new(stream).poll_flush(cx).map_err(Error::Io);
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame.transpose().map_err(|error| Error::Body(error.into()))?,
                Poll::Pending if self.state == State::Fresh => {
                    self.state = State::Streaming;
                    continue;
                }
                Poll::Pending => {
                    ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                    return Poll::Pending;
                }
            };
            self.state = State::Streaming;
            match frame.map(http_body::Frame::into_data) {
                None => self.end(&HeaderMap::new())?,
                Some(Ok(data)) => self.hold(data)?,
                Some(Err(frame)) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.end(&trailers)?;
                    }
                }
            }
        }
    }

    fn hold(&mut self, data: Bytes) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.left {
            Some(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Error::BodyLength)?;
                if *left == 0 {
                    self.state = State::Ending;
                }
            }
            None => {
                let mut size = Vec::new();
                write::chunk_size(&mut size, data.len());
                self.framing = size.into();
                self.after = write::CRLF;
                if self.body.is_end_stream() {
                    self.after = write::CRLF_AND_LAST_CHUNK;
                    self.state = State::Ending;
                }
            }
        }
        self.data = data;
        Ok(())
    }

    fn end(&mut self, trailers: &HeaderMap) -> Result<(), Error> {
        self.state = State::Ending;
        match self.left {
            Some(0) => {}
            Some(_) => return Err(Error::BodyLength),
            None => {
                let mut last = Vec::new();
                write::last_chunk(&mut last, trailers, &self.announced);
                self.framing = last.into();
            }
        }
        Ok(())
    }

    /// Writes all that is held.
    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let parts = [&self.head[..], &self.framing, &self.data, self.after];
            let Some(first) = parts.iter().position(|part| !part.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            let slices = parts.map(IoSlice::new);
            let mut written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[first..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            for part in [&mut self.head, &mut self.framing, &mut self.data] {
                let taken = written.min(part.len());
                part.advance(taken);
                written -= taken;
            }
            self.after = &self.after[written..];
        }
    }
}
