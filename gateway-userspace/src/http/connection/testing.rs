//! Connections without a socket, for tests of what reads them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Connection;
use crate::config::model::ListenLimits;
use crate::http::client_address::TrustedProxies;
use crate::listener::Settings;
use crate::request::{Peer, peer};
use crate::tls::Tls;
use crate::tls::testing::Folder;

pub(crate) fn settings() -> Settings {
    Settings {
        name: "web".into(),
        tls: None,
        http2: true,
        proxy_protocol: false,
        check_server_name: true,
        fingerprint: false,
        access: None,
        limits: ListenLimits::default(),
        trusted: Arc::default(),
    }
}

fn peer_from(source: &str) -> Peer {
    let source = SocketAddr::new(source.parse().unwrap(), 4711);
    let local = SocketAddr::from(([127, 0, 0, 1], 80));
    Peer { socket: source, source, local, trusted: false, tls: None }
}

/// A cleartext connection from `source` to port 80.
pub(crate) fn connection(source: &str, trusted: &[&str]) -> Connection {
    let prefixes: Vec<_> = trusted.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let settings = Settings { trusted: Arc::new(TrustedProxies::new(&prefixes)), ..settings() };
    Connection::new(peer_from(source), Arc::new(settings), Duration::ZERO)
}

/// A connection to a listener with other settings.
pub(crate) fn connection_with(change: impl FnOnce(&mut Settings)) -> Connection {
    let mut settings = settings();
    change(&mut settings);
    Connection::new(peer_from("192.0.2.1"), Arc::new(settings), Duration::ZERO)
}

impl Connection {
    /// The same over TLS, where the client asked for `server_name` and got a certificate for `names`.
    pub(crate) fn served(self, server_name: &str, names: &[&str]) -> Connection {
        let folder = Folder::new();
        let certificate = folder.certificate(names, &rcgen::PKCS_ECDSA_P256_SHA256);
        let tls = Tls::load(&[certificate], true).unwrap();
        let session = peer::Tls { server_name: Some(server_name.into()), version: "1.3", ja4: None };
        let peer = Peer { tls: Some(Arc::new(session)), ..Peer::clone(&self.peer) };
        let settings = Settings {
            tls: Some(tls),
            access: None,
            name: self.settings.name.clone(),
            limits: self.settings.limits.clone(),
            trusted: self.settings.trusted.clone(),
            ..*self.settings
        };
        Connection::new(peer, Arc::new(settings), Duration::ZERO)
    }
}
