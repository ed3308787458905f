//! Network namespaces joined to this host by veth pairs, made with `ip` and removed on drop.
//!
//! The tests use it too: a namespace is a client host of its own, with an address that the kernel stage sees as it
//! sees any other. Only addresses of 198.18.0.0/15, which is set aside for such use (RFC 2544, RFC 6890), are taken.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
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

fn ip(arguments: &str) -> Result<(), Error> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(Error::NoIp)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Ip { command: arguments.to_owned(), stderr })
}
