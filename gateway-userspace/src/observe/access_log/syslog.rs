//! The access log as syslog messages: one for each line, of facility `local7` and severity `info` as NGINX's are.
//!
//! The machine's own daemon gets what `syslog(3)` would send it (RFC 3164 without a host), because journald reads
//! nothing else; a receiver in the network gets RFC 5424, over UDP one datagram for each line (RFC 5426), over TCP with
//! counted octets (RFC 6587 §3.4.1). All of this happens on the writer's thread, and every wait has an end: a receiver
//! that takes nothing costs lines, never a request. What TCP has accepted and not delivered when a receiver dies is
//! lost without being counted, as with every syslog over TCP.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;

/// The socket of the machine's own daemon.
pub const LOCAL_SOCKET: &str = "/dev/log";
/// The port if none is given.
pub const PORT: u16 = 514;
/// Longest time that one message may take; then the lines at hand are lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time that connecting over TCP may take for each address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a receiver that could not be reached is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Longest text of a message, in bytes: what fits into a datagram. Most receivers cut at 8 KiB anyway.
const TEXT_BYTES_MAX: usize = 60 << 10;
/// Facility `local7` (23), severity `info` (6).
const PRIORITY: u8 = 23 * 8 + 6;

/// Who gets the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// A datagram socket in the file system.
    Local(PathBuf),
    /// A host, by datagrams.
    Udp {
        /// Name or address.
        host: Box<str>,
        /// Port.
        port: u16,
    },
    /// A host, by a connection.
    Tcp {
        /// Name or address.
        host: Box<str>,
        /// Port.
        port: u16,
    },
}

impl Receiver {
    /// Reads `syslog`, `syslog:/path`, `syslog:udp://HOST[:PORT]` or `syslog:tcp://HOST[:PORT]`.
    pub fn parse(text: &str) -> Option<Receiver> {
        let rest = text.strip_prefix("syslog")?;
        if rest.is_empty() {
            return Some(Receiver::Local(PathBuf::from(LOCAL_SOCKET)));
        }
        let rest = rest.strip_prefix(':')?;
        if let Some(authority) = rest.strip_prefix("udp://") {
            let (host, port) = host_and_port(authority)?;
            return Some(Receiver::Udp { host, port });
        }
        if let Some(authority) = rest.strip_prefix("tcp://") {
            let (host, port) = host_and_port(authority)?;
            return Some(Receiver::Tcp { host, port });
        }
        rest.starts_with('/').then(|| Receiver::Local(PathBuf::from(rest)))
    }
}

fn host_and_port(authority: &str) -> Option<(Box<str>, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (authority, PORT),
    };
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok().then(|| (address.into(), port));
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(valid)).then(|| (host.into(), port))
}

/// As [`Receiver::parse`] reads it.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        match self {
            Receiver::Local(path) if path == Path::new(LOCAL_SOCKET) => f.write_str("syslog"),
            Receiver::Local(path) => write!(f, "syslog:{}", path.display()),
            Receiver::Udp { host, port } => write!(f, "syslog:udp://{}:{port}", bracketed(host)),
            Receiver::Tcp { host, port } => write!(f, "syslog:tcp://{}:{port}", bracketed(host)),
        }
    }
}

/// Sends lines; connects when there are some, and again after the receiver went away.
#[derive(Debug)]
pub(super) struct Sender {
    receiver: Receiver,
    host: String,
    connection: Option<Connection>,
    /// When connecting last failed.
    failed: Option<Instant>,
    message: Vec<u8>,
}

