//! Who is at the other end of the connection, and whom it speaks for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::tls::Ja4;

/// The two ends of a connection and what TLS said, fixed once the connection stands.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The socket's peer, proven by the TCP handshake. The only address that may be banned in the kernel.
    pub socket: SocketAddr,
    /// Where the client is: the socket's peer, or what the PROXY protocol of a trusted proxy said.
    pub source: SocketAddr,
    /// The gateway's own end.
    pub local: SocketAddr,
    /// Whether `socket` belongs to a trusted proxy, whose forwarding headers are believed.
    pub trusted: bool,
    /// Set on TLS connections.
    pub tls: Option<Arc<Tls>>,
}

/// What the TLS handshake agreed on.
#[derive(Debug)]
pub struct Tls {
    /// The server name that the client asked for, lower case.
    pub server_name: Option<Box<str>>,
    /// `"1.2"` or `"1.3"`.
    pub version: &'static str,
    /// What software the client is by its ClientHello, where the configuration asks for it.
    pub ja4: Option<Ja4>,
}

impl Peer {
    /// The socket peer's address, with IPv4-mapped IPv6 addresses as IPv4.
    pub fn socket_address(&self) -> IpAddr {
        self.socket.ip().to_canonical()
    }

    /// The client's fingerprint; none in cleartext, and none where nothing asks for it.
    pub fn ja4(&self) -> Option<&Ja4> {
        self.tls.as_ref()?.ja4.as_ref()
    }
}
