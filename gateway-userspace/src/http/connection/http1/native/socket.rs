//! A connection as its requests are read from it. The task of the connection has it, and while the body of a request
//! comes, whoever reads that.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::model::ListenLimits;
use crate::http::incoming::{self, Incomplete, Number};
use crate::http::rejection::Rejection;
use crate::http1::body::{Left, Next};
use crate::http1::framing::Length;
use crate::http1::partial::Partial;
use crate::http1::{read, request};

/// What a client is told that asks before it sends a body (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Most bytes of a body nobody wants that are read so that the connection can be used again.
const SKIP_BYTES_MAX: usize = 64 << 10;

/// Most bytes of further requests that are read while one is served: enough to notice that the client has gone.
const AHEAD_BYTES_MAX: usize = 4 << 10;

/// Why there is no head.
pub enum Missing {
    /// The client closed the connection between two requests, or we want it to end there.
    Closed,
    /// The client has gone in the middle of a head.
    Left,
    /// It cannot be read.
    Malformed(Rejection),
}

/// See the module.
pub struct Socket<IO> {
    /// `None` once the connection has been taken to be closed.
    io: RefCell<Option<IO>>,
    /// What has been read and not used.
    unread: RefCell<Bytes>,
    /// What has come of a head.
    partial: RefCell<Partial>,
    body: RefCell<Body>,
    /// Whether the connection is to end when it is idle.
    draining: Cell<bool>,
}

/// The body that comes, or came last.
#[derive(Debug)]
struct Body {
    number: Number,
    left: Left,
    /// What of `100 Continue` is to be sent before the body is read.
    interim: &'static [u8],
    /// Whether the interim answer was to be sent and has not been begun.
    unasked: bool,
    /// Whether the interim answer may be with TLS and not on the network.
    unflushed: bool,
    /// Whether nobody will read the rest.
    abandoned: bool,
    /// It cannot be read to its end.
    broken: bool,
}

impl Body {
    fn new(number: Number, left: Left) -> Body {
        Body { number, left, interim: b"", unasked: false, unflushed: false, abandoned: false, broken: false }
    }

