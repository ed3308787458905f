//! The upstream's body on its way to the client, and the connection that it holds until it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{ClientBody, Progress};
use crate::upstream::deadline::Deadline;
use crate::upstream::exchange::Cause;
use crate::upstream::http1::Reception;
use crate::upstream::pool::{Idle, http2};

/// A body that streams from an upstream.
///
/// When it ends, its connection goes back to the pool; when it is dropped before that, the connection is closed
/// (HTTP/1) or the stream reset (HTTP/2), so the upstream stops working for a client that has left. A body that breaks
/// off yields an error and never a clean end.
#[derive(Debug)]
pub struct ResponseBody<B: ClientBody> {
    source: Source<B>,
    idle_timeout: Duration,
    /// Whether the deadline runs: the last poll found nothing.
    waiting: bool,
    /// The request's body, if it may still be on its way: while it moves, the response is not late.
    progress: Option<Rc<Progress>>,
    /// Goes with the connection at the end.
    deadline: Option<Deadline>,
    /// Why it broke off, until that is told: see [`ResponseBody::break_off`].
    broken: Option<Error>,
}

/// Where it comes from.
#[derive(Debug)]
pub(in crate::upstream) enum Source<B: ClientBody> {
    Http1 {
        reception: Reception,
        home: Rc<Idle>,
    },
    Http2 {
        incoming: Incoming,
        stream: Option<http2::Stream<B>>,
    },
    /// It broke off.
    None,
}

/// Why an upstream's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came for the upstream's `idle_timeout`.
    #[error("the upstream's body stopped for {} s", .0.as_secs_f64())]
    Idle(Duration),
    /// The connection broke, or what came was not valid.
    #[error("the upstream's body broke off")]
    Broken(#[source] Cause),
}

impl<B: ClientBody> Source<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match self {
            Source::Http1 { reception, .. } => {
                reception.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Cause::from)))
            }
            Source::Http2 { incoming, .. } => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Cause::from)))
            }
            Source::None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Source::Http1 { reception, .. } => reception.is_end_stream(),
            Source::Http2 { incoming, .. } => incoming.is_end_stream(),
            Source::None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Source::Http1 { reception, .. } => reception.size_hint(),
            Source::Http2 { incoming, .. } => incoming.size_hint(),
            Source::None => SizeHint::with_exact(0),
        }
    }

    /// Gives the connection back, or the place on it, once nothing more will be read.
    fn release(&mut self, deadline: &mut Option<Deadline>) {
        match self {
            Source::Http1 { reception, home } => {
                if let Some(mut connection) = reception.release() {
                    connection.deadline = deadline.take();
                    home.put(connection);
                }
            }
            Source::Http2 { incoming, stream } if incoming.is_end_stream() => drop(stream.take()),
            Source::Http2 { .. } | Source::None => {}
        }
    }
}

impl<B: ClientBody> ResponseBody<B> {
    pub(in crate::upstream) fn new(
        source: Source<B>,
        deadline: Option<Deadline>,
        progress: Option<Rc<Progress>>,
        idle_timeout: Duration,
    ) -> ResponseBody<B> {
        let mut body =
            ResponseBody { source, idle_timeout, waiting: false, progress, deadline, broken: None };
        body.source.release(&mut body.deadline);
        body
    }

    /// Ends it with an error, one turn later: the server drops what it has not written yet when a body fails, and the
    /// head and what came of the body may have been handed to it in this very turn.
    fn break_off(&mut self, error: Error, cx: &mut Context<'_>) {
        self.source = Source::None;
        self.broken = Some(error);
        cx.waker().wake_by_ref();
    }

    /// Ready when neither direction has moved for the timeout.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        if !self.waiting {
            self.waiting = true;
            deadline.set(Instant::now() + self.idle_timeout);
        }
        while deadline.poll(cx).is_ready() {
            let due = self.progress.as_ref().map(|progress| progress.moved() + self.idle_timeout);
            match due {
                Some(due) if due > Instant::now() => deadline.set(due),
                _ => return Poll::Ready(Error::Idle(self.idle_timeout)),
            }
        }
        Poll::Pending
    }
}

impl<B: ClientBody> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        // `Incoming` and the rest are `Unpin`; nothing is pinned by field.
        let this = self.get_mut();
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match this.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                this.source.release(&mut this.deadline);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.break_off(Error::Broken(error), cx);
                Poll::Pending
            }
            Poll::Ready(None) => {
                this.source.release(&mut this.deadline);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Poll::Ready(error) = this.poll_idle(cx) {
                    this.break_off(error, cx);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}
