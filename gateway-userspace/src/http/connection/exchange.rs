//! One request and its response: counted by the clock, and with panics kept inside.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::clock::{Clock, Pace};
use super::{Broken, Connection, Handler};
use crate::http::incoming::Incoming;
use crate::http::rejection::Rejection;
use crate::request::Peer;

/// A request that is being served, until it is dropped.
struct Running(Rc<Clock>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// Has the handler answer a request. The request counts from this call, not from the first poll.
pub fn begin<H: Handler>(
    handler: &Rc<H>,
    connection: &Rc<Connection>,
    clock: &Rc<Clock>,
    pace: Option<Rc<Pace>>,
    request: http::Request<Incoming>,
) -> impl Future<Output = Result<http::Response<Answer<H::Body>>, Infallible>> + use<H> {
    clock.request_begins();
    let running = Some(Running(clock.clone()));
    let handled = catch_unwind(AssertUnwindSafe(|| handler.handle(connection, request))).ok();
    Exchange { handled, handler: handler.clone(), connection: connection.clone(), pace, running }
}

pin_project! {
    /// A request that the handler is answering. Not an `async` block: that would have room for the handler's future
    /// twice.
    struct Exchange<H, F> {
        // `None` once it has panicked.
        #[pin]
        handled: Option<F>,
        handler: Rc<H>,
        connection: Rc<Connection>,
        pace: Option<Rc<Pace>>,
        running: Option<Running>,
    }
}

impl<H: Handler, F: Future<Output = http::Response<H::Body>>> Future for Exchange<H, F> {
    type Output = Result<http::Response<Answer<H::Body>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let handled = this.handled.as_mut().as_pin_mut();
        let polled = handled.and_then(|future| catch_unwind(AssertUnwindSafe(|| future.poll(cx))).ok());
        let mut response = match polled {
            Some(polled) => ready!(polled).map(|body| Content::Handler { body }),
            None => {
                // What is left of it goes now, and if that panics too, it still ends nothing else.
                let _ = catch_unwind(AssertUnwindSafe(|| this.handled.set(None)));
                this.handler.broken(this.connection.peer(), Broken::Panicked, Duration::ZERO);
                internal_error(&**this.handler, this.connection.peer())
            }
        };
        let pace = this.pace.take();
        if let Some(pace) = &pace {
            pace.gave();
            // HTTP/2 has no such field, and a stream's framing is not shared with others (RFC 9113 §8.2.2).
            response.headers_mut().remove(http::header::CONNECTION);
        }
        let running = this.running.take();
        Poll::Ready(Ok(response.map(|content| Answer { content, pace, _running: running })))
    }
}

/// What a client gets when its request panicked.
fn internal_error<H: Handler>(handler: &H, peer: &Peer) -> http::Response<Content<H::Body>> {
    let (head, body) = handler.refuse(peer, &Rejection::Internal);
    let mut response = http::Response::new(Content::Own { bytes: Some(body) });
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    *response.headers_mut() = head.fields.into_raw();
    response
}

pin_project! {
    /// The body of a response. The request is over when it is dropped.
    pub struct Answer<B> {
        #[pin]
        content: Content<B>,
        pace: Option<Rc<Pace>>,
        _running: Option<Running>,
    }
}

pin_project! {
    #[project = Projected]
    enum Content<B> {
        Handler { #[pin] body: B },
        Own { bytes: Option<Bytes> },
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The body panicked; the client sees its response cut off.
#[derive(Debug, thiserror::Error)]
#[error("the response body panicked")]
struct Panicked;

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for Answer<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Some(pace) = this.pace {
            pace.asked();
        }
        let frame = match this.content.project() {
            Projected::Own { bytes } => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Projected::Handler { body } => match catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx))) {
                Ok(polled) => ready!(polled).map(|frame| frame.map_err(Into::into)),
                Err(_panic) => Some(Err(Panicked.into())),
            },
        };
        if let Some(pace) = this.pace {
            pace.gave();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Handler { body } => body.is_end_stream(),
            Content::Own { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Handler { body } => body.size_hint(),
            Content::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;

    /// Bytes of the future that a function of these arguments returns.
    fn size_of_future<F>(
        _begin: impl FnOnce(
            &Rc<Pipeline>,
            &Rc<Connection>,
            &Rc<Clock>,
            Option<Rc<Pace>>,
            http::Request<Incoming>,
        ) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// The library moves it once for each request, into a place that each connection has for itself: with 64 busy
    /// connections, 10 KiB are more than the second cache of a core. What needs more room belongs on the heap, if it is
    /// rare, and in the part that runs before the future begins, if it is not.
    #[test]
    fn a_request_under_way_takes_less_than_two_kibibytes() {
        let size = size_of_future(begin::<Pipeline>);
        assert!((1..=2048).contains(&size), "{size} bytes");
    }
}