    fn has_ended(&self) -> bool {
        self.left.is_nothing()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    pub fn new(io: IO) -> Socket<IO> {
        Socket {
            io: RefCell::new(Some(io)),
            unread: RefCell::default(),
            partial: RefCell::default(),
            body: RefCell::new(Body::new(0, Left::Nothing)),
            draining: Cell::new(false),
        }
    }

    /// The connection itself; whoever still reads a body sees it end.
    pub fn take(&self) -> Option<IO> {
        self.io.take()
    }

    /// The next connection that is idle ends.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the next thing to come is a head.
    pub fn is_between_requests(&self) -> bool {
        let body = self.body.borrow();
        body.has_ended() && !body.broken
    }

    /// Polls the connection itself.
    pub fn poll_io<T>(&self, poll: impl FnOnce(&mut IO) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.io.borrow_mut() {
            Some(io) => poll(io),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// The next head.
    pub fn poll_head(
        &self,
        limits: &ListenLimits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<request::Head, Missing>> {
        let (mut unread, mut partial) = (self.unread.borrow_mut(), self.partial.borrow_mut());
        loop {
            if !unread.is_empty() {
                let found = parse(&mut partial, std::mem::take(&mut *unread), limits);
                if let Some((head, rest)) = found.map_err(Missing::Malformed)? {
                    *unread = rest;
                    return Poll::Ready(Ok(head));
                }
            }
            // Empty bytes may still hold the block that they were a part of.
            *unread = Bytes::new();
            if self.draining.get() && partial.is_empty() {
                return Poll::Ready(Err(Missing::Closed));
            }
            match ready!(self.poll_io(|io| read::poll(io, cx))) {
                Ok(bytes) if !bytes.is_empty() => *unread = bytes,
                Ok(_end) if partial.is_empty() => return Poll::Ready(Err(Missing::Closed)),
                Ok(_) | Err(_) => return Poll::Ready(Err(Missing::Left)),
            }
        }
    }

    /// The head that was read announces a body, which gets a number; the client waits to be asked for it if it `expects`
    /// that.
    pub fn expect_body(&self, length: Length, expects: bool) -> Number {
        // A client that sends the body all the same does not need to be asked for it.
        let unasked = expects && self.unread.borrow().is_empty();
        let interim = if unasked { CONTINUE } else { b"" };
        let mut body = self.body.borrow_mut();
        let number = body.number + 1;
        *body = Body { interim, unasked, ..Body::new(number, length.into()) };
        number
    }

    /// Ready when the client has gone. Looks only when nobody reads a body and no further request has come.
    pub fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.body.borrow().has_ended() {
            return Poll::Pending;
        }
        let mut unread = self.unread.borrow_mut();
        while unread.is_empty() {
            match ready!(self.poll_io(|io| read::poll_at_most(io, AHEAD_BYTES_MAX, cx))) {
                Ok(bytes) if !bytes.is_empty() => *unread = bytes,
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Throws away what has come of a body that nobody wants, if that is not much.
    pub fn skip_body(&self) {
        let mut body = self.body.borrow_mut();
        if body.has_ended() || !body.abandoned || body.unasked || body.broken {
            return;
        }
        let mut unread = self.unread.borrow_mut();
        let mut cx = Context::from_waker(Waker::noop());
        let mut skipped = 0;
        while !body.has_ended() && !body.broken && skipped <= SKIP_BYTES_MAX {
            match body.left.next(&mut unread) {
                Ok(Next::Frame(frame)) => skipped += frame.data_ref().map_or(0, Bytes::len),
                Ok(Next::End) => {}
                Ok(Next::More) => match self.poll_io(|io| read::poll(io, &mut cx)) {
                    Poll::Ready(Ok(bytes)) if !bytes.is_empty() => *unread = bytes,
                    Poll::Ready(_) => body.broken = true,
                    Poll::Pending => return,
                },
                Err(_fault) => body.broken = true,
            }
        }
    }

    /// Whether the rest of a body will not be read, so that the connection ends after the answer.
    pub fn has_unwanted_body(&self) -> bool {
        let body = self.body.borrow();
        body.broken || !body.has_ended() && body.abandoned
    }

    /// What must come before the answer, if an interim one was cut off in the middle. It is not sent any more if it was
    /// not begun.
    pub fn take_interim(&self) -> &'static [u8] {
        let mut body = self.body.borrow_mut();
        let interim = std::mem::take(&mut body.interim);
        if body.unasked { b"" } else { interim }
    }

    fn poll_interim(&self, body: &mut Body, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !body.interim.is_empty() {
            let interim = body.interim;
            let written = ready!(self.poll_io(|io| Pin::new(io).poll_write(cx, interim)))?;
            body.unasked = false;
            body.unflushed = true;
            body.interim = &interim[written..];
        }
        if body.unflushed {
            ready!(self.poll_io(|io| Pin::new(io).poll_flush(cx)))?;
            body.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> incoming::Connection for Socket<IO> {
    fn poll_frame(
        &self,
        number: Number,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        let mut body = self.body.borrow_mut();
        if body.number != number {
            return Poll::Ready(None);
        }
        if body.broken {
            return Poll::Ready(Some(Err(Incomplete)));
        }
        loop {
            let next = body.left.next(&mut self.unread.borrow_mut());
            match next {
                Ok(Next::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Next::End) => return Poll::Ready(None),
                Ok(Next::More) => {}
                Err(_fault) => {
                    body.broken = true;
                    return Poll::Ready(Some(Err(Incomplete)));
                }
            }
            if ready!(self.poll_interim(&mut body, cx)).is_err() {
                body.broken = true;
                return Poll::Ready(Some(Err(Incomplete)));
            }
            match ready!(self.poll_io(|io| read::poll(io, cx))) {
                Ok(bytes) if !bytes.is_empty() => *self.unread.borrow_mut() = bytes,
                Ok(_) | Err(_) => {
                    body.broken = true;
                    return Poll::Ready(Some(Err(Incomplete)));
                }
            }
        }
    }

    fn is_end_stream(&self, number: Number) -> bool {
        let body = self.body.borrow();
        body.number != number || body.has_ended()
    }

    fn size_hint(&self, number: Number) -> SizeHint {
        let body = self.body.borrow();
        if body.number == number { body.left.size_hint() } else { SizeHint::with_exact(0) }
    }

    fn abandon(&self, number: Number) {
        let mut body = self.body.borrow_mut();
        body.abandoned |= body.number == number;
    }
}

impl<IO> fmt::Debug for Socket<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("body", &self.body).finish_non_exhaustive()
    }
}

/// A head in all that has come, and what came after it. What is not a head yet is kept in `partial`.
fn parse(
    partial: &mut Partial,
    came: Bytes,
    limits: &ListenLimits,
) -> Result<Option<(request::Head, Bytes)>, Rejection> {
    let Some(bytes) = partial.add(came) else {
        return too_large(partial.bytes(), limits).map_or(Ok(None), Err);
    };
    match request::parse(&bytes, limits.header_count_max).map_err(rejection)? {
        Some((head, length)) => match too_large(&bytes[..length], limits) {
            Some(rejection) => Err(rejection),
            None => Ok(Some((head, bytes.slice(length..)))),
        },
        None => {
            // Empty lines before a request line say nothing, and are not looked through again and again.
            let empty = bytes.chunks_exact(2).take_while(|line| *line == b"\r\n").count() * 2;
            partial.keep(&bytes[empty..]);
            too_large(partial.bytes(), limits).map_or(Ok(None), Err)
        }
    }
}

/// Whether what has come of a head is more than a whole one may be. A target that is too long in a head that is not is
/// left to whoever judges heads.
fn too_large(partial: &[u8], limits: &ListenLimits) -> Option<Rejection> {
    if partial.len() <= limits.header_bytes_max.saturating_add(REQUEST_LINE_REST) {
        return None;
    }
    let line_has_ended = memchr::memchr(b'\n', partial.trim_ascii_start()).is_some();
    Some(if line_has_ended { Rejection::HeadersTooLarge } else { Rejection::UriTooLong })
}

/// Room for what stands in a request line beside the target, and for empty lines before it.
const REQUEST_LINE_REST: usize = 64;

fn rejection(fault: request::Fault) -> Rejection {
    match fault {
        request::Fault::Target => Rejection::BadTarget,
        request::Fault::TooManyFields => Rejection::HeadersTooLarge,
        request::Fault::Syntax(_) | request::Fault::LineEnd => Rejection::BadFraming,
    }
}
