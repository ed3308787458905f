//! HTTP/2 connections: one for each target, and more once the streams of all are taken.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::HEADER_BYTES_MAX;
use crate::upstream::body::{ClientBody, RequestBody};
use crate::upstream::connect;

/// Most connections to one target from one worker; beyond them requests queue on the least busy.
const CONNECTIONS_MAX: usize = 8;
/// Most streams that we open on one connection, whatever the target allows.
const STREAMS_MAX: usize = 1_000;
/// What a target is taken to allow until its first answer has brought its settings (RFC 9113 §6.5.2 asks for 100).
const STREAMS_ASSUMED: usize = 100;
/// Flow-control windows: what a client that does not read can make the gateway hold, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// A connection with requests under way that stays silent is asked for a sign of life, and given up without one.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests into a connection.
type Sender<B> = http2::SendRequest<RequestBody<B>>;

/// The connections to one target, the oldest first, so that the youngest runs empty and goes.
pub(super) struct Shared<B> {
    connections: RefCell<Vec<Connection<B>>>,
    keep_alive: Cell<Duration>,
    /// Whether somebody is opening a connection.
    opening: Cell<bool>,
    /// Told when that is over.
    opened: Notify,
    /// How often it failed, and why the last time.
    failures: Cell<u64>,
    failure: RefCell<Option<connect::Error>>,
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Connection<B> {
    sender: Sender<B>,
    address: SocketAddr,
    load: Rc<Load>,
}

/// What a connection carries.
#[derive(Debug)]
struct Load {
    streams: Cell<usize>,
    /// What the target allows, as last seen.
    allowed: Cell<usize>,
    /// Whether an answer has come, and with it the target's settings.
    settled: Cell<bool>,
    idle_since: Cell<Instant>,
}

/// A place on a connection, for one request; given back by dropping it.
#[derive(Debug)]
pub(crate) struct Stream<B> {
    pub(crate) sender: Sender<B>,
    pub(crate) address: SocketAddr,
    load: Rc<Load>,
}

impl Load {
    fn room(&self) -> bool {
        let allowed = if self.settled.get() { self.allowed.get() } else { STREAMS_ASSUMED };
        self.streams.get() < allowed.clamp(1, STREAMS_MAX)
    }
}

impl<B> Stream<B> {
    /// An answer has come, so the target's settings are known.
    pub(crate) fn settle(&self) {
        self.load.settled.set(true);
    }
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        self.load.streams.set(self.load.streams.get() - 1);
        if self.load.streams.get() == 0 {
            self.load.idle_since.set(Instant::now());
        }
    }
}

impl<B: ClientBody> Shared<B> {
    pub(super) fn new(keep_alive: Duration) -> Shared<B> {
        Shared {
            connections: RefCell::default(),
            keep_alive: Cell::new(keep_alive),
            opening: Cell::new(false),
            opened: Notify::new(),
            failures: Cell::new(0),
            failure: RefCell::default(),
        }
    }

    pub(super) fn adjust(&self, keep_alive: Duration) {
        self.keep_alive.set(keep_alive);
    }

    pub(super) fn len(&self) -> usize {
        self.connections.borrow().len()
    }

    pub(super) fn reap(&self, now: Instant) {
        let keep_alive = self.keep_alive.get();
        self.connections.borrow_mut().retain(|connection| {
            let idle = connection.load.streams.get() == 0
                && now.saturating_duration_since(connection.load.idle_since.get()) >= keep_alive;
            !idle && !connection.sender.is_closed()
        });
    }

    /// A place on a connection. One request at a time opens a connection while the others wait for it, and what it
    /// finds out holds for all of them.
    pub(super) async fn stream<O>(
        &self,
        connect_timeout: Duration,
        open: impl Fn() -> O,
    ) -> Result<Stream<B>, connect::Error>
    where
        O: Future<Output = Result<Connection<B>, connect::Error>>,
    {
        loop {
            if let Some(stream) = self.place() {
                return Ok(stream);
            }
            if !self.opening.get() {
                return self.open(open()).await;
            }
            let failures = self.failures.get();
            let opened = self.opened.notified();
            timeout(connect_timeout, opened).await.map_err(|_elapsed| connect::Error::Timeout)?;
            if self.failures.get() != failures {
                return Err(self.failure.borrow().clone().unwrap_or(connect::Error::Timeout));
            }
        }
    }

    /// A place on the oldest connection that has room, or, when there may be no more connections, on the least busy.
    pub(super) fn place(&self) -> Option<Stream<B>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.sender.is_closed());
        let with_room = connections.iter().find(|connection| connection.load.room());
        let chosen = match with_room {
            Some(connection) => connection,
            None if connections.len() < CONNECTIONS_MAX => return None,
            None => connections.iter().min_by_key(|connection| connection.load.streams.get())?,
        };
        Some(chosen.stream())
    }

    async fn open(
        &self,
        opening: impl Future<Output = Result<Connection<B>, connect::Error>>,
    ) -> Result<Stream<B>, connect::Error> {
        let _opening = Opening::begin(self);
        match opening.await {
            Ok(connection) => {
                let stream = connection.stream();
                self.connections.borrow_mut().push(connection);
                Ok(stream)
            }
            Err(error) => {
                self.failures.set(self.failures.get() + 1);
                *self.failure.borrow_mut() = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// Held by the request that opens a connection, so that the others do not wait for one whose client has left.
struct Opening<'a> {
    opening: &'a Cell<bool>,
    opened: &'a Notify,
}

impl<'a> Opening<'a> {
    fn begin<B>(shared: &'a Shared<B>) -> Opening<'a> {
        shared.opening.set(true);
        Opening { opening: &shared.opening, opened: &shared.opened }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.opening.set(false);
        self.opened.notify_waiters();
    }
}

impl<B: ClientBody> Connection<B> {
    /// Starts HTTP/2 on a fresh stream; tasks of this worker drive it until it closes.
    pub(super) async fn begin(
        stream: TokioIo<connect::Stream>,
        address: SocketAddr,
    ) -> Result<Connection<B>, connect::Error> {
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            // Until the target's settings are here it gets one request, or it might refuse the rest.
            .initial_max_send_streams(1)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(stream)
            .await
            .map_err(|error| connect::Error::Handshake(Arc::new(error)))?;
        let load = Rc::new(Load {
            streams: Cell::new(0),
            allowed: Cell::new(STREAMS_ASSUMED),
            settled: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
        });
        let seen = load.clone();
        tokio::task::spawn_local(async move {
            let mut connection = pin!(connection);
            let ended = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                if polled.is_pending() {
                    seen.allowed.set(connection.current_max_send_streams());
                }
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%address, %error, "upstream connection ended");
            }
        });
        Ok(Connection { sender, address, load })
    }

    fn stream(&self) -> Stream<B> {
        self.load.streams.set(self.load.streams.get() + 1);
        Stream { sender: self.sender.clone(), address: self.address, load: self.load.clone() }
    }
}

/// Runs the tasks of a connection on the worker that owns it.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
