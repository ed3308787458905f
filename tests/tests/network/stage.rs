//! A gateway with its kernel stage on the interfaces of client hosts.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_userspace::demo::network::{Error, Host};
use tests::curl::{Answer, curl_by};
use tests::gateway::Gateway;

/// Networks that a test has or had.
static TAKEN: Mutex<BTreeSet<u8>> = Mutex::new(BTreeSet::new());

/// A gateway and the hosts around it.
pub struct Stage {
    /// The gateway; it listens in cleartext on every address.
    pub gateway: Gateway,
    /// Client hosts.
    pub hosts: Vec<Host>,
    /// Where its maps are pinned.
    pub pins: String,
}

impl Stage {
    /// `count` hosts on the networks 198.18.`net` and following, and a gateway with `shield` and `rest`. Each test takes
    /// networks of its own.
    ///
    /// # Panics
    /// If another test has one of them.
    pub fn new(net: u8, count: u8, shield: &str, rest: &str) -> Stage {
        Stage::with(Host::new, "0.0.0.0", net, count, shield, rest)
    }

    /// The same with IPv6 besides, as [`Host::dual`] has it.
    pub fn dual(net: u8, count: u8, shield: &str, rest: &str) -> Stage {
        Stage::with(Host::dual, "[::]", net, count, shield, rest)
    }

    fn with(
        host: impl Fn(&str, u8) -> Result<Host, Error>,
        listen: &str,
        net: u8,
        count: u8,
        shield: &str,
        rest: &str,
    ) -> Stage {
        for net in net..net + count {
            let free = TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(net);
            assert!(free, "another test has the network 198.18.{net}");
        }
        let hosts: Vec<Host> = (net..net + count)
            .map(|net| host(&format!("pt{net}"), net).expect("a client host can be made"))
            .collect();
        let interfaces: Vec<String> = hosts.iter().map(|host| format!("{:?}", host.interface)).collect();
        let pins = format!("/sys/fs/bpf/portcullis-test-{net}");
        let _ = std::fs::remove_dir_all(&pins);
        let shield =
            format!("[shield]\ninterfaces = [{}]\npins = {pins:?}\n{shield}\n", interfaces.join(", "));
        let gateway = Gateway::start_with(|_, port| {
            format!("[listen.main]\naddress = \"{listen}:{port}\"\n{shield}{rest}")
        });
        Stage { gateway, hosts, pins }
    }

    /// `GET path` by curl from a host, giving up on the connection after one second.
    pub fn get(&self, host: usize, path: &str) -> Answer {
        self.get_with(host, &[], path)
    }

    /// The same with more arguments.
    pub fn get_with(&self, host: usize, arguments: &[&str], path: &str) -> Answer {
        let host = &self.hosts[host];
        let url = format!("http://{}:{}{path}", host.gateway, self.gateway.port);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.name, "curl", "--connect-timeout", "1"]);
        curl_by(&mut command, &[arguments, &[&*url]].concat())
    }

    /// As [`Stage::get`], over IPv6 and from one of the host's addresses.
    pub fn get6(&self, host: usize, source: Ipv6Addr, path: &str) -> Answer {
        let host = &self.hosts[host];
        let url = format!("http://[{}]:{}{path}", host.gateway6(), self.gateway.port);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.name, "curl", "--connect-timeout", "1"]);
        curl_by(&mut command, &["--globoff", "--interface", &source.to_string(), &url])
    }

    /// Whether a SYN from a host is answered within `timeout`.
    pub fn connects(&self, host: usize, timeout: Duration) -> bool {
        let host = &self.hosts[host];
        let address = SocketAddr::from((host.gateway, self.gateway.port));
        host.run(move || std::net::TcpStream::connect_timeout(&address, timeout).is_ok())
            .expect("the host is there")
    }

    /// Address of a host.
    pub fn address(&self, host: usize) -> Ipv4Addr {
        self.hosts[host].address
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.gateway.kill();
        self.hosts.clear();
        let _ = std::fs::remove_dir_all(&self.pins);
    }
}

/// The Ethernet address of an interface of this host.
pub fn station(interface: &str) -> [u8; 6] {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/address")).expect("it has one");
    let bytes = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"));
    bytes.collect::<Vec<_>>().try_into().expect("six bytes")
}

/// Waits for a thing to come true, ten seconds at most.
///
/// # Panics
/// If it does not.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !done() {
        assert!(asked.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
