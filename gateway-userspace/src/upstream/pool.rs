//! Connections to one target, of one worker.
//!
//! Nothing here is shared between threads. The pool of a target outlives reloads for as long as some snapshot sends
//! to that target in the same way (upstream, target, protocol, TLS, PROXY header).

mod http1;
pub(super) mod http2;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;

use self::http1::Found;
pub(super) use self::http1::Idle;
use super::body::ClientBody;
use super::config::{Config, Protocol};
use super::connect::{self, Stream};
use super::endpoint::Endpoint;
use super::http1::Connection;
use super::plan::PlannedTarget;
use super::proxy_protocol::{self, Addresses};

/// Largest header section of an answer over HTTP/2, in bytes.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// What a pool is found by after a reload: the endpoint stands for upstream and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    endpoint: *const Endpoint,
    tls: Option<*const rustls::ClientConfig>,
    protocol: Protocol,
    proxy_protocol: Option<proxy_protocol::Version>,
}

impl Key {
    pub(super) fn of(target: &PlannedTarget, config: &Config) -> Key {
        let tls = target.tls.as_ref().map(|tls| Arc::as_ptr(&tls.client));
        let Config { protocol, proxy_protocol, .. } = *config;
        Key { endpoint: Arc::as_ptr(&target.endpoint), tls, protocol, proxy_protocol }
    }
}

/// The connections to one target.
pub(super) struct Pool<B: ClientBody> {
    endpoint: Arc<Endpoint>,
    tls: Option<connect::Tls>,
    protocol: Protocol,
    proxy_protocol: Option<proxy_protocol::Version>,
    http1: Rc<Idle>,
    http2: http2::Shared<B>,
}

/// A connection for one request.
pub(super) enum Lease<B: ClientBody> {
    Http1 {
        connection: Box<Connection>,
        home: Rc<Idle>,
        /// Whether it served a request before.
        reused: bool,
    },
    Http2(http2::Stream<B>),
}

/// What a pool has for a request at once.
pub(super) enum AtHand<B: ClientBody> {
    Ready(Lease<B>),
    /// To be looked at first: see [`Idle::awaken`].
    Stale(Box<Connection>),
    None,
}

impl<B: ClientBody> Pool<B> {
    pub(super) fn new(target: &PlannedTarget, config: &Config) -> Pool<B> {
        Pool {
            endpoint: target.endpoint.clone(),
            tls: target.tls.clone(),
            protocol: config.protocol,
            proxy_protocol: config.proxy_protocol,
            http1: Rc::new(Idle::new(config.idle_connections, config.keep_alive)),
            http2: http2::Shared::new(config.keep_alive),
        }
    }

    /// Takes over what a reload may have changed.
    pub(super) fn adjust(&self, config: &Config) {
        self.http1.adjust(config.idle_connections, config.keep_alive);
        self.http2.adjust(config.keep_alive);
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Closes what has been idle for too long.
    pub(super) fn reap(&self, now: Instant) {
        self.http1.reap(now);
        self.http2.reap(now);
    }

    /// Idle HTTP/1 connections, and HTTP/2 connections.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.http1.len(), self.http2.len())
    }

    /// A connection that can be used at once, if there is one. With the PROXY protocol, it is one that was opened for
    /// this client.
    pub(super) fn at_hand(&self, client: Addresses, now: Instant) -> AtHand<B> {
        let found = match self.protocol {
            Protocol::Http1 => self.http1.take(self.speaks_for(client), now),
            Protocol::Http2 => {
                return self.http2.place().map_or(AtHand::None, |place| AtHand::Ready(Lease::Http2(place)));
            }
        };
        match found {
            Some(Found::Ready(connection)) => AtHand::Ready(self.reuse(connection)),
            Some(Found::Stale(connection)) => AtHand::Stale(connection),
            None => AtHand::None,
        }
    }

    /// One that stands already, else a new one. `stale` is what [`Pool::at_hand`] gave.
    pub(super) async fn lease(
        &self,
        stale: Option<Box<Connection>>,
        client: Addresses,
        connect_timeout: Duration,
    ) -> Result<Lease<B>, connect::Error> {
        let pooled = match self.protocol {
            Protocol::Http1 => self.http1.awaken(stale, self.speaks_for(client)).await,
            Protocol::Http2 => None,
        };
        match pooled {
            Some(connection) => Ok(self.reuse(connection)),
            None => self.lease_new(client, connect_timeout).await,
        }
    }

    fn reuse(&self, connection: Box<Connection>) -> Lease<B> {
        Lease::Http1 { connection, home: self.http1.clone(), reused: true }
    }

    fn speaks_for(&self, client: Addresses) -> Option<Addresses> {
        self.proxy_protocol.map(|_version| client)
    }

    /// A connection that has never served a request (HTTP/1), or is not known to be closing (HTTP/2).
    pub(super) async fn lease_new(
        &self,
        client: Addresses,
        connect_timeout: Duration,
    ) -> Result<Lease<B>, connect::Error> {
        match self.protocol {
            Protocol::Http1 => {
                let speaks_for = self.speaks_for(client);
                let header = self.proxy_protocol.map(|version| client.header(version)).unwrap_or_default();
                let (stream, address) = self.connect(&header, connect_timeout).await?;
                let connection = Box::new(Connection::new(stream, address, speaks_for));
                Ok(Lease::Http1 { connection, home: self.http1.clone(), reused: false })
            }
            Protocol::Http2 => {
                let open = || self.open_http2(connect_timeout);
                self.http2.stream(connect_timeout, open).await.map(Lease::Http2)
            }
        }
    }

    async fn open_http2(&self, connect_timeout: Duration) -> Result<http2::Connection<B>, connect::Error> {
        let (stream, address) = self.connect(&[], connect_timeout).await?;
        http2::Connection::begin(TokioIo::new(stream), address).await
    }

    /// Connects and keeps the endpoint's record.
    async fn connect(
        &self,
        first: &[u8],
        connect_timeout: Duration,
    ) -> Result<(Stream, SocketAddr), connect::Error> {
        let addresses = self.endpoint.addresses();
        match connect::connect(&addresses, first, self.tls.as_ref(), self.protocol, connect_timeout).await {
            Ok((stream, address)) => {
                self.endpoint.connected();
                Ok((stream, address))
            }
            Err(error) => {
                self.endpoint.failed(Instant::now(), &error);
                Err(error)
            }
        }
    }
}
