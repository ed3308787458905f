//! TLS towards targets: who is believed, and which protocol is agreed on.
//!
//! The target's certificate is always verified, against the system's roots or the upstream's own `ca`, for the host
//! that the config names. There is no way to turn that off.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::config::{Config, Protocol, Target};

/// Why an upstream's TLS settings do not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with CA certificates cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file with CA certificates is not PEM.
    #[error("{} is not a PEM file of certificates", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in the file cannot serve as a root.
    #[error("a certificate in {} cannot be used", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// The system has no usable root certificates.
    #[error("the system has no root certificates; install ca-certificates or name a `ca`")]
    NoSystemRoots,
    /// The target's host cannot stand in a certificate.
    #[error("{host} cannot be verified by TLS")]
    Name {
        /// The host.
        host: Box<str>,
        /// Why.
        source: InvalidDnsNameError,
    },
}

/// The settings for one protocol and these roots. Sessions are kept in them, for resumption by any worker.
pub(super) fn client_config(config: &Config, roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = match config.protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    client
}

/// The certificates in a PEM file.
pub(super) fn roots_from_pem(path: &Path, pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|source| Error::Pem { path: path.to_owned(), source })?;
        roots.add(certificate).map_err(|source| Error::Certificate { path: path.to_owned(), source })?;
    }
    if roots.is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(roots) }
}

/// The system's certificates; single ones that cannot be used are left out.
pub(super) fn roots_of_system() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(Error::NoSystemRoots) } else { Ok(roots) }
}

/// The name that a target's certificate must hold; also sent as SNI unless it is an address.
pub(super) fn server_name(target: &Target) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(target.host.to_string())
        .map_err(|source| Error::Name { host: target.host.clone(), source })
}
