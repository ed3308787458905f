//! Load: connections that send the same request again as soon as its answer is complete.
//!
//! Keep-alive HTTP/1.1, in the clear or over TLS 1.3, on one epoll loop in the calling thread. Bounded in time and in
//! requests. An answer that has not the status that is waited for, or no `Content-Length`, ends the run with an error, so
//! that refusals are never measured as speed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustls::{ClientConfig, ClientConnection};

/// Largest header section of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long all connections together may stay silent before the run fails.
const SILENCE_MAX: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// What to send where.
pub struct Settings {
    /// Where.
    pub address: SocketAddr,
    /// How many connections, each with one request under way.
    pub connections: usize,
    /// The whole request, without a body.
    pub request: Vec<u8>,
    /// The status of each answer.
    pub status: u16,
    /// TLS, and the server's name.
    pub tls: Option<(Arc<ClientConfig>, &'static str)>,
}

/// Open connections, between or in the middle of requests.
pub struct Load {
    poll: OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    status: u16,
}

/// What a run did.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Answers that were complete within the run.
    pub requests: u64,
    /// How long it was.
    pub elapsed: Duration,
}

struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What has come of the present answer's head.
    head: Vec<u8>,
    /// Bytes of the body still to come, once the head is complete.
    body: Option<usize>,
}

impl Load {
    /// Connects, shakes hands and sends the first request on each connection.
    pub fn open(settings: &Settings) -> Result<Load> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(settings.connections);
        for number in 0..settings.connections {
            let mut connection = Connection::open(settings).context("cannot connect")?;
            let token = epoll::EventData::new_u64(number as u64);
            epoll::add(&poll, &connection.socket, token, epoll::EventFlags::IN)?;
            connection.send(&settings.request)?;
            connections.push(connection);
        }
        let Settings { request, status, .. } = settings;
        Ok(Load { poll, connections, request: request.clone(), status: *status })
    }

    /// Runs for a time, or for as many requests if they come first. Can be called again: nothing is lost between.
    pub fn run(&mut self, time: Duration, requests_max: u64) -> Result<Outcome> {
        let started = Instant::now();
        let mut requests = 0;
        let mut events = Vec::with_capacity(256);
        let mut buffer = vec![0; 64 << 10];
        while started.elapsed() < time && requests < requests_max {
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&SILENCE_MAX)) {
                Ok(0) => bail!("no answer on any connection for {} s", SILENCE_MAX.tv_sec),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let number = usize::try_from(event.data.u64()).expect("made from a usize");
                let connection = &mut self.connections[number];
                if connection.receive(&mut buffer, self.status)? {
                    requests += 1;
                    connection.send(&self.request)?;
                }
            }
        }
        Ok(Outcome { requests, elapsed: started.elapsed() })
    }
}

impl Connection {
    fn open(settings: &Settings) -> Result<Connection> {
        let mut socket = TcpStream::connect(settings.address)?;
        socket.set_nodelay(true)?;
        let tls = match &settings.tls {
            None => None,
            Some((config, name)) => {
                let mut tls = ClientConnection::new(config.clone(), (*name).try_into()?)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Some(Box::new(tls))
            }
        };
        socket.set_nonblocking(true)?;
        Ok(Connection { socket, tls, head: Vec::with_capacity(1024), body: None })
    }

    /// A request fits into an idle socket's buffer, so it is never written in parts.
    fn send(&mut self, request: &[u8]) -> Result<()> {
        match &mut self.tls {
            None => self.socket.write_all(request)?,
            Some(tls) => {
                tls.writer().write_all(request)?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.socket)?;
                }
            }
        }
        Ok(())
    }

    /// Reads what is there; true when an answer is complete.
    fn receive(&mut self, buffer: &mut [u8], status: u16) -> Result<bool> {
        loop {
            let read = match self.read(buffer) {
                Ok(0) => bail!("the connection was closed"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            if self.take(&buffer[..read], status)? {
                return Ok(true);
            }
            // In the clear, a short read has emptied the socket; asking again would cost a call.
            if self.tls.is_none() && read < buffer.len() {
                return Ok(false);
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).read(buffer),
        }
    }

    fn take(&mut self, bytes: &[u8], status: u16) -> Result<bool> {
        let remaining = match self.body {
            Some(remaining) => remaining.checked_sub(bytes.len()).context("more than an answer")?,
            None => {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    ensure!(self.head.len() < HEAD_BYTES_MAX, "the head of an answer is too large");
                    return Ok(false);
                };
                let length = content_length(&self.head[..end + 2], status)?;
                length.checked_sub(self.head.len() - end - 4).context("more than an answer")?
            }
        };
        self.body = Some(remaining);
        if remaining > 0 {
            return Ok(false);
        }
        self.head.clear();
        self.body = None;
        Ok(true)
    }
}

/// The length of the answer with this head, which must have this status.
fn content_length(head: &[u8], status: u16) -> Result<usize> {
    let text = std::str::from_utf8(head).context("an answer's head is not text")?;
    ensure!(text.starts_with(&format!("HTTP/1.1 {status} ")), "not a {status}: {text}");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse())
    });
    Ok(length.with_context(|| format!("no Content-Length: {text}"))??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[test]
    fn load_is_bounded_in_requests_and_in_time() {
        let origin = Origin::start(|| ()).expect("an origin");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let settings = Settings { address: origin.address, connections: 3, request, status: 200, tls: None };
        let mut load = Load::open(&settings).expect("connections");
        let outcome = load.run(Duration::from_secs(10), 100).expect("answers");
        assert!((100..103).contains(&outcome.requests) && outcome.elapsed < Duration::from_secs(10));
        let outcome = load.run(Duration::from_millis(50), u64::MAX).expect("answers");
        assert!(outcome.elapsed >= Duration::from_millis(50) && outcome.requests > 0);
    }

    #[test]
    fn a_refusal_is_not_taken_for_an_answer() {
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n", 200).expect("an answer"), 12);
        for head in ["HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert!(content_length(head.as_bytes(), 200).is_err());
        }
    }
}