#[derive(Debug)]
enum Connection {
    Local(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// Lines that did not arrive.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

impl Sender {
    pub(super) fn new(receiver: Receiver) -> Sender {
        let host = host_name(rustix::system::uname().nodename().to_str().unwrap_or_default());
        Sender { receiver, host, connection: None, failed: None, message: Vec::new() }
    }

    /// Finds the receiver anew with the next lines, its name included.
    pub(super) fn reconnect(&mut self) {
        self.connection = None;
        self.failed = None;
    }

    /// Sends whole lines. After one that cannot be sent, the rest is given up.
    pub(super) fn send(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let header = self.header(jiff::Timestamp::now());
        let lines = || lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let count = || lines().count() as u64;
        if self.has_ended() {
            self.connection = None;
        }
        self.connect().map_err(|error| Lost { lines: count(), error })?;
        if let Some(Connection::Tcp(stream)) = &mut self.connection {
            // One write for all: a message for each would be a segment for each.
            self.message.clear();
            for line in lines() {
                let text = cut(line);
                // Writing to a vector does not fail.
                let _ = write!(self.message, "{} {header}", header.len() + text.len());
                self.message.extend_from_slice(text);
            }
            return stream.write_all(&self.message).map_err(|error| {
                // What arrived of them is not known, and the last may have been torn.
                self.connection = None;
                Lost { lines: count(), error }
            });
        }
        for (sent, line) in lines().enumerate() {
            self.message.clear();
            self.message.extend_from_slice(header.as_bytes());
            self.message.extend_from_slice(cut(line));
            self.send_datagram().map_err(|error| Lost { lines: count() - sent as u64, error })?;
        }
        Ok(())
    }

    /// What stands before the text of each message.
    fn header(&self, now: jiff::Timestamp) -> String {
        let process = std::process::id();
        match self.receiver {
            // RFC 3164 §4.1.2: the day is padded with a space.
            Receiver::Local(_) => {
                format!("<{PRIORITY}>{} portcullis[{process}]: ", now.strftime("%b %e %H:%M:%S"))
            }
            Receiver::Udp { .. } | Receiver::Tcp { .. } => {
                let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
                format!("<{PRIORITY}>1 {time} {} portcullis {process} access - ", self.host)
            }
        }
    }

    /// Sends a datagram; one more time on a new socket if the daemon was started anew, or if the network told of an
    /// earlier datagram that nobody took it.
    fn send_datagram(&mut self) -> io::Result<()> {
        match self.try_send_datagram() {
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotConnected) => {
                self.connection = None;
                self.connect()?;
                self.try_send_datagram()
            }
            outcome => outcome,
        }
    }

    fn try_send_datagram(&self) -> io::Result<()> {
        match &self.connection {
            Some(Connection::Local(socket)) => socket.send(&self.message).map(drop),
            Some(Connection::Udp(socket)) => socket.send(&self.message).map(drop),
            Some(Connection::Tcp(_)) | None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Whether the receiver has closed the connection: the first write after that would seem to succeed.
    fn has_ended(&self) -> bool {
        let Some(Connection::Tcp(stream)) = &self.connection else { return false };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let waiting = rustix::net::recv(stream, &mut [0_u8; 1][..], flags);
        // Receivers say nothing, so whatever there is but nothing is the end.
        !matches!(waiting, Err(rustix::io::Errno::AGAIN))
    }

    fn connect(&mut self) -> io::Result<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        if self.failed.is_some_and(|failed| failed.elapsed() < RETRY_INTERVAL) {
            return Err(ErrorKind::NotConnected.into());
        }
        match open(&self.receiver) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                self.failed = Some(Instant::now());
                Err(error)
            }
        }
    }
}

fn open(receiver: &Receiver) -> io::Result<Connection> {
    match receiver {
        Receiver::Local(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(SEND_TIMEOUT))?;
            socket.connect(path)?;
            Ok(Connection::Local(socket))
        }
        Receiver::Udp { host, port } => first(host, *port, |address| {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.set_write_timeout(Some(SEND_TIMEOUT))?;
            socket.connect(address)?;
            Ok(Connection::Udp(socket))
        }),
        Receiver::Tcp { host, port } => first(host, *port, |address| {
            let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
            stream.set_write_timeout(Some(SEND_TIMEOUT))?;
            Ok(Connection::Tcp(stream))
        }),
    }
}

/// The first of a host's addresses that works.
fn first(
    host: &str,
    port: u16,
    open: impl Fn(SocketAddr) -> io::Result<Connection>,
) -> io::Result<Connection> {
    let mut last = ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match open(address) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// `HOSTNAME` of RFC 5424 §6.2.4: visible ASCII, at most 255.
fn host_name(name: &str) -> String {
    let valid = !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { name.to_owned() } else { String::from("-") }
}

/// At most [`TEXT_BYTES_MAX`] bytes of a line, whole characters.
fn cut(line: &[u8]) -> &[u8] {
    if line.len() <= TEXT_BYTES_MAX {
        return line;
    }
    let begins_character = |at: &usize| line[*at] & 0b1100_0000 != 0b1000_0000;
    let end = (0..=TEXT_BYTES_MAX).rev().find(begins_character).unwrap_or(TEXT_BYTES_MAX);
    &line[..end]
}

#[cfg(test)]
mod tests;
