//! Certificates of a listener, and which of them a client gets.
//!
//! By the server name that the client asks for: certificates with exactly this name, else those with a wildcard for
//! it, else the first one. Among several for a name (an ECDSA and an RSA one, say) the first in the configuration
//! whose key fits the signature schemes that the client understands. Names come from the certificate itself.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs as provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use crate::config::model::Certificate;

/// All certificates of a listener, by name.
#[derive(Debug)]
pub struct Certificates {
    loaded: Vec<Loaded>,
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what follows the `*.`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
    /// The first certificate, and those after it with the same names.
    default: Vec<usize>,
}

#[derive(Debug)]
struct Loaded {
    names: Names,
    key: Arc<CertifiedKey>,
}

/// The DNS names of a certificate in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names(Vec<Box<str>>);

impl Names {
    fn cover(&self, host: &str) -> bool {
        let parent = parent(host);
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => **name == *host,
        })
    }
}

/// What a wildcard must match: everything after the first label (RFC 6125 §6.4.3).
fn parent(host: &str) -> Option<&str> {
    host.split_once('.').map(|(_, parent)| parent)
}

impl Certificates {
    /// Loads all of them, at least one; the errors are of all that failed.
    pub fn load(sources: &[Certificate]) -> Result<Certificates, Vec<TlsError>> {
        let (mut loaded, mut errors) = (Vec::new(), Vec::new());
        for source in sources {
            match load(&source.certificate.value, &source.key.value) {
                Ok(certificate) => loaded.push(certificate),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Certificates::index(loaded)) } else { Err(errors) }
    }

    fn index(loaded: Vec<Loaded>) -> Certificates {
        let mut exact: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, certificate) in loaded.iter().enumerate() {
            for name in &certificate.names.0 {
                let (map, key) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut wildcard, suffix),
                    None => (&mut exact, &**name),
                };
                map.entry(key.into()).or_default().push(index);
            }
        }
        let like_first = |index: &usize| loaded[*index].names == loaded[0].names;
        let default = (0..loaded.len()).filter(like_first).collect();
        Certificates { loaded, exact, wildcard, default }
    }

    /// The certificates for a server name in lower case, best first.
    fn candidates(&self, server_name: Option<&str>) -> &[usize] {
        let named = server_name.and_then(|name| {
            self.exact.get(name).or_else(|| self.wildcard.get(parent(name)?)).map(Vec::as_slice)
        });
        named.unwrap_or(&self.default)
    }

    /// Whether a certificate that is served for `server_name` also covers `host`.
    pub fn cover(&self, server_name: &str, host: &str) -> bool {
        self.candidates(Some(server_name)).iter().any(|index| self.loaded[*index].names.cover(host))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let fits =
            |index: &&usize| self.loaded[**index].key.key.choose_scheme(hello.signature_schemes()).is_some();
        let index = candidates.iter().find(fits).or(candidates.first())?;
        Some(self.loaded[*index].key.clone())
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let chain = read_chain(certificate)?;
    let leaf = chain.first().ok_or_else(|| TlsError::NoCertificate { path: certificate.into() })?;
    let names = names(leaf).map_err(|cause| TlsError::BadCertificate { path: certificate.into(), cause })?;
    let private = read_key(key)?;
    let key =
        CertifiedKey::from_der(chain, private, &provider::default_provider()).map_err(
            |cause| match cause {
                rustls::Error::InconsistentKeys(_) => {
                    TlsError::Mismatch { certificate: certificate.into(), key: key.into() }
                }
                cause => TlsError::BadKey { path: key.into(), cause },
            },
        )?;
    Ok(Loaded { names, key: Arc::new(key) })
}

/// The certificates in a PEM file, in their order.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    chain.map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoCertificate { path: path.into() },
        error => unreadable_or_damaged(path, error),
    })
}

/// The private key in a PEM file.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.into() },
        error => unreadable_or_damaged(path, error),
    })
}

/// Why a PEM file did not give what was looked for.
pub fn unreadable_or_damaged(path: &Path, error: pem::Error) -> TlsError {
    match error {
        pem::Error::Io(cause) => TlsError::Unreadable { path: path.into(), cause },
        cause => TlsError::Pem { path: path.into(), cause },
    }
}

/// The DNS names of a certificate; a certificate without any can only be the default.
fn names(leaf: &CertificateDer<'_>) -> Result<Names, webpki::Error> {
    let certificate = webpki::EndEntityCert::try_from(leaf)?;
    let names = certificate.valid_dns_names().map(|name| name.to_ascii_lowercase().into_boxed_str());
    Ok(Names(names.collect()))
}
