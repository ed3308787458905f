//! Network namespaces joined to this host by veth pairs, made with `ip` and removed on drop.
//!
//! The tests use it too: a namespace is a client host of its own, with an address that the kernel stage sees as it
//! sees any other. Only addresses of 198.18.0.0/15, which is set aside for such use (RFC 2544, RFC 6890), are taken, and of
//! 2001:db8::/32, which is for documentation (RFC 3849).

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

/// What went wrong while the network was being made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `ip` is not there.
    #[error("the command `ip` cannot be run; install the package iproute2")]
    NoIp(#[source] io::Error),
    /// `ip` refused.
    #[error("`ip {command}` failed: {stderr}")]
    Ip {
        /// Its arguments.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// A namespace could not be entered.
    #[error("cannot enter the network namespace {name}")]
    Enter {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// One client host: a namespace, joined by a veth pair whose other end is on this host.
#[derive(Debug)]
pub struct Host {
    /// Name of the namespace, at most 13 bytes; also the stem of both interface names.
    pub name: String,
    /// Interface on this host, where the kernel stage is attached.
    pub interface: String,
    /// Address of this host's end.
    pub gateway: Ipv4Addr,
    /// Address of the client.
    pub address: Ipv4Addr,
}

impl Host {
    /// Makes the namespace `name` with the client address 198.18.`net`.2 and this host's end 198.18.`net`.1, both /24.
    /// What a run that was killed left under the same name is removed first.
    pub fn new(name: &str, net: u8) -> Result<Host, Error> {
        let host = Host {
            name: name.to_owned(),
            interface: format!("{name}0"),
            gateway: Ipv4Addr::new(198, 18, net, 1),
            address: Ipv4Addr::new(198, 18, net, 2),
        };
        host.remove();
        let inner = format!("{name}1");
        let steps = [
            format!("netns add {name}"),
            format!("link add {} type veth peer name {inner} netns {name}", host.interface),
            format!("address add {}/24 dev {}", host.gateway, host.interface),
            format!("link set {} up", host.interface),
            format!("-n {name} link set lo up"),
            format!("-n {name} address add {}/24 dev {inner}", host.address),
            format!("-n {name} link set {inner} up"),
            format!("-n {name} route add default via {}", host.gateway),
        ];
        for step in &steps {
            ip(step)?;
        }
        Ok(host)
    }

    /// The same with IPv6 besides: the client can send from any address of 2001:db8:`net`::/48. No end of the link waits for
    /// duplicate address detection.
    pub fn dual(name: &str, net: u8) -> Result<Host, Error> {
        let host = Host::new(name, net)?;
        let (gateway, client) = (host.gateway6(), Ipv6Addr::from(u128::from(host.gateway6()) + 1));
        let network = host.address6(0, 0);
        let steps = [
            format!("address add {gateway}/64 dev {} nodad", host.interface),
            format!("-n {name} address add {client}/64 dev {name}1 nodad"),
            // Its neighbour is asked for from here: the link-local address that the kernel makes is not yet usable.
            format!("-n {name} address add fe80::2/64 dev {name}1 nodad"),
            format!("-n {name} route add default via {gateway}"),
            format!("route add {network}/48 via {client}"),
            // All of it is the client's without an address of each, and may be bound.
            format!("-n {name} route add local {network}/48 dev lo"),
            format!("netns exec {name} sysctl -q -w net.ipv6.ip_nonlocal_bind=1"),
        ];
        for step in &steps {
            ip(step)?;
        }
        Ok(host)
    }

    /// IPv6 address of this host's end, if it was made [`dual`](Host::dual).
    pub fn gateway6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xffff, self.net(), 0, 0, 0, 1)
    }

    /// One of the client's IPv6 addresses: 2001:db8:`net`:`site`::`number`.
    pub fn address6(&self, site: u16, number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, self.net(), site, 0, 0, 0, number)
    }

    fn net(&self) -> u16 {
        self.address.octets()[2].into()
    }

    /// Runs `f` on a thread inside the namespace and waits for its result. Sockets that `f` makes belong to the
    /// namespace for as long as they live.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let enter = |source| Error::Enter { name: self.name.clone(), source };
        let namespace = File::open(format!("/run/netns/{}", self.name)).map_err(enter)?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                rustix::thread::move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&namespace),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .map_err(|error| enter(error.into()))?;
                Ok(f())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn remove(&self) {
        // Removing the namespace removes its end of the pair, and with it ours; the link is named in case the
        // namespace was never made.
        let _ = ip(&format!("link del {}", self.interface));
        let _ = ip(&format!("netns del {}", self.name));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Runs `ip` with arguments that are parted by single spaces.
pub fn ip(arguments: &str) -> Result<(), Error> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(Error::NoIp)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Ip { command: arguments.to_owned(), stderr })
}
