//! HTTP/1.1 to a target: one connection, one request at a time.
//!
//! Whoever waits for the answer reads and writes: there is no task of the connection and no channel, so a request is
//! woken by its socket alone. The exception is an answer that begins before the request's body has ended: then the rest
//! of that body gets a task ([`upload`]), since a client that sends first and reads later must not wait for itself.

mod answer;
mod call;
mod upload;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) use self::answer::Reception;
pub(super) use self::call::Call;
use super::connect::Stream;
use super::deadline::Deadline;
use super::proxy_protocol::Addresses;
use crate::http1::framing::Ambiguous;
use crate::http1::partial::Partial;
use crate::http1::{answer as message, chunked, read};

/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A connection that stands, and has nothing on it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// What has come of a head.
    partial: Partial,
    pub(super) address: SocketAddr,
    /// Whom its PROXY header names, if it began with one.
    pub(super) speaks_for: Option<Addresses>,
    /// The connection's timer, from the first request on.
    pub(super) deadline: Option<Deadline>,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Reading or writing failed.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The target closed in the middle of an answer, or without one.
    #[error("the target closed the connection before its answer was complete")]
    Closed,
    /// The head of the answer is not valid.
    #[error(transparent)]
    Head(#[from] message::Fault),
    /// The head of the answer is larger than [`HEAD_BYTES_MAX`].
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// It is not clear where the answer ends.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The framing of the answer's body is broken.
    #[error(transparent)]
    Chunk(#[from] chunked::Fault),
    /// The request's body failed; its owner knows why.
    #[error("the request's body failed")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request's body has another length than was announced.
    #[error("the request's body is not as long as it said")]
    BodyLength,
}

impl Connection {
    pub(super) fn new(stream: Stream, address: SocketAddr, speaks_for: Option<Addresses>) -> Connection {
        Connection { stream, partial: Partial::default(), address, speaks_for, deadline: None }
    }

    /// Whether a request may be sent. Not when the target has closed it, or has said something unasked, which would be
    /// taken for the answer. As far as the event loop knows: this makes a system call only if there is news.
    pub(super) fn is_usable(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer).is_pending()
    }

    /// Writes what it can of these bytes, and says how many.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Bytes of a body; none at the end of the connection.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        read::poll(&mut self.stream, cx)
    }

    /// The next head, interim or not, and what came after it.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        after: Bytes,
    ) -> Poll<Result<(message::Head, Bytes), Error>> {
        let mut came = after;
        loop {
            if came.is_empty() {
                came = ready!(read::poll(&mut self.stream, cx))?;
            }
            if came.is_empty() {
                return Poll::Ready(Err(Error::Closed));
            }
            if let Some(found) = self.parse_head(std::mem::take(&mut came))? {
                return Poll::Ready(Ok(found));
            }
        }
    }

    /// A head in all that has come, which is kept if it is not one yet.
    fn parse_head(&mut self, came: Bytes) -> Result<Option<(message::Head, Bytes)>, Error> {
        let Some(bytes) = self.partial.add(came) else { return self.check_partial() };
        match message::parse(&bytes)? {
            Some((head, length)) if length <= HEAD_BYTES_MAX => Ok(Some((head, bytes.slice(length..)))),
            Some(_) => Err(Error::HeadTooLarge),
            None => {
                self.partial.keep(&bytes);
                self.check_partial()
            }
        }
    }

    fn check_partial<T>(&self) -> Result<Option<T>, Error> {
        if self.partial.bytes().len() > HEAD_BYTES_MAX { Err(Error::HeadTooLarge) } else { Ok(None) }
    }
}
