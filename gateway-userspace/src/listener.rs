//! Listening sockets: one for each worker and address, and the connections that come in on them.
//!
//! A [`Listener`] is shared by all workers; each worker accepts on a socket of its own (`SO_REUSEPORT`), so the kernel
//! spreads connections and no lock is shared. A reload replaces the [`Settings`] of a listener whose address stays,
//! starts listeners that are new and stops those that are gone; connections that stand keep the settings they began
//! with.

pub mod accept;
pub mod bind;
pub mod connection_count;
pub mod proxy_protocol;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

pub use accept::Accepted;
pub use bind::{BindError, bind, reserve};
use connection_count::ConnectionCount;

use crate::config::model::{Listen, ListenLimits};
use crate::http::client_address::TrustedProxies;
use crate::policy::ip_access::Access;
use crate::tls::Tls;

/// What a connection needs to know of its listener.
#[derive(Debug)]
pub struct Settings {
    /// The name of `[listen.NAME]`.
    pub name: Arc<str>,
    /// Certificates and TLS settings; none is cleartext.
    pub tls: Option<Arc<Tls>>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Whether connections from trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether a host that the certificate served does not cover is answered with 421.
    pub check_server_name: bool,
    /// Whether TLS clients are told apart by their fingerprint.
    pub fingerprint: bool,
    /// Which client addresses are admitted, if not all.
    pub access: Option<Access>,
    /// Deadlines and sizes.
    pub limits: ListenLimits,
    /// Whose forwarding headers and PROXY protocol are believed.
    pub trusted: Arc<TrustedProxies>,
}

impl Settings {
    /// The settings of a `[listen.NAME]` with its certificates loaded. `fingerprint` is asked of the configuration
    /// as a whole.
    pub fn new(
        listen: &Listen,
        tls: Option<Arc<Tls>>,
        fingerprint: bool,
        trusted: Arc<TrustedProxies>,
    ) -> Settings {
        Settings {
            name: listen.name.clone(),
            tls,
            http2: listen.http2,
            proxy_protocol: listen.proxy_protocol,
            check_server_name: listen.check_server_name,
            fingerprint,
            access: Access::new(&listen.access),
            limits: listen.limits.clone(),
            trusted,
        }
    }
}

/// A listener as all workers share it.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    settings: RwLock<Arc<Settings>>,
    count: Arc<ConnectionCount>,
    stop: watch::Sender<bool>,
}

impl Listener {
    /// A listener for sockets bound to `address` (with the port that the kernel chose, if it did).
    pub fn new(address: SocketAddr, settings: Settings) -> Arc<Listener> {
        Arc::new(Listener {
            address,
            settings: RwLock::new(Arc::new(settings)),
            count: Arc::new(ConnectionCount::new()),
            stop: watch::Sender::new(false),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings for the next connection. One uncontended read lock for each connection.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts new settings in force for connections from now on.
    pub fn update(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Makes every worker's accept loop end. Connections that wait in the kernel's queue are still taken.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// How many of its connections are open.
    pub fn connections(&self) -> usize {
        self.count.total()
    }
}
