//! Idle HTTP/1.1 connections: last in, first out, so that few are busy and the rest grow old and go.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tokio::task::coop;

use crate::upstream::http1::Connection;
use crate::upstream::proxy_protocol::Addresses;

/// How long a connection may be idle and still be used without another look.
const FRESH: Duration = Duration::from_millis(500);

/// The idle connections to one target; the oldest first.
#[derive(Debug)]
pub(in crate::upstream) struct Idle {
    connections: RefCell<Vec<(Box<Connection>, Instant)>>,
    max: Cell<usize>,
    keep_alive: Cell<Duration>,
}

impl Idle {
    pub(super) fn new(max: usize, keep_alive: Duration) -> Idle {
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
    pub(super) fn take(&self, speaks_for: Option<Addresses>, now: Instant) -> Option<Found> {
        loop {
            let (mut connection, since) = self.pop(speaks_for)?;
            // Without budget the runtime makes every connection look open.
            if now.saturating_duration_since(since) >= FRESH || !coop::has_budget_remaining() {
                return Some(Found::Stale(connection));
            }
            if connection.is_usable() {
                return Some(Found::Ready(connection));
            }
        }
    }

    /// The same for whoever can wait.
    ///
    /// A connection that has been idle for long may have been closed without the event loop having looked, so it gets
    /// a turn to look. This catches every target that closes idle connections.
    pub(super) async fn awaken(
        &self,
        mut stale: Option<Box<Connection>>,
        speaks_for: Option<Addresses>,
    ) -> Option<Box<Connection>> {
        loop {
            let mut connection = match stale.take() {
                Some(connection) => connection,
                None => match self.take(speaks_for, Instant::now())? {
                    Found::Ready(connection) => return Some(connection),
                    Found::Stale(connection) => connection,
                },
            };
            tokio::task::yield_now().await;
            if connection.is_usable() {
                return Some(connection);
            }
        }
    }

    fn pop(&self, speaks_for: Option<Addresses>) -> Option<(Box<Connection>, Instant)> {
        let mut connections = self.connections.borrow_mut();
        if speaks_for.is_none() {
            return connections.pop();
        }
        let found = connections.iter().rposition(|(connection, _)| connection.speaks_for == speaks_for)?;
        Some(connections.remove(found))
    }

    /// Takes a connection back whose answer has ended.
    pub(in crate::upstream) fn put(&self, connection: Box<Connection>) {
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
            now.saturating_duration_since(*since) < keep_alive && connection.is_usable()
        });
    }
}

/// A connection of the pool.
pub(super) enum Found {
    /// It can be used.
    Ready(Box<Connection>),
    /// It has been idle for long; see [`Idle::awaken`].
    Stale(Box<Connection>),
}
