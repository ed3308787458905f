//! The admin API over TCP, for other machines: TLS 1.3 with client certificates, and nothing without.
//!
//! Off unless `[admin] listen` is set. A reload changes address, certificates and revocations while it runs; connections
//! that stand end by themselves. Limits: 32 connections at once, of which those that have not shown a certificate yet
//! count too and have 5 s for it; all others are those of the socket. Neither takes places from the other, so a flood
//! here leaves the socket as it is.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::handlers::Backend;
use super::peer::{Caller, Holder};
use super::server::{ACCEPT_PAUSE, Door};
use super::{certificate, connection};

const CONNECTIONS_MAX: usize = 32;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// At most one line about handshakes that failed in this time: anybody can make them fail.
const SAY_FAILURES_EVERY: Duration = Duration::from_secs(1);

/// Where to listen, and with what.
pub type Wanted = Option<(SocketAddr, Arc<ServerConfig>)>;

/// The listener, if there is one; what a reload changes.
#[derive(Default)]
pub struct Remote {
    listening: RefCell<Option<Rc<Listening>>>,
    changed: Notify,
    failures_said: Cell<Option<Instant>>,
}

struct Listening {
    /// As configured.
    wanted: SocketAddr,
    /// With the port that the kernel chose for port 0.
    bound: SocketAddr,
    listener: Rc<TcpListener>,
    tls: Arc<ServerConfig>,
}

/// A change that can no longer fail; see [`Remote::change`].
pub struct Change(Option<Listening>);

impl Remote {
    /// Binds what is to be bound; nothing is in force before [`Remote::change`]. Must be called in a tokio runtime.
    pub fn prepare(&self, wanted: Wanted) -> io::Result<Change> {
        let Some((address, tls)) = wanted else { return Ok(Change(None)) };
        let same = self.listening.borrow().clone().filter(|listening| listening.wanted == address);
        let (listener, bound) = match same {
            Some(listening) => (listening.listener.clone(), listening.bound),
            None => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                (Rc::new(TcpListener::from_std(listener)?), bound)
            }
        };
        Ok(Change(Some(Listening { wanted: address, bound, listener, tls })))
    }

    /// Puts a change in force. What is no longer listened on is closed.
    pub fn change(&self, change: Change) {
        let address = |listening: &Listening| listening.bound;
        let before = self.listening.borrow().as_deref().map(address);
        let after = change.0.as_ref().map(address);
        match after {
            Some(address) if before != after => tracing::info!(%address, "the admin API listens, with TLS"),
            None if before.is_some() => tracing::info!("the admin API listens on its socket only"),
            _ => {}
        }
        self.listening.replace(change.0.map(Rc::new));
        self.changed.notify_one();
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listening.borrow().as_ref().map(|listening| listening.bound)
    }

    /// Serves until the future is dropped, which also ends every connection. Must be called in a `LocalSet`.
    pub async fn serve<B: Backend>(self: Rc<Self>, door: Rc<Door>, backend: Rc<B>) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            let listening = self.listening.borrow().clone();
            let accept = async {
                match &listening {
                    Some(listening) => listening.listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = accept, if connections.len() < CONNECTIONS_MAX => match (accepted, &listening) {
                    (Ok((stream, address)), Some(listening)) => {
                        let acceptor = TlsAcceptor::from(listening.tls.clone());
                        let (remote, door, backend) = (self.clone(), door.clone(), backend.clone());
                        connections.spawn_local(async move {
                            remote.connection(acceptor, stream, address, &door, &*backend).await;
                        });
                    }
                    (Err(error), _) => {
                        tracing::warn!(%error, "cannot accept on the admin listener");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    (Ok(_), None) => {}
                },
                () = self.changed.notified() => {}
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "an admin request failed");
                },
            }
        }
    }

    async fn connection<B: Backend>(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        address: SocketAddr,
        door: &Door,
        backend: &B,
    ) {
        let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.say_failure(address, &error.to_string()),
            Err(_) => return self.say_failure(address, "it took more than 5 s"),
        };
        let (_, session) = stream.get_ref();
        // The verifier lets nobody through without one.
        let Some([certificate, ..]) = session.peer_certificates() else { return };
        let caller = Caller::Certificate(Holder { names: certificate::names(certificate), address });
        let role = door.role(&caller);
        connection::serve(stream, &caller, role, backend).await;
    }

    fn say_failure(&self, address: SocketAddr, because: &str) {
        let now = Instant::now();
        if self.failures_said.get().is_none_or(|said| now.duration_since(said) >= SAY_FAILURES_EVERY) {
            self.failures_said.set(Some(now));
            tracing::warn!(target: "audit", %address, because, "not admitted to the admin listener");
        }
    }
}
