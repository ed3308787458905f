//! The cheapest upstream that can be written: every header section that ends is answered with the same bytes.
//!
//! For measuring proxies only. It reads no bodies and judges nothing.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;
use rustix::event::{Timespec, epoll};

/// Bytes of the body of every answer.
pub const BODY_BYTES: usize = 1024;
/// How soon a stop is noticed.
const STOP_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Runs on a thread of its own until it is dropped.
pub struct Origin {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Connection {
    stream: TcpStream,
    /// How many bytes of `CR LF CR LF` have been seen last.
    matched: usize,
}

impl Origin {
    /// Starts it; `prepare` runs on its thread first, to pin it for instance.
    pub fn start(prepare: impl FnOnce() + Send + 'static) -> Result<Origin> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            prepare();
            if let Err(error) = serve(&listener, &stopped) {
                eprintln!("origin: {error:#}");
            }
        });
        Ok(Origin { address, stop, thread: Some(thread) })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; there is nobody left to tell.
            thread.join().ok();
        }
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool) -> Result<()> {
    let answer = answer();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(u64::MAX), epoll::EventFlags::IN)?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&STOP_INTERVAL)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let token = event.data.u64();
            if token == u64::MAX {
                while let Ok((stream, _peer)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let token = stream.as_raw_fd() as u64;
                    epoll::add(&poll, &stream, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
                    connections.insert(token, Connection { stream, matched: 0 });
                }
            } else if let Some(connection) = connections.get_mut(&token)
                && !connection.serve(&mut buffer, &answer)
            {
                connections.remove(&token);
            }
        }
    }
    Ok(())
}

impl Connection {
    /// Reads once and answers what ended; false when the connection is over.
    fn serve(&mut self, buffer: &mut [u8], answer: &[u8]) -> bool {
        let read = match self.stream.read(buffer) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        let mut ended = 0;
        for &byte in &buffer[..read] {
            self.matched = match (self.matched, byte) {
                (0 | 2, b'\r') => self.matched + 1,
                (1, b'\n') => 2,
                (3, b'\n') => {
                    ended += 1;
                    0
                }
                (_, b'\r') => 1,
                _ => 0,
            };
        }
        (0..ended).all(|_| self.stream.write_all(answer).is_ok())
    }
}

fn answer() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nServer: origin\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + BODY_BYTES, b'x');
    answer
}
