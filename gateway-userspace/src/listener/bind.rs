//! Binding: every worker gets its own socket on the same address, and an error says what to do about it.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait in the kernel for each socket.
const BACKLOG: i32 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot listen on {address}: {cause}")]
pub struct BindError {
    /// `[listen.NAME]`
    pub listener: String,
    /// The address from the configuration.
    pub address: SocketAddr,
    /// Why; part of the message, so not a source of its own.
    pub cause: BindCause,
}

impl BindError {
    /// Whether more privilege would help.
    pub fn needs_privilege(&self) -> bool {
        matches!(self.cause, BindCause::Privileged(_))
    }
}

/// The causes that an operator can do something about, and the rest.
#[derive(Debug, thiserror::Error)]
pub enum BindCause {
    /// A port below `net.ipv4.ip_unprivileged_port_start`.
    #[error("port {0} needs CAP_NET_BIND_SERVICE, or a port from 1024 up")]
    Privileged(u16),
    /// Somebody listens there.
    #[error("the address is in use by another process")]
    InUse,
    /// The host does not have the address.
    #[error("this host does not have the address")]
    NotLocal,
    /// The process may not open more files.
    #[error("too many open files; raise LimitNOFILE")]
    TooManyFiles,
    /// Anything else.
    #[error("{0}")]
    Other(#[source] io::Error),
}

/// Sockets that have their address and do not listen yet: a SYN is refused, so that nobody gets in before it is known
/// who is banned.
#[derive(Debug)]
pub struct Reserved {
    listener: String,
    address: SocketAddr,
    sockets: Vec<Socket>,
}

/// Binds `workers` times to `address`; with port 0 all sockets share the port that the kernel chose.
///
/// Before that the address is bound once without `SO_REUSEPORT`: with it, a second gateway of the same user would
/// silently take half of the connections instead of failing.
pub fn reserve(listener: &str, address: SocketAddr, workers: usize) -> Result<Reserved, BindError> {
    let listener = listener.to_owned();
    match sockets(address, workers) {
        Ok(sockets) => Ok(Reserved { listener, address, sockets }),
        Err(error) => Err(BindError { listener, address, cause: cause(error, address.port()) }),
    }
}

/// [`reserve`], and [`Reserved::listen`] at once.
pub fn bind(listener: &str, address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, BindError> {
    reserve(listener, address, workers)?.listen()
}

impl Reserved {
    /// Listens. It is refused where another process has come to listen on the address in the meantime.
    pub fn listen(self) -> Result<Vec<TcpListener>, BindError> {
        let Reserved { listener, address, sockets } = self;
        match sockets.iter().try_for_each(|socket| socket.listen(BACKLOG)) {
            Ok(()) => Ok(sockets.into_iter().map(TcpListener::from).collect()),
            Err(error) => Err(BindError { listener, address, cause: cause(error, address.port()) }),
        }
    }
}

fn sockets(address: SocketAddr, workers: usize) -> io::Result<Vec<Socket>> {
    drop(socket(address, false)?);
    let mut bound = address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(bound, true)?;
        bound = socket.local_addr()?.as_socket().unwrap_or(bound);
        sockets.push(socket);
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        // `[::]` takes IPv4 too, whatever `net.ipv6.bindv6only` says.
        socket.set_only_v6(*v6.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it on Linux, which saves a system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn cause(error: io::Error, port: u16) -> BindCause {
    match error.kind() {
        io::ErrorKind::PermissionDenied => BindCause::Privileged(port),
        io::ErrorKind::AddrInUse => BindCause::InUse,
        io::ErrorKind::AddrNotAvailable => BindCause::NotLocal,
        _ if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => BindCause::TooManyFiles,
        _ => BindCause::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn all_workers_listen_on_the_port_that_the_kernel_chose_for_the_first() {
        let sockets = bind("web", loopback(0), 3).unwrap();
        let ports: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert_eq!(sockets.len(), 3);
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[test]
    fn a_reserved_address_refuses_connections_until_it_is_listened_on() {
        let reserved = reserve("web", loopback(0), 2).unwrap();
        let address = reserved.sockets[0].local_addr().unwrap().as_socket().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let sockets = reserved.listen().unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn an_address_that_another_socket_listens_on_is_refused_although_ports_are_shared() {
        let first = bind("web", loopback(0), 1).unwrap();
        let taken = first[0].local_addr().unwrap();
        let error = bind("other", taken, 2).unwrap_err();
        assert!(matches!(error.cause, BindCause::InUse), "{error}");
        assert!(error.to_string().contains("`other`") && error.to_string().contains(&taken.to_string()));
    }

    #[test]
    fn an_address_of_another_host_is_named_as_such() {
        let error = bind("web", "192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
        assert!(matches!(error.cause, BindCause::NotLocal), "{error}");
    }

    #[test]
    fn a_missing_privilege_names_the_capability() {
        let cause = cause(io::ErrorKind::PermissionDenied.into(), 443);
        assert!(cause.to_string().contains("CAP_NET_BIND_SERVICE"), "{cause}");
    }

    #[test]
    fn the_unspecified_ipv6_address_takes_ipv4_too() {
        let sockets = bind("web", "[::]:0".parse().unwrap(), 1).unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        TcpStream::connect(loopback(port)).expect("IPv4 reaches a socket on [::]");
    }
}
