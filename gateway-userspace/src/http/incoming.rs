//! The body of a request as it comes from the client, whoever reads the connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body that may be under way.
#[derive(Debug)]
pub struct Incoming(Source);

#[derive(Debug)]
enum Source {
    None,
    Library(hyper::body::Incoming),
    Connection(Rc<dyn Connection>, Number),
}

/// Tells the bodies of one connection apart.
pub type Number = u64;

/// A connection that a body is read from, by whoever wants the body. A body that is not the last one there has ended.
pub trait Connection: std::fmt::Debug {
    /// The next frame.
    fn poll_frame(
        &self,
        number: Number,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>>;
    /// Whether all of it has been given.
    fn is_end_stream(&self, number: Number) -> bool;
    /// How much is left.
    fn size_hint(&self, number: Number) -> SizeHint;
    /// Nobody wants the rest.
    fn abandon(&self, number: Number);
}

/// The client went away, or broke the framing, before the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request body is incomplete")]
pub struct Incomplete;

impl Incoming {
    /// No body.
    pub fn none() -> Incoming {
        Incoming(Source::None)
    }

    /// The body with this number on a connection.
    pub fn on(connection: Rc<dyn Connection>, number: Number) -> Incoming {
        Incoming(Source::Connection(connection, number))
    }
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(incoming: hyper::body::Incoming) -> Incoming {
        Incoming(Source::Library(incoming))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Source::Connection(connection, number) = &self.0 {
            connection.abandon(*number);
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Incomplete;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        match &mut self.0 {
            Source::None => Poll::Ready(None),
            Source::Library(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_error| Incomplete))),
            Source::Connection(connection, number) => connection.poll_frame(*number, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::None => true,
            Source::Library(incoming) => incoming.is_end_stream(),
            Source::Connection(connection, number) => connection.is_end_stream(*number),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::None => SizeHint::with_exact(0),
            Source::Library(incoming) => incoming.size_hint(),
            Source::Connection(connection, number) => connection.size_hint(*number),
        }
    }
}
