//! One client connection, from the moment it is accepted to its end.
//!
//! [`serve`] opens it (PROXY protocol, TLS, detection of HTTP/2), and then speaks HTTP/1 or HTTP/2 on it for a
//! [`Handler`]. Every wait has a deadline ([`clock`]): the HTTP library has none of its own here, so that a connection
//! costs one timer and not one for each request.
//!
//! What a client can hold: one socket and [`limits`](crate::config::model::ListenLimits); what it cannot: a deadline
//! that moves as long as it sends a byte now and then before its first request is complete.

pub mod clock;
pub mod drain;
mod exchange;
mod http1;
mod http2;
mod opening;
mod tap;
mod wire;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

pub use drain::Drain;
use drain::Entered;

use self::clock::Clock;
use self::wire::Wire;
use super::forwarded;
use super::incoming::Incoming;
use super::rejection::Rejection;
use crate::abuse::parole::Visit;
use crate::abuse::signal;
use crate::abuse::standing::Turn;
use crate::header::Value;
use crate::listener::{Accepted, Settings};
use crate::request::Peer;
use crate::response;

/// What the owner of a connection is asked to do. One for each worker; nothing of it needs `Send`.
pub trait Handler: 'static {
    /// The body of a response.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static;

    /// Answers one request. Dropped before it is done when the client leaves. If it panics, or what it returns does,
    /// the client gets a 500 and the connection goes on.
    fn handle(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = http::Response<Self::Body>> + use<Self>;

    /// Told when a connection ends before or outside of a request, for a reason that says something about the client,
    /// and when a request panicked; with the CPU time that this took, as far as no refusal has taken it into account.
    fn broken(&self, peer: &Peer, why: Broken, cost: Duration);

    /// The answer where there is no request that [`Handler::handle`] could have answered: one that panicked a moment
    /// ago, or whose head was never complete.
    fn refuse(&self, peer: &Peer, rejection: &Rejection) -> (response::Head, Bytes);
}

/// Why a connection ended before or outside of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// No PROXY protocol header where a trusted proxy must send one.
    ProxyHeader,
    /// The TLS handshake failed.
    TlsHandshake,
    /// TLS handshake, PROXY header or protocol detection took too long.
    HandshakeTimeout,
    /// A header section was begun and not completed in time; HTTP/1 clients got a 408.
    HeaderTimeout,
    /// An HTTP/1 request that cannot be parsed; the client got the status.
    Malformed,
    /// HTTP/2 that breaks its protocol, or its limits against abuse.
    Protocol,
    /// The client did not read what it was sent.
    WriteStalled,
    /// The handler panicked: a fault of ours.
    Panicked,
}

impl Broken {
    /// Label in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Broken::ProxyHeader => "proxy-header",
            Broken::TlsHandshake => "tls-handshake",
            Broken::HandshakeTimeout => "handshake-timeout",
            Broken::HeaderTimeout => "header-timeout",
            Broken::Malformed => "malformed",
            Broken::Protocol => "protocol",
            Broken::WriteStalled => "write-stalled",
            Broken::Panicked => "panicked",
        }
    }

    /// Whether and how this counts against the client in the abuse loop. A proxy without its header is a
    /// misconfiguration, and a panic is ours.
    pub fn signal(self) -> Option<signal::Kind> {
        match self {
            Broken::TlsHandshake
            | Broken::HandshakeTimeout
            | Broken::HeaderTimeout
            | Broken::WriteStalled => Some(signal::Kind::BrokenConnection),
            Broken::Malformed | Broken::Protocol => Some(signal::Kind::Malformed),
            Broken::ProxyHeader | Broken::Panicked => None,
        }
    }
}

/// What all requests of a connection share.
#[derive(Debug)]
pub struct Connection {
    peer: Arc<Peer>,
    settings: Arc<Settings>,
    believes_headers: bool,
    source_value: Value,
    port_value: Value,
    opening_cost: Cell<Duration>,
    visit: RefCell<Option<Rc<Visit>>>,
}

impl Connection {
    fn new(peer: Peer, settings: Arc<Settings>, opening_cost: Duration) -> Connection {
        Connection {
            opening_cost: Cell::new(opening_cost),
            believes_headers: settings.trusted.contains(peer.source.ip()),
            source_value: forwarded::address_value(peer.source.ip()),
            port_value: Value::from(u64::from(peer.local.port())),
            peer: Arc::new(peer),
            visit: RefCell::default(),
            settings,
        }
    }

    /// The two ends.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The listener's settings when the connection was accepted.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The visit of a peer on parole from a ban: one for the whole connection.
    pub fn visit(&self, turn: Turn, begin: impl FnOnce() -> Visit) -> Rc<Visit> {
        let mut visit = self.visit.borrow_mut();
        match &*visit {
            Some(visit) if visit.ban == turn.ban => {
                visit.set_turn(turn);
                visit.clone()
            }
            _ => visit.insert(Rc::new(begin())).clone(),
        }
    }

    /// The turn of its visit, if it was let through on parole.
    pub fn turn(&self) -> Option<Turn> {
        self.visit.borrow().as_ref().map(|visit| visit.turn())
    }

    /// CPU time that opening it took, the TLS handshake above all; whoever asks first takes it into account.
    pub fn take_opening_cost(&self) -> Duration {
        self.opening_cost.take()
    }

