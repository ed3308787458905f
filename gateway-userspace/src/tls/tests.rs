//! Real handshakes between the library's two ends, in memory.

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};
use rustls_pki_types::ServerName;

use super::testing::{Folder, sources, trusting_client};
use super::*;

const ECDSA: &rcgen::SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
const RSA: &rcgen::SignatureAlgorithm = &rcgen::PKCS_RSA_SHA256;

/// Shakes hands, and lets the client read the tickets that follow.
fn handshake(tls: &Tls, client: Arc<ClientConfig>, name: &str) -> Result<ClientConnection, rustls::Error> {
    let mut server = ServerConnection::new(tls.config.clone())?;
    let mut client = ClientConnection::new(client, ServerName::try_from(name.to_owned()).unwrap())?;
    loop {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut answer = Vec::new();
        server.write_tls(&mut answer).unwrap();
        client.read_tls(&mut answer.as_slice()).unwrap();
        client.process_new_packets()?;
        if bytes.is_empty() && answer.is_empty() {
            return Ok(client);
        }
    }
}

/// The first name of the certificate that a client gets who asks for `name`.
fn served(tls: &Tls, name: &str) -> String {
    let client = handshake(tls, Arc::new(trusting_client(&[])), name).unwrap();
    let leaf = &client.peer_certificates().unwrap()[0];
    let certificate = webpki::EndEntityCert::try_from(leaf).unwrap();
    certificate.valid_dns_names().next().unwrap_or("no name").to_owned()
}

#[test]
fn a_client_gets_the_certificate_for_its_name_exact_before_wildcard_before_the_first() {
    let folder = Folder::new();
    let names = [&["default.example.com"][..], &["*.example.com"], &["api.example.com", "other.test"]];
    let certificates: Vec<_> = names.iter().map(|names| folder.certificate(names, ECDSA)).collect();
    let tls = Tls::load(&certificates, true).unwrap();
    for (asked, name) in [
        ("api.example.com", "api.example.com"),
        ("API.example.com", "api.example.com"),
        ("other.test", "api.example.com"),
        ("www.example.com", "*.example.com"),
        ("default.example.com", "default.example.com"),
        ("a.b.example.com", "default.example.com"),
        ("example.com", "default.example.com"),
        ("unknown.test", "default.example.com"),
        ("192.0.2.1", "default.example.com"), // No server name is sent for an address.
    ] {
        assert_eq!(served(&tls, asked), name, "{asked}");
    }
    assert!(tls.covers("api.example.com", "other.test"));
    assert!(!tls.covers("api.example.com", "www.example.com"));
    assert!(tls.covers("www.example.com", "api.example.com"), "the wildcard covers it");
    assert!(!tls.covers("www.example.com", "a.b.example.com"));
    assert!(tls.covers("unknown.test", "default.example.com"));
}

#[test]
fn among_several_for_a_name_the_first_that_the_client_understands_is_served() {
    let folder = Folder::new();
    let pair = [folder.certificate(&["a.test"], ECDSA), folder.certificate(&["a.test"], RSA)];
    let tls = Tls::load(&pair, true).unwrap();
    let leaf_is_rsa = |schemes: fn(&rustls::SignatureScheme) -> bool, name: &str| {
        let mut client = trusting_client(&[]);
        testing::offer_only(&mut client, schemes);
        let client = handshake(&tls, Arc::new(client), name).unwrap();
        client.peer_certificates().unwrap()[0].len() > 600 // An RSA key alone has 270 bytes, a P-256 one 65.
    };
    let is_rsa = |scheme: &rustls::SignatureScheme| format!("{scheme:?}").starts_with("RSA");
    for name in ["a.test", "unknown.test"] {
        assert!(!leaf_is_rsa(|_| true, name), "{name}");
        assert!(leaf_is_rsa(is_rsa, name), "{name}");
    }
}

#[test]
fn a_session_is_resumed_after_a_reload() {
    let folder = Folder::new();
    let certificate = folder.certificate(&["a.test"], ECDSA);
    let before = Tls::load(std::slice::from_ref(&certificate), true).unwrap();
    let after = Tls::load(&[certificate], true).unwrap();
    let mut client = trusting_client(&[]);
    client.resumption = Resumption::in_memory_sessions(4);
    let client = Arc::new(client);
    let first = handshake(&before, client.clone(), "a.test").unwrap();
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let second = handshake(&after, client, "a.test").unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn alpn_offers_http2_only_where_it_is_on() {
    let folder = Folder::new();
    let certificate = folder.certificate(&["a.test"], ECDSA);
    for (http2, agreed) in [(true, &b"h2"[..]), (false, &b"http/1.1"[..])] {
        let tls = Tls::load(std::slice::from_ref(&certificate), http2).unwrap();
        let client = Arc::new(trusting_client(&[b"h2", b"http/1.1"]));
        assert_eq!(handshake(&tls, client, "a.test").unwrap().alpn_protocol(), Some(agreed));
    }
}

#[test]
fn every_certificate_that_cannot_be_used_is_named_with_its_file() {
    let folder = Folder::new();
    let good = folder.certificate(&["a.test"], ECDSA);
    let other = folder.certificate(&["b.test"], ECDSA);
    let (certificate, key) = (&good.certificate.value, &good.key.value);
    let missing = std::path::Path::new("/nonexistent/x.pem");
    let empty = folder.write("empty.pem", "");
    let damaged =
        folder.write("damaged.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let rubbish =
        folder.write("rubbish.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let broken_key =
        folder.write("broken.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let cases = [
        (sources(missing, key), "/nonexistent/x.pem"),
        (sources(certificate, missing), "/nonexistent/x.pem"),
        (sources(&empty, key), "empty.pem holds no certificate"),
        (sources(certificate, &empty), "empty.pem holds no private key"),
        (sources(&damaged, key), "damaged.pem is not valid PEM"),
        (sources(&rubbish, key), "the first certificate in"),
        (sources(certificate, &broken_key), "broken.key cannot be used"),
        (sources(certificate, &other.key.value), "does not belong to the certificate in"),
        (sources(key, certificate), "holds no certificate"),
    ];
    let all: Vec<_> = cases.iter().map(|(source, _)| source.clone()).collect();
    let errors = Tls::load(&all, true).unwrap_err();
    assert_eq!(errors.len(), cases.len());
    for (error, (_, said)) in errors.iter().zip(&cases) {
        assert!(error.to_string().contains(said), "{error} should say {said:?}");
    }
}
