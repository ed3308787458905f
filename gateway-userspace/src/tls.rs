//! TLS towards clients.
//!
//! A [`Tls`] is made whole from the configuration and never changed: a reload builds a new one and puts it into the
//! listener's settings, so connections in their handshake keep what they began with, and on any error the old one
//! stays. Only the key for session tickets outlives reloads; it is process-wide, so that a client can resume on
//! another worker and after a reload.

pub mod certificates;
pub mod client_hello;
pub mod ja4;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use tokio_rustls::TlsAcceptor;

use crate::config::model::Certificate;
use certificates::Certificates;
pub use ja4::Ja4;

/// Tickets for each TLS 1.3 handshake. Browsers open several connections at once, but one ticket may be used again.
const TICKETS: usize = 1;

/// Bytes that a TLS session buffers in each direction before it waits for the peer.
pub const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Why the TLS settings of a listener cannot be used. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file is not PEM, or its PEM is damaged.
    #[error("{} is not valid PEM: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls_pki_types::pem::Error,
    },
    /// No `CERTIFICATE` in a certificate file.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No private key in a key file.
    #[error("{} holds no private key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The leaf certificate cannot be parsed.
    #[error("the first certificate in {} cannot be used: {cause}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: webpki::Error,
    },
    /// The key is of a kind that TLS does not take, or is damaged.
    #[error("the key in {} cannot be used: {cause}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// A certificate of a CA for clients cannot be used.
    #[error("a certificate in {} cannot be used: {cause}", path.display())]
    BadClientCa {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
    /// No `X509 CRL` in a file of revocations.
    #[error("{} holds no revocation list", path.display())]
    NoRevocations {
        /// The file.
        path: PathBuf,
    },
    /// CA and revocations for clients do not make a verifier.
    #[error("clients cannot be verified with {} and its revocations (version 2 lists, RFC 5280): {cause}", path.display())]
    ClientVerifier {
        /// The CA's file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::server::VerifierBuilderError,
    },
    /// The cryptographic library refused to work.
    #[error("TLS cannot be set up: {0}")]
    Library(#[source] rustls::Error),
}

/// Certificates and settings of one listener.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// Loads the certificates and makes a server configuration: TLS 1.2 and 1.3, HTTP/2 by ALPN if `http2`.
    ///
    /// Reads files, so it is not for a worker's thread. All certificates are tried: the errors are of all that failed.
    pub fn load(certificates: &[Certificate], http2: bool) -> Result<Arc<Tls>, Vec<TlsError>> {
        let certificates = Arc::new(Certificates::load(certificates)?);
        let library = |error| vec![TlsError::Library(error)];
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(library)?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config.ticketer = ticketer().map_err(library)?;
        config.send_tls13_tickets = TICKETS;
        // Tickets hold the session; a cache beside them would be a lock shared by all workers.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(Tls { config: Arc::new(config), certificates }))
    }

    /// For one handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// Whether a certificate that is served for `server_name` also covers `host` (both in lower case).
    pub fn covers(&self, server_name: &str, host: &str) -> bool {
        self.certificates.cover(server_name, host)
    }
}

/// The process's source of ticket keys: new keys every six hours, the previous ones accepted until then.
fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    static TICKETER: OnceLock<Arc<dyn ProducesTickets>> = OnceLock::new();
    if let Some(ticketer) = TICKETER.get() {
        return Ok(ticketer.clone());
    }
    let made = provider::Ticketer::new()?;
    Ok(TICKETER.get_or_init(|| made).clone())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
