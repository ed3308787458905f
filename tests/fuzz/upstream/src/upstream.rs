//! The part of the gateway that the sources are a part of: what they need of it, and how they are asked. `http1` is a link to
//! them, since modules below one with a `path` would be looked for beside it.

mod body;
#[expect(dead_code, unused_imports, reason = "the gateway's pools use more of it")]
mod http1;

pub(crate) mod connect {
    /// Bytes to and from a target.
    pub type Stream = Box<dyn super::Socket>;
}

mod deadline {
    /// Connections here have none.
    #[derive(Debug)]
    pub(super) enum Deadline {}
}

use std::error::Error;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};

use gateway_userspace::upstream::body::ClientBody;
use gateway_userspace::upstream::proxy_protocol;
use http::response::Parts;
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use body::RequestBody;
use http1::{Call, Connection};

/// What stands for a socket.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug> Socket for S {}

/// A connection that has nothing on it.
pub struct Idle(Box<Connection>);

/// An answer, as far as it came.
pub struct Answer {
    pub head: Parts,
    pub data: Vec<u8>,
    pub trailers: HeaderMap,
    /// Whether all of it came, and if not, why.
    pub whole: Result<(), String>,
    /// The connection, if it may be used again.
    pub idle: Option<Idle>,
}

impl Idle {
    /// A new connection.
    pub fn new(stream: connect::Stream) -> Idle {
        Idle(Box::new(Connection::new(stream, SocketAddr::from((Ipv4Addr::LOCALHOST, 80)), None)))
    }

    /// Whether a request may be sent.
    pub fn is_usable(&mut self) -> bool {
        self.0.is_usable()
    }

    /// Sends a request, and reads the answer. To be called within a set of local tasks.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask<B: ClientBody>(self, request: Request<B>) -> Result<Answer, String> {
        let mut call =
            Call::begin(self.0, request.map(RequestBody::new)).map_err(|unsent| told(&unsent.error))?;
        let (head, mut reception) = poll_fn(|cx| call.poll(cx)).await.map_err(|error| told(&error))?;
        let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
        // As the gateway does: the connection is free as soon as all of the answer is here.
        let mut idle = reception.release();
        let whole = loop {
            match poll_fn(|cx| reception.poll_frame(cx)).await {
                None => break Ok(()),
                Some(Err(error)) => break Err(told(&error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => data.extend_from_slice(&bytes),
                    Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
                },
            }
            idle = idle.or_else(|| reception.release());
        };
        let idle = idle.or_else(|| reception.release()).map(Idle);
        Ok(Answer { head, data, trailers, whole, idle })
    }
}

fn told(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}
