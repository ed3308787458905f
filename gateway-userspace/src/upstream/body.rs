//! Bodies on their way through: the client's to the upstream, the upstream's to the client.
//!
//! Neither is buffered here: a chunk is asked for when the other side has room for it.

mod request;
mod response;

pub(crate) use request::{Phase, Progress, RequestBody};
pub(super) use response::Source;
pub use response::{Error, ResponseBody};

/// What an upstream can send on: the client's body, with the gateway's own limits around it.
pub trait ClientBody:
    http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static
{
}

impl<B> ClientBody for B where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Unpin
        + 'static
{
}
