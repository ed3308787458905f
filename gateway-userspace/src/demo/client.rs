//! A client of the demo's gateway: one HTTPS request on a connection of its own, blocking, with a deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// No answer to the SYN within the deadline: what a dropped source sees.
    TimedOut,
    /// Anything else: refused, reset, TLS failure.
    Failed,
}

/// Makes requests to one address under one server name.
#[derive(Clone)]
pub struct Client {
    /// Where the gateway listens, as seen by this client.
    pub address: SocketAddr,
    /// Name in SNI and `Host`.
    pub server_name: String,
    /// Trusts the demo's certificate only.
    pub tls: Arc<rustls::ClientConfig>,
    /// Deadline for the connection, and again for each read.
    pub timeout: Duration,
}

impl Client {
    /// `GET path`, with a bearer token if there is one.
    pub fn get(&self, path: &str, token: Option<&str>) -> Outcome {
        match self.try_get(path, token) {
            Ok(status) => Outcome::Status(status),
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                Outcome::TimedOut
            }
            Err(_) => Outcome::Failed,
        }
    }

    fn try_get(&self, path: &str, token: Option<&str>) -> io::Result<u16> {
        let socket = TcpStream::connect_timeout(&self.address, self.timeout)?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.server_name.clone()).map_err(io::Error::other)?;
        let connection = rustls::ClientConnection::new(self.tls.clone(), name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(connection, socket);
        let authorization =
            token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}\r\n",
            self.server_name
        )?;
        stream.flush()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        std::str::from_utf8(&head[9..12])
            .ok()
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}
