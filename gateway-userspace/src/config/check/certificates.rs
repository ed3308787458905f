//! Certificates and keys: that they can be read, are what they should be, and belong together.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::config::codes;
use crate::config::model::{Action, AuthKind, Certificate, Config, UpstreamRef};
use crate::diagnostic::{Located, Place, Problem, Report};

/// Opens every certificate, key and CA file.
pub fn check(config: &Config, report: &mut Report) {
    for certificate in config.listen.iter().flat_map(|listen| &listen.tls) {
        check_pair(certificate, report);
    }
    if let Some(listen) = &config.admin.listen {
        check_pair(&listen.tls.server, report);
        check_ca(&listen.tls.client_ca.value, &listen.tls.client_ca.place, report);
        if let Some(crl) = &listen.tls.crl {
            check_revocations(crl, report);
        }
    }
    for auth in &config.auth {
        if let AuthKind::Jwt(jwt) = &auth.kind
            && let Some(ca) = &jwt.ca
        {
            check_ca(ca, &auth.place, report);
        }
    }
    for sink in &config.sink {
        if let Some(ca) = &sink.settings.ca {
            check_ca(ca, &sink.place, report);
        }
    }
    for upstream in &config.upstream {
        if let Some(ca) = &upstream.value.ca {
            check_ca(ca, &upstream.place, report);
        }
    }
    for route in &config.route {
        if let Action::Forward { upstream: UpstreamRef::Inline(upstream), .. } = &route.action
            && let Some(ca) = &upstream.ca
        {
            check_ca(ca, &route.place, report);
        }
    }
}

fn check_pair(pair: &Certificate, report: &mut Report) {
    let chain = read(&pair.certificate, report).and_then(|pem| chain(&pem, &pair.certificate.place, report));
    let key =
        read(&pair.key, report).and_then(|pem| match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(key) => Some(key),
            Err(_) => {
                let what = match pem.windows(11).any(|window| window == b"CERTIFICATE") {
                    true => "this file holds a certificate, not a private key",
                    false => "this file holds no private key in PEM",
                };
                let problem = Problem::error(codes::BAD_CERTIFICATE, what, pair.key.place.clone());
                report.push(problem.help(
                    "it begins with `-----BEGIN PRIVATE KEY-----`; keys with a passphrase cannot be used",
                ));
                None
            }
        });
    let (Some(chain), Some(key)) = (chain, key) else { return };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            let message = "this key does not belong to the certificate";
            let problem = Problem::error(codes::KEY_MISMATCH, message, pair.key.place.clone());
            report.push(problem.related(pair.certificate.place.clone(), "the certificate"));
        }
        // A key type whose public half cannot be computed; the handshake will tell.
        Err(rustls::Error::InconsistentKeys(_)) => {}
        Err(error) => {
            let message = format!("certificate and key cannot be used: {error}");
            let problem = Problem::error(codes::BAD_CERTIFICATE, message, pair.certificate.place.clone());
            report.push(problem.related(pair.key.place.clone(), "the key"));
        }
    }
}

fn chain(pem: &[u8], place: &Place, report: &mut Report) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let message = match chain {
        Ok(chain) if !chain.is_empty() => return Some(chain),
        Ok(_) => "this file holds no certificate in PEM".to_owned(),
        Err(error) => format!("this file is not valid PEM: {error}"),
    };
    let problem = Problem::error(codes::BAD_CERTIFICATE, message, place.clone());
    report.push(
        problem.help("it begins with `-----BEGIN CERTIFICATE-----`, the server's own certificate first"),
    );
    None
}

fn check_revocations(path: &Located<std::path::PathBuf>, report: &mut Report) {
    let Some(pem) = read(path, report) else { return };
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    if !lists.is_ok_and(|lists| !lists.is_empty()) {
        let message = "this file holds no revocation list in PEM";
        let problem = Problem::error(codes::BAD_CERTIFICATE, message, path.place.clone());
        report.push(problem.help(
            "it begins with `-----BEGIN X509 CRL-----`; openssl crl -inform DER -in FILE converts one in DER",
        ));
    }
}

fn check_ca(path: &std::path::Path, place: &Place, report: &mut Report) {
    let path = Located::new(path.to_owned(), place.clone());
    if let Some(pem) = read(&path, report) {
        chain(&pem, place, report);
    }
}

fn read(path: &Located<std::path::PathBuf>, report: &mut Report) -> Option<Vec<u8>> {
    match std::fs::read(&path.value) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let message = format!("`{}` cannot be read: {error}", path.value.display());
            report.push(Problem::error(codes::UNREADABLE, message, path.place.clone()));
            None
        }
    }
}
