//! Sending the body of a request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::Body as _;
use tokio::io::AsyncWrite as _;

use super::Error;
use crate::http1::outgoing::Outgoing;
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
    outgoing: Outgoing,
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
    pub(super) fn new(head: &[u8], fields: &HeaderMap, body: RequestBody<B>) -> Upload<B> {
        let mut outgoing = Outgoing::default();
        outgoing.head().extend_from_slice(head);
        Upload {
            left: body.size_hint().exact(),
            announced: write::announced(fields),
            body,
            outgoing,
            state: State::Fresh,
        }
    }

    /// Ready when all of it is with the target.
    pub(super) fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.state != State::Fresh {
                ready!(self.outgoing.poll_write(stream, cx))?;
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
                self.outgoing.data(data);
                if *left == 0 {
                    self.state = State::Ending;
                }
            }
            None => {
                let is_last = self.body.is_end_stream();
                self.outgoing.chunk(data, is_last);
                if is_last {
                    self.state = State::Ending;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: &HeaderMap) -> Result<(), Error> {
        self.state = State::Ending;
        match self.left {
            Some(0) => {}
            Some(_) => return Err(Error::BodyLength),
            None => write::last_chunk(self.outgoing.head(), trailers, &self.announced),
        }
        Ok(())
    }
}
