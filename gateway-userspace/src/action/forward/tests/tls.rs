//! TLS towards upstreams: verified, always.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use http::Response;

use super::fetch;
use crate::http::rejection::Rejection;
use crate::upstream::config::{Config, Protocol};
use crate::upstream::registry::Registry;
use crate::upstream::tests::origin::{Origin, Speaks, full};
use crate::upstream::tests::{config, on_a_worker, open};

/// A server certificate for this name, and the file of the CA that signed it.
fn certified(name: &str, alpn: &[u8]) -> (Arc<rustls::ServerConfig>, PathBuf) {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("a CA");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new([name.to_owned()])
        .expect("a name")
        .signed_by(&key, &issuer)
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("suites")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a pair");
    server.alpn_protocols = vec![alpn.to_vec()];
    (Arc::new(server), temporary(&ca_certificate.pem()))
}

/// A file that is the test's own.
fn temporary(text: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("portcullis-tls-{}-{number}.pem", std::process::id()));
    std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
    path
}

/// An upstream reached as `localhost`.
fn over_tls(origin: &Origin, ca: Option<PathBuf>) -> Config {
    let mut config = config(&[origin.address]);
    config.targets[0].tls = true;
    config.targets[0].host = "localhost".into();
    config.ca = ca;
    config
}

/// Resolves the name first, as a start does.
async fn fetch_resolved(config: Config) -> Result<bytes::Bytes, Rejection> {
    let registry = Registry::new();
    let plan = Arc::new(registry.compile(config).expect("valid"));
    assert!(registry.resolve().await, "localhost has an address");
    fetch(&crate::upstream::Upstreams::new(0).open(plan)).await
}

#[test]
fn a_target_with_the_right_name_and_ca_is_believed_in_both_protocols() {
    on_a_worker(async {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let answer = |_request| async { Response::new(full("ok")) };
            let (origin, ca) = match protocol {
                Protocol::Http1 => {
                    let (tls, ca) = certified("localhost", b"http/1.1");
                    (Origin::start(Speaks::Http1OverTls(tls), answer).await, ca)
                }
                Protocol::Http2 => {
                    let (tls, ca) = certified("localhost", b"h2");
                    (Origin::start(Speaks::Http2OverTls(tls), answer).await, ca)
                }
            };
            let mut config = over_tls(&origin, Some(ca.clone()));
            config.protocol = protocol;
            assert_eq!(fetch_resolved(config).await.expect("an answer"), "ok");
            std::fs::remove_file(ca).expect("our file");
        }
    });
}

#[test]
fn another_name_another_ca_and_a_target_without_http2_are_refused() {
    on_a_worker(async {
        let answer = |_request| async { Response::new(full("secret")) };
        let (right, ca) = certified("localhost", b"http/1.1");
        let (wrong_name, ca_of_wrong_name) = certified("other.test", b"http/1.1");
        let right = Origin::start(Speaks::Http1OverTls(right), answer).await;
        let wrong_name = Origin::start(Speaks::Http1OverTls(wrong_name), answer).await;

        let refused = Err(Rejection::UpstreamUnreachable);
        assert_eq!(fetch_resolved(over_tls(&wrong_name, Some(ca_of_wrong_name.clone()))).await, refused);
        assert_eq!(fetch_resolved(over_tls(&right, Some(ca_of_wrong_name.clone()))).await, refused);
        let mut http2 = over_tls(&right, Some(ca.clone()));
        http2.protocol = Protocol::Http2;
        assert_eq!(fetch_resolved(http2).await, refused);
        assert_eq!(right.seen.requests.get() + wrong_name.seen.requests.get(), 0);
        assert_eq!(fetch_resolved(over_tls(&right, Some(ca.clone()))).await.expect("an answer"), "secret");
        for file in [ca, ca_of_wrong_name] {
            std::fs::remove_file(file).expect("our file");
        }
    });
}

#[test]
fn a_ca_file_that_holds_no_ca_does_not_compile() {
    let missing = PathBuf::from("/nonexistent/ca.pem");
    let empty = temporary("nothing here\n");
    for file in [missing, empty.clone()] {
        let mut config = config(&[([127, 0, 0, 1], 1).into()]);
        config.targets[0].tls = true;
        config.ca = Some(file);
        assert!(Registry::new().compile(config).is_err());
    }
    std::fs::remove_file(empty).expect("our file");
}

#[test]
fn a_name_that_was_never_resolved_has_no_connection() {
    on_a_worker(async {
        let mut config = config(&[([127, 0, 0, 1], 1).into()]);
        config.targets[0].host = "name.invalid".into();
        assert_eq!(fetch(&open(config)).await, Err(Rejection::UpstreamUnreachable));
    });
}
