//! What a route does with a request that its policies let through, and the body of every answer.

pub mod forward;
pub mod respond;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::header::Name;
use crate::http::hop_by_hop;
pub use crate::upstream::body::Error;
use crate::upstream::body::{ClientBody, ResponseBody};

/// The body of an answer, from wherever it comes. `B` is the body of requests, which an upstream connection carries.
#[derive(Debug)]
pub enum Body<B: ClientBody> {
    /// None.
    Empty,
    /// Known in full.
    Fixed(Bytes),
    /// On its way from an upstream.
    Upstream(ResponseBody<B>),
}

impl<B: ClientBody> From<Bytes> for Body<B> {
    fn from(bytes: Bytes) -> Body<B> {
        if bytes.is_empty() { Body::Empty } else { Body::Fixed(bytes) }
    }
}

impl<B: ClientBody> From<ResponseBody<B>> for Body<B> {
    fn from(body: ResponseBody<B>) -> Body<B> {
        if http_body::Body::is_end_stream(&body) { Body::Empty } else { Body::Upstream(body) }
    }
}

impl<B: ClientBody> http_body::Body for Body<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        match this {
            Body::Empty => Poll::Ready(None),
            Body::Fixed(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                *this = Body::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Body::Upstream(body) => Pin::new(body).poll_frame(cx).map_ok(clean),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Fixed(bytes) => bytes.is_empty(),
            Body::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Fixed(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Upstream(body) => body.size_hint(),
        }
    }
}

/// Trailers must not say what only a header section may: a client that merges them would believe it.
fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            let refused = |name: &&http::HeaderName| !hop_by_hop::may_be_trailer(Name::from_raw_ref(name));
            let names: Vec<http::HeaderName> = trailers.keys().filter(refused).cloned().collect();
            for name in names {
                trailers.remove(name);
            }
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
