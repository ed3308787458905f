//! TLS of the admin listener: TLS 1.3 only, client certificates always, no resumption, so that whoever is revoked is out
//! with the next connection.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;

use crate::config::model::AdminTls;
use crate::tls::TlsError;
use crate::tls::certificates::{read_chain, read_key, unreadable_or_damaged};

/// Reads the files and makes the server's settings.
///
/// With a revocation list every certificate of a client's chain must be one that the lists speak of, and the lists must
/// not be past their next update: what cannot be shown to be good is refused.
pub fn load(settings: &AdminTls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let ca = &settings.client_ca.value;
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(ca)? {
        let bad = |cause| TlsError::BadClientCa { path: ca.clone(), cause };
        roots.add(certificate).map_err(bad)?;
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if let Some(path) = settings.crl.as_ref().map(|crl| &crl.value) {
        let lists = CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let lists = lists.map_err(|error| unreadable_or_damaged(path, error))?;
        if lists.is_empty() {
            return Err(TlsError::NoRevocations { path: path.clone() });
        }
        verifier = verifier.with_crls(lists).enforce_revocation_expiration();
    }
    let verifier = verifier.build().map_err(|cause| TlsError::ClientVerifier { path: ca.clone(), cause })?;
    let (certificate, key) = (&settings.server.certificate.value, &settings.server.key.value);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Library)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(read_chain(certificate)?, read_key(key)?)
        .map_err(|cause| match cause {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() }
            }
            cause => TlsError::BadKey { path: key.clone(), cause },
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
