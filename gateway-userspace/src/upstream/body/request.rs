//! The client's body on its way to the upstream, watched.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::ClientBody;

/// The client's body, or none; the connection owns it while it sends it.
#[derive(Debug)]
pub(crate) struct RequestBody<B> {
    watched: Option<(B, Rc<Progress>)>,
}

/// How far a body has come, seen from outside of the connection that sends it.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: Cell<Phase>,
    moved: Cell<Instant>,
}

/// Whom a body waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The upstream, to take more.
    Upstream,
    /// The client, to send more.
    Client,
    /// Nobody: all of it went to the connection, or the connection will not take more.
    Ended,
    /// Nobody: the client's body failed.
    Failed,
}

impl Progress {
    /// Whom the body waits for.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When the phase last changed or a chunk went through.
    pub(crate) fn moved(&self) -> Instant {
        self.moved.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.moved.set(Instant::now());
    }
}

impl<B: ClientBody> RequestBody<B> {
    /// No body.
    pub(crate) const EMPTY: RequestBody<B> = RequestBody { watched: None };

    /// Wraps the client's body. One that is known to be empty is dropped at once.
    pub(crate) fn new(body: B) -> RequestBody<B> {
        if body.is_end_stream() {
            return RequestBody::EMPTY;
        }
        let progress = Progress { phase: Cell::new(Phase::Upstream), moved: Cell::new(Instant::now()) };
        RequestBody { watched: Some((body, Rc::new(progress))) }
    }

    /// Whether there is nothing to send, so that the request can be sent again.
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_none()
    }

    /// Where to see how far it has come; `None` for no body.
    pub(crate) fn progress(&self) -> Option<Rc<Progress>> {
        self.watched.as_ref().map(|(_body, progress)| progress.clone())
    }
}

impl<B: ClientBody> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some((body, progress)) = &mut self.get_mut().watched else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_frame))) if body.is_end_stream() => progress.enter(Phase::Ended),
            Poll::Ready(Some(Ok(_frame))) => progress.enter(Phase::Upstream),
            Poll::Ready(None) => progress.enter(Phase::Ended),
            Poll::Ready(Some(Err(_error))) => progress.enter(Phase::Failed),
            Poll::Pending if progress.phase() != Phase::Client => progress.enter(Phase::Client),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.watched.as_ref().is_none_or(|(body, _progress)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.watched.as_ref().map_or(SizeHint::with_exact(0), |(body, _progress)| body.size_hint())
    }
}

impl<B> Drop for RequestBody<B> {
    /// A connection drops a body of known length when all of it is written, without asking for its end.
    fn drop(&mut self) {
        if let Some((_body, progress)) = &self.watched
            && progress.phase() != Phase::Failed
        {
            progress.enter(Phase::Ended);
        }
    }
}
