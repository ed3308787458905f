//! A receiver of logs over HTTP that records what it gets and answers as a test wants it to: the part of Splunk or of a
//! collector that can be had without one.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::echo::read_request;

/// How it treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Records them and answers 200 with this body.
    Accepts(&'static str),
    /// Answers with this status, and tells to come again after so many seconds.
    Refuses(u16, Option<u32>),
    /// Takes connections and never answers.
    Silent,
}

/// A request that was accepted.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST /path HTTP/1.1`
    pub line: String,
    /// The fields in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a field; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A running receiver, stopped when dropped.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    mood: Mutex<Mood>,
    accepted: Mutex<Vec<Request>>,
    turned_away: Mutex<Vec<Request>>,
    stop: AtomicBool,
}

impl Receiver {
    /// Listens on a free port of loopback.
    pub fn start(mood: Mood) -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            mood: Mutex::new(mood),
            accepted: Mutex::default(),
            turned_away: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = shared.clone();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Receiver { address, state }
    }

    /// `http://127.0.0.1:PORT` + path
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Treats requests like this from now on.
    pub fn becomes(&self, mood: Mood) {
        *lock(&self.state.mood) = mood;
    }

    /// What it accepted.
    pub fn accepted(&self) -> Vec<Request> {
        lock(&self.state.accepted).clone()
    }

    /// What it did not accept.
    pub fn turned_away(&self) -> Vec<Request> {
        lock(&self.state.turned_away).clone()
    }

    /// Waits until what it accepted is enough, at most ten seconds; returns it in either case.
    pub fn wait(&self, enough: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let started = Instant::now();
        loop {
            let accepted = self.accepted();
            if enough(&accepted) || started.elapsed() > Duration::from_secs(10) {
                return accepted;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        // Wakes the accept loop, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((line, headers, body)) = read_request(&mut reader) {
            let request = Request { line, headers, body };
            let mood = *lock(&self.mood);
            let answer = match mood {
                Mood::Accepts(body) => {
                    lock(&self.accepted).push(request);
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                }
                Mood::Refuses(status, after) => {
                    lock(&self.turned_away).push(request);
                    let after = after.map_or(String::new(), |seconds| format!("Retry-After: {seconds}\r\n"));
                    format!("HTTP/1.1 {status} No\r\n{after}Content-Length: 0\r\n\r\n")
                }
                Mood::Silent => {
                    lock(&self.turned_away).push(request);
                    continue;
                }
            };
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
