//! The beginning of a connection: PROXY protocol, TLS, and whether HTTP/2 is spoken, all under one deadline.
//!
//! In cleartext, HTTP/2 is recognised by its preface (RFC 9113 §3.4), read ahead byte by byte as it comes: as soon as
//! one differs it is HTTP/1. The library's own detection has no deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::timeout_at;
use tokio_rustls::server::TlsStream;

use super::wire::Wire;
use super::{Broken, Ends};
use crate::listener::Settings;
use crate::listener::proxy_protocol::{self, Header};
use crate::request::Peer;
use crate::request::peer;
use crate::tls::client_hello::{Assembly, Progress};
use crate::tls::{self, Ja4, Tls};

/// Room for a browser's ClientHello in one read.
const HELLO_BYTES: usize = 2 << 10;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An open connection.
pub struct Opened {
    pub stream: Stream,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    pub peer: Peer,
    /// Whether a PROXY protocol header came that does not say who the client is.
    pub unnamed: bool,
    pub settings: Arc<Settings>,
}

/// What HTTP is spoken on. One box for each TLS connection: a session is large.
pub enum Stream {
    Clear(Wire),
    Tls(Box<TlsStream<Wire>>),
}

/// Who was refused, and why if that says anything.
type Refusal = Box<(Peer, Option<Broken>)>;

/// Opens a connection before the handshake deadline.
pub async fn open(mut wire: Wire, ends: Ends, settings: Arc<Settings>) -> Result<Opened, Refusal> {
    let Ends { socket, local, trusted } = ends;
    let mut peer = Peer { socket, source: canonical(socket), local, trusted, tls: None };
    let deadline = wire.clock().accepted() + settings.limits.handshake_timeout;
    let clock = wire.clock().clone();
    let mut unnamed = false;
    let steps = async {
        if settings.proxy_protocol && trusted {
            unnamed = read_proxy_header(&mut wire, &mut peer).await? == Header::Local;
        }
        match &settings.tls {
            Some(tls) => handshake(wire, tls, settings.fingerprint, &mut peer).await,
            None => detect(wire, settings.http2).await,
        }
    };
    let result = match timeout_at(deadline, steps).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Broken::HandshakeTimeout),
    };
    match result {
        Ok((stream, http2)) => Ok(Opened { stream, http2, peer, unnamed, settings }),
        // A client that never sent a byte is a port check or a browser's connection in stock.
        Err(why) => Err(Box::new((peer, clock.received().then_some(why)))),
    }
}

async fn read_proxy_header(wire: &mut Wire, peer: &mut Peer) -> Result<Header, Broken> {
    loop {
        match proxy_protocol::parse(wire.ahead()) {
            Ok(Some((header, length))) => {
                wire.consume(length);
                if let Header::Proxied { source, destination } = header {
                    peer.source = canonical(source);
                    peer.local = destination;
                }
                return Ok(header);
            }
            Ok(None) if wire.read_ahead().await.unwrap_or(false) => {}
            Ok(None) => return Err(Broken::ProxyHeader),
            Err(fault) => {
                tracing::debug!(proxy = %peer.socket, %fault, "connection of a trusted proxy refused");
                return Err(Broken::ProxyHeader);
            }
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn handshake(
    mut wire: Wire,
    tls: &Tls,
    fingerprint: bool,
    peer: &mut Peer,
) -> Result<(Stream, bool), Broken> {
    let ja4 = if fingerprint { read_fingerprint(&mut wire).await } else { None };
    let limit =
        |session: &mut rustls::ServerConnection| session.set_buffer_limit(Some(tls::BUFFER_BYTES_MAX));
    let stream = tls.acceptor().accept_with(wire, limit).await.map_err(|error: io::Error| {
        tracing::debug!(client = %peer.socket, %error, "TLS handshake failed");
        Broken::TlsHandshake
    })?;
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(b"h2");
    peer.tls = Some(Arc::new(peer::Tls {
        server_name: session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str()),
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        },
        ja4,
    }));
    Ok((Stream::Tls(Box::new(stream)), http2))
}

/// Reads ahead until the ClientHello is whole, or it shows that there is none. The TLS library gets the same bytes and
/// decides what becomes of the connection.
async fn read_fingerprint(wire: &mut Wire) -> Option<Ja4> {
    let mut assembly = Assembly::default();
    loop {
        // First of all: it may have come behind the PROXY header, and then nothing more comes before an answer.
        match assembly.advance(wire.ahead()) {
            Progress::Incomplete => {}
            Progress::Complete => return assembly.hello().map(|hello| Ja4::of(&hello)),
            Progress::Hopeless => return None,
        }
        wire.make_room(HELLO_BYTES);
        if !wire.read_ahead().await.unwrap_or(false) {
            return None;
        }
    }
}

async fn detect(mut wire: Wire, http2: bool) -> Result<(Stream, bool), Broken> {
    if !http2 {
        return Ok((Stream::Clear(wire), false));
    }
    loop {
        let seen = wire.ahead().len().min(PREFACE.len());
        if wire.ahead()[..seen] != PREFACE[..seen] {
            return Ok((Stream::Clear(wire), false));
        }
        if seen == PREFACE.len() {
            return Ok((Stream::Clear(wire), true));
        }
        if !wire.read_ahead().await.unwrap_or(false) {
            return Err(Broken::Protocol);
        }
    }
}