    /// Whether the client came over TLS.
    pub fn is_tls(&self) -> bool {
        self.peer.tls.is_some()
    }

    /// Whether forwarding headers are believed: whether the source is a trusted proxy.
    pub fn believes_headers(&self) -> bool {
        self.believes_headers
    }

    /// Whether `host` may be asked for on this connection (RFC 9110 §15.5.20): always in cleartext and when the
    /// client named no server, else if it is that name or the certificate served for it covers the host.
    pub fn serves(&self, host: &str) -> bool {
        let (Some(session), Some(tls)) = (&self.peer.tls, &self.settings.tls) else { return true };
        let Some(server_name) = &session.server_name else { return true };
        // Only HTTP/1.0 comes without a host; then the server name is all there is.
        host.is_empty()
            || !self.settings.check_server_name
            || **server_name == *host
            || tls.covers(server_name, host)
    }

    /// The source's address, ready for a field.
    pub(super) fn source_value(&self) -> &Value {
        &self.source_value
    }

    /// The port that the client connected to, ready for a field.
    pub(super) fn port_value(&self) -> &Value {
        &self.port_value
    }
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// As both sides wanted it, or because the client left, which says nothing.
    Orderly,
    /// By the client's fault.
    Broken(Broken),
}

/// How long the client has to close its side after we have closed ours. Closing a socket with unread bytes in it
/// resets the connection, and then the client may never see the last answer.
const LINGER: Duration = Duration::from_secs(2);

/// Serves an accepted connection until it ends. Never panics by the client's doing; run it as a local task.
pub async fn serve<H: Handler>(accepted: Accepted, handler: Rc<H>, drain: Drain) {
    let Accepted { stream, peer, local, trusted, settings, at, permit } = accepted;
    let entered = drain.enter();
    let clock = Rc::new(Clock::new(at, &settings.limits));
    let ends = Ends { socket: peer, local, trusted };
    let mut cost = Duration::ZERO;
    let opened = {
        let mut opening = Box::pin(opening::open(Wire::new(stream, clock.clone()), ends, settings));
        poll_fn(|cx| {
            let begun = Instant::now();
            let polled = opening.as_mut().poll(cx);
            cost += begun.elapsed();
            match polled {
                // Whoever has not said a word yet loses nothing.
                Poll::Pending if !clock.received() => entered.poll_begun(cx).map(|()| None),
                opened => opened.map(Some),
            }
        })
        .await
    };
    let Some(opened) = opened else { return };
    let end = match opened {
        Ok(opened) => speak(opened, cost, clock, &handler, &entered).await,
        Err(refusal) => {
            if let (peer, Some(why)) = *refusal {
                handler.broken(&peer, why, cost);
            }
            return;
        }
    };
    if let (connection, End::Broken(why)) = end {
        handler.broken(connection.peer(), why, connection.take_opening_cost());
    }
    drop(permit);
}

/// Speaks HTTP/1 on a stream that no listener has accepted, as [`serve`] does on a socket, and says what the client broke.
/// For whoever holds our reading of bytes against another one.
pub async fn converse<IO: AsyncRead + AsyncWrite + Unpin + 'static, H: Handler>(
    io: IO,
    peer: Peer,
    settings: Arc<Settings>,
    handler: &Rc<H>,
    drain: &Drain,
) -> Option<Broken> {
    let clock = Rc::new(Clock::new(tokio::time::Instant::now(), &settings.limits));
    clock.opened(false);
    let connection = Rc::new(Connection::new(peer, settings, Duration::ZERO));
    match http1::run(io, connection, clock, handler, &drain.enter()).await {
        End::Broken(why) => Some(why),
        End::Orderly => None,
    }
}

/// The socket's two addresses.
#[derive(Debug, Clone, Copy)]
struct Ends {
    socket: SocketAddr,
    local: SocketAddr,
    trusted: bool,
}

async fn speak<H: Handler>(
    opened: opening::Opened,
    cost: Duration,
    clock: Rc<Clock>,
    handler: &Rc<H>,
    entered: &Entered,
) -> (Rc<Connection>, End) {
    let opening::Opened { stream, http2, peer, unnamed, settings } = opened;
    let mut connection = Connection::new(peer, settings, cost);
    // A balancer that speaks the PROXY protocol passes requests on as they are, so what they say of their way is the
    // client's own word, whoever opened the connection.
    connection.believes_headers &= !unnamed;
    let connection = Rc::new(connection);
    let kept = connection.clone();
    clock.opened(http2);
    // Boxed, so that a connection's task has the size of what it speaks and not of the largest.
    let end = match (stream, http2) {
        (opening::Stream::Clear(wire), false) => {
            Box::pin(http1::run(wire, connection, clock, handler, entered)).await
        }
        (opening::Stream::Clear(wire), true) => {
            Box::pin(http2::run(wire, connection, clock, handler, entered)).await
        }
        (opening::Stream::Tls(tls), false) => {
            Box::pin(http1::run(tls, connection, clock, handler, entered)).await
        }
        (opening::Stream::Tls(tls), true) => {
            Box::pin(http2::run(tls, connection, clock, handler, entered)).await
        }
    };
    (kept, end)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
