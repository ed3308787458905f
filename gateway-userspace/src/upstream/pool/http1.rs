//! HTTP/1.1 connections: the idle ones, last in, first out, so that few are busy and the rest grow old and go; and who
//! drives them.
//!
//! The library's half that reads and writes has to be polled by somebody. While a request without a body is on a
//! connection, that is whoever waits for the answer: one task is woken for the socket, and none to tell another. A
//! request with a body is sent while nobody may be asking for the answer, so its connection gets a task of its own.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
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
pub(crate) struct Connection<B: ClientBody> {
    pub(crate) sender: Sender<B>,
    pub(crate) driver: Driver<B>,
    pub(crate) address: SocketAddr,
    /// Whom its PROXY header names, if it began with one.
    pub(crate) speaks_for: Option<Addresses>,
    /// The connection's timer, from the first request on.
    pub(crate) deadline: Option<Deadline>,
}

impl<B: ClientBody> Connection<B> {
    /// Starts HTTP/1.1 on a fresh stream.
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
        let driver = Driver { connection: Some(Box::pin(connection)), address };
        Ok(Connection { sender, driver, address, speaks_for, deadline: None })
    }

    /// Whether a request may be sent: the target has not closed it, and it is done with what was before.
    fn is_usable(&mut self) -> bool {
        self.driver.look();
        self.sender.is_ready() && !self.sender.is_closed()
    }
}

/// The library's half that reads and writes.
type Half<B> = http1::Connection<TokioIo<Stream>, RequestBody<B>>;

/// The half of a connection that reads and writes. Dropping it closes the connection, unless a task has taken over.
pub(crate) struct Driver<B: ClientBody> {
    connection: Option<Pin<Box<Half<B>>>>,
    address: SocketAddr,
}

impl<B: ClientBody> Driver<B> {
    /// Reads and writes what can be, if there is no task that does. Says whether it did: what comes of it can be
    /// looked at without a waker then, since `cx` is woken for the socket.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            note_end(self.address, ended);
            self.connection = None;
        }
        true
    }

    /// Whether [`Driver::drive`] does anything.
    pub(crate) fn is_here(&self) -> bool {
        self.connection.is_some()
    }

    /// The same for a connection that nobody waits for: finds out whether the target has closed it.
    fn look(&mut self) {
        self.drive(&mut Context::from_waker(Waker::noop()));
    }

    /// Has a task of this worker do it, until the connection closes.
    pub(crate) fn hand_over(&mut self) {
        if let Some(connection) = self.connection.take() {
            let address = self.address;
            tokio::task::spawn_local(async move { note_end(address, connection.await) });
        }
    }
}

impl<B: ClientBody> std::fmt::Debug for Driver<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("address", &self.address).finish_non_exhaustive()
    }
}

fn note_end(address: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "upstream connection ended");
    }
}

/// The idle connections to one target; the oldest first.
#[derive(Debug)]
pub(crate) struct Idle<B: ClientBody> {
    connections: RefCell<Vec<(Connection<B>, Instant)>>,
    max: Cell<usize>,
    keep_alive: Cell<Duration>,
}

impl<B: ClientBody> Idle<B> {
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

    /// The youngest connection that is open and ready, and speaks for this client if connections here do; or the
    /// youngest of all, if it has to be looked at first ([`Idle::awaken`]).
    pub(super) fn take(&self, speaks_for: Option<Addresses>, now: Instant) -> Option<Found<B>> {
        loop {
            let (mut connection, since) = self.pop(speaks_for)?;
            if now.saturating_duration_since(since) >= FRESH {
                return Some(Found::Stale(connection));
            }
            if connection.is_usable() {
                return Some(Found::Ready(connection));
            }
        }
    }

    /// The same for whoever can wait.
    ///
    /// A connection that has been idle for long may have been closed without our having looked: the event loop gets a
    /// turn to look, and its task, if it has one, another to find out. This catches every target that closes idle
    /// connections.
    pub(super) async fn awaken(
        &self,
        mut stale: Option<Connection<B>>,
        speaks_for: Option<Addresses>,
    ) -> Option<Connection<B>> {
        loop {
            let mut connection = match stale.take() {
                Some(connection) => connection,
                None => match self.take(speaks_for, Instant::now())? {
                    Found::Ready(connection) => return Some(connection),
                    Found::Stale(connection) => connection,
                },
            };
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            if connection.is_usable() {
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
    pub(super) fn put(home: Rc<Idle<B>>, mut connection: Connection<B>) {
        connection.driver.look();
        if connection.sender.is_closed() {
            return;
        }
        if connection.sender.is_ready() {
            home.push(connection);
            return;
        }
        connection.driver.hand_over();
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
        self.connections.borrow_mut().retain_mut(|(connection, since)| {
            connection.driver.look();
            !connection.sender.is_closed() && now.saturating_duration_since(*since) < keep_alive
        });
    }
}

/// A connection of the pool.
pub(super) enum Found<B: ClientBody> {
    /// It can be used.
    Ready(Connection<B>),
    /// It has been idle for long; see [`Idle::awaken`].
    Stale(Connection<B>),
}
