//! Idle HTTP/1.1 connections: last in, first out, so that few are busy and the rest grow old and go.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::HEADER_BYTES_MAX;
use crate::upstream::body::{ClientBody, RequestBody};
use crate::upstream::connect::{self, Stream};
use crate::upstream::deadline::Deadline;
use crate::upstream::proxy_protocol::Addresses;

/// Sends requests into a connection.
pub(crate) type Sender<B> = http1::SendRequest<RequestBody<B>>;

/// How long a connection whose answer has ended may take to be ready again, before it is closed.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection may be idle and still be used without another look.
const FRESH: Duration = Duration::from_millis(500);

/// A connection that stands.
#[derive(Debug)]
pub(crate) struct Connection<B> {
    pub(crate) sender: Sender<B>,
    pub(crate) address: SocketAddr,
    /// Whom its PROXY header names, if it began with one.
    pub(crate) speaks_for: Option<Addresses>,
    /// The connection's timer, from the first request on.
    pub(crate) deadline: Option<Deadline>,
}

impl<B: ClientBody> Connection<B> {
    /// Starts HTTP/1.1 on a fresh stream; a task of this worker drives it until it closes.
    pub(super) async fn begin(
        stream: TokioIo<Stream>,
        address: SocketAddr,
        speaks_for: Option<Addresses>,
    ) -> Result<Connection<B>, connect::Error> {
        let (sender, connection) = http1::Builder::new()
            .max_header_size(HEADER_BYTES_MAX as usize)
            .max_buf_size(2 * HEADER_BYTES_MAX as usize)
            .handshake(stream)
            .await
            .map_err(|error| connect::Error::Handshake(Arc::new(error)))?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "upstream connection ended");
            }
        });
        Ok(Connection { sender, address, speaks_for, deadline: None })
    }
}

/// The idle connections to one target; the oldest first.
#[derive(Debug)]
pub(crate) struct Idle<B> {
    connections: RefCell<Vec<(Connection<B>, Instant)>>,
    max: Cell<usize>,
    keep_alive: Cell<Duration>,
}

impl<B> Idle<B> {
    pub(super) fn new(max: usize, keep_alive: Duration) -> Idle<B> {
        Idle { connections: RefCell::default(), max: Cell::new(max), keep_alive: Cell::new(keep_alive) }
    }

    pub(super) fn adjust(&self, max: usize, keep_alive: Duration) {
        self.max.set(max);
        self.keep_alive.set(keep_alive);
        self.connections.borrow_mut().truncate(max);
    }

    pub(super) fn len(&self) -> usize {
        self.connections.borrow().len()
    }

    /// The youngest connection that is open and ready, and speaks for this client if connections here do.
    ///
    /// One that has been idle for long may have been closed without our having looked: the event loop gets a turn to
    /// look, and its task one to find out. This catches every target that closes idle connections.
    pub(super) async fn take(&self, speaks_for: Option<Addresses>) -> Option<Connection<B>> {
        loop {
            let (connection, since) = self.pop(speaks_for)?;
            if since.elapsed() >= FRESH {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            if connection.sender.is_ready() && !connection.sender.is_closed() {
                return Some(connection);
            }
        }
    }

    fn pop(&self, speaks_for: Option<Addresses>) -> Option<(Connection<B>, Instant)> {
        let mut connections = self.connections.borrow_mut();
        if speaks_for.is_none() {
            return connections.pop();
        }
        let found = connections.iter().rposition(|(connection, _)| connection.speaks_for == speaks_for)?;
        Some(connections.remove(found))
    }

    /// Takes a connection back whose answer has ended.
    ///
    /// It is ready at once, as a rule. It is not when the request's body is still on its way: then the connection is
    /// given a moment, and closed when it is not done by then.
    pub(super) fn put(home: Rc<Idle<B>>, mut connection: Connection<B>)
    where
        B: 'static,
    {
        if connection.sender.is_closed() {
            return;
        }
        if connection.sender.is_ready() {
            home.push(connection);
            return;
        }
        tokio::task::spawn_local(async move {
            if let Ok(Ok(())) = timeout(SETTLE_TIMEOUT, connection.sender.ready()).await {
                home.push(connection);
            }
        });
    }

    fn push(&self, connection: Connection<B>) {
        let mut connections = self.connections.borrow_mut();
        // Where connections belong to clients, the oldest is the one whose client has most likely gone.
        if connection.speaks_for.is_some() && connections.len() == self.max.get() && !connections.is_empty() {
            connections.remove(0);
        }
        if connections.len() < self.max.get() {
            connections.push((connection, Instant::now()));
        }
    }

    /// Closes what has been idle for the keep-alive time, and forgets what has closed.
    pub(super) fn reap(&self, now: Instant) {
        let keep_alive = self.keep_alive.get();
        self.connections.borrow_mut().retain(|(connection, since)| {
            !connection.sender.is_closed() && now.saturating_duration_since(*since) < keep_alive
        });
    }
}
