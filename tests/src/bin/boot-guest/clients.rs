//! Client hosts in network namespaces of this machine, and what they get from the gateway.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_userspace::demo::network::Host;

/// The gateway's listener.
pub const PORT: u16 = 8080;
/// How long somebody who is not banned may wait for an answer: the machine is emulated, and slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long somebody who is banned waits before a SYN counts as dropped: far longer than an answer takes.
const SILENCE: Duration = Duration::from_secs(2);

/// One client host.
pub struct Client {
    host: Host,
}

/// What became of attempts to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// A connection was made.
    pub connected: u32,
    /// The machine said that nobody listens: the packet has come through.
    pub refused: u32,
    /// Nothing came back.
    pub silent: u32,
}

impl Client {
    /// Makes the host with the address 198.18.`net`.2.
    pub fn new(name: &str, net: u8) -> Client {
        Client { host: Host::new(name, net).expect("a client host can be made") }
    }

    /// The interface on this machine, where the kernel stage is attached.
    pub fn interface(&self) -> &str {
        &self.host.interface
    }

    /// Its address.
    pub fn address(&self) -> String {
        self.host.address.to_string()
    }

    /// Status of `GET path`; 0 without an answer.
    pub fn get(&self, path: &str) -> u16 {
        let (address, path) = (self.server(), path.to_owned());
        self.inside(move || get(address, &path).unwrap_or(0))
    }

    /// Whether a SYN is answered: tried for longer than an answer may take.
    pub fn connects(&self) -> bool {
        let address = self.server();
        self.inside(move || TcpStream::connect_timeout(&address, PATIENCE).is_ok())
    }

    /// Whether a SYN is dropped.
    pub fn is_shut_out(&self) -> bool {
        let address = self.server();
        self.inside(move || attempt(&address, SILENCE)) == Attempts { silent: 1, ..Attempts::default() }
    }

    /// Tries to connect again and again until `stop`, and counts.
    pub fn knock_until(&self, stop: &AtomicBool) -> Attempts {
        let address = self.server();
        self.inside(move || {
            let mut all = Attempts::default();
            while !stop.load(Ordering::Relaxed) {
                let one = attempt(&address, Duration::from_millis(300));
                all.connected += one.connected;
                all.refused += one.refused;
                all.silent += one.silent;
                // Nobody listens yet: not so fast that the processor has no time for the one who will.
                std::thread::sleep(Duration::from_millis(10));
            }
            all
        })
    }

    fn server(&self) -> SocketAddr {
        SocketAddr::from((self.host.gateway, PORT))
    }

    fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.host.run(act).expect("the host's namespace can be entered")
    }
}

fn attempt(address: &SocketAddr, timeout: Duration) -> Attempts {
    let mut attempts = Attempts::default();
    match TcpStream::connect_timeout(address, timeout) {
        Ok(_) => attempts.connected = 1,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => attempts.refused = 1,
        Err(_) => attempts.silent = 1,
    }
    attempts
}

fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}
