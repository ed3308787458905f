//! The upstream's body on its way to the client, and the connection that it holds until it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{ClientBody, Progress};
use crate::upstream::deadline::Deadline;
use crate::upstream::pool::Hold;

/// A body that streams from an upstream.
///
/// When it ends, its connection goes back to the pool; when it is dropped before that, the connection is closed
/// (HTTP/1) or the stream reset (HTTP/2), so the upstream stops working for a client that has left. A body that breaks
/// off yields an error and never a clean end.
#[derive(Debug)]
pub struct ResponseBody<B: ClientBody> {
    incoming: Incoming,
    idle_timeout: Duration,
    /// Whether the deadline runs: the last poll found nothing.
    waiting: bool,
    /// The request's body, if it may still be on its way: while it moves, the response is not late.
    progress: Option<Rc<Progress>>,
    /// Given back at the end.
    held: Option<(Hold<B>, Deadline)>,
    /// Why it broke off, until that is told: see [`ResponseBody::break_off`].
    broken: Option<Error>,
}

/// Why an upstream's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came for the upstream's `idle_timeout`.
    #[error("the upstream's body stopped for {} s", .0.as_secs_f64())]
    Idle(Duration),
    /// The connection broke, or what came was not valid.
    #[error("the upstream's body broke off")]
    Broken(#[source] hyper::Error),
}

impl<B: ClientBody> ResponseBody<B> {
    pub(in crate::upstream) fn new(
        incoming: Incoming,
        held: Option<(Hold<B>, Deadline)>,
        progress: Option<Rc<Progress>>,
        idle_timeout: Duration,
    ) -> ResponseBody<B> {
        let mut body = ResponseBody { incoming, idle_timeout, waiting: false, progress, held, broken: None };
        body.release_at_end();
        body
    }

    /// What has come already, else what the connection reads now.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let incoming = &mut self.incoming;
        let mut poll = |cx: &mut Context<'_>| Pin::new(&mut *incoming).poll_frame(cx);
        let Some((hold, _deadline)) = &mut self.held else { return poll(cx) };
        if hold.is_driven_here() {
            let polled = poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                return polled;
            }
        }
        hold.poll(cx, poll)
    }

    /// Ends it with an error, one turn later: the server drops what it has not written yet when a body fails, and the
    /// head and what came of the body may have been handed to it in this very turn.
    fn break_off(&mut self, error: Error, cx: &mut Context<'_>) {
        self.held = None;
        self.broken = Some(error);
        cx.waker().wake_by_ref();
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some((hold, deadline)) = self.held.take() {
            hold.release(deadline);
        }
    }

    /// Ready when neither direction has moved for the timeout.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some((_hold, deadline)) = &mut self.held else { return Poll::Pending };
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
        match this.poll_incoming(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                this.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.break_off(Error::Broken(error), cx);
                Poll::Pending
            }
            Poll::Ready(None) => {
                this.release();
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
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
