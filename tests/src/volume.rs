//! An upstream for bodies that no memory should hold: it swallows what it is sent, and sends as much as it is asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What ends a chunked body without trailers (RFC 9112 §7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A running upstream, stopped when dropped.
pub struct Volume {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    /// Bytes of bodies received so far, the framing of chunks included.
    pub received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Volume {
    /// `GET /N` is answered with N zeros; a request with a body with 200 when the body has ended, and not at all when it
    /// breaks off.
    pub fn start() -> Volume {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (received, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (received.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let count = count.clone();
                std::thread::spawn(move || answer(&stream, &count));
            }
        });
        Volume { address, received, stop }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept loop, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

/// One request; the connection is closed after it.
fn answer(mut stream: &TcpStream, received: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut request_line = String::new();
    reader.read_line(&mut request_line).ok()?;
    let mut body = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line == "transfer-encoding: chunked" {
            body = Some(End::LastChunk);
        } else if let Some(length) = line.strip_prefix("content-length: ") {
            body = Some(End::After(length.parse().ok()?));
        } else if line.is_empty() {
            break;
        }
    }
    if let Some(end) = body {
        swallow(&mut reader, end, received)?;
        return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").ok();
    }
    let bytes: u64 = request_line.split(' ').nth(1)?.trim_start_matches('/').parse().unwrap_or(0);
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n").ok()?;
    let zeros = vec![0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let count = zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&zeros[..count]).ok()?;
        left -= count as u64;
    }
    Some(())
}

/// Where a body ends.
enum End {
    LastChunk,
    After(u64),
}

/// Reads a body to its end; `None` when it breaks off before. No data may look like a last chunk.
fn swallow(reader: &mut impl BufRead, end: End, received: &AtomicU64) -> Option<()> {
    let (mut tail, mut total) = (Vec::new(), 0);
    loop {
        match end {
            End::LastChunk if tail == LAST_CHUNK => return Some(()),
            End::After(length) if total >= length => return Some(()),
            _ => {}
        }
        let bytes = reader.fill_buf().ok().filter(|bytes| !bytes.is_empty())?;
        let length = bytes.len();
        tail.extend_from_slice(&bytes[length.saturating_sub(LAST_CHUNK.len())..]);
        tail.drain(..tail.len().saturating_sub(LAST_CHUNK.len()));
        reader.consume(length);
        total += length as u64;
        received.fetch_add(length as u64, Ordering::Relaxed);
    }
}
