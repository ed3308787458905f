//! Documents good and bad, and what comes out of them.

use serde_json::{Value, json};

use super::*;
use crate::keyring::signer::{Signer, base64url, pem};

fn parse(document: &Value, author: Author) -> Result<(usize, Vec<(usize, KeyError)>), DocumentError> {
    let (set, skipped) = KeySet::parse(document.to_string().as_bytes(), author)?;
    Ok((set.keys().len(), skipped.into_iter().map(|key| (key.index, key.reason)).collect()))
}

#[test]
fn bad_keys_are_left_out_and_good_ones_serve() {
    let (first, second) = (Signer::ed25519(), Signer::p256());
    let rsa = Signer::rsa();
    let keys = json!({"keys": [
        first.jwk_with(json!({"kid": "a", "use": "sig"})),
        second.jwk_with(json!({"kid": "a"})),
        second.jwk_with(json!({"kid": "b", "use": "enc"})),
        second.jwk_with(json!({"kid": "c", "key_ops": ["sign"]})),
        second.jwk_with(json!({"kid": "d", "alg": "RS256"})),
        rsa.jwk_with(json!({"kid": "e", "alg": "RSA-OAEP"})),
        {"kty": "oct", "k": base64url(&[1; 64]), "kid": "f"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": base64url(&[1; 32]), "y": base64url(&[1; 32])},
        {"kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": base64url(&[9; 32])},
        "not a key",
        second.jwk_with(json!({"kid": "z", "alg": "ES256"})),
    ]});
    let (count, skipped) = parse(&keys, Author::Issuer).expect("two are good");
    assert_eq!(count, 2);
    let expected = [
        (1, KeyError::DuplicateId),
        (2, KeyError::NotForSignatures),
        (3, KeyError::NotForSignatures),
        (4, KeyError::AlgorithmMismatch),
        (5, KeyError::UnsupportedAlgorithm),
        (6, KeyError::SecretNotAllowed),
        (7, KeyError::UnsupportedType),
        (8, KeyError::Malformed),
        (9, KeyError::WeakRsa),
        (10, KeyError::UnsupportedType),
        (11, KeyError::UnsupportedType),
    ];
    assert_eq!(skipped, expected);
}

#[test]
fn the_earlier_of_two_keys_with_one_id_stays() {
    let (first, second) = (Signer::ed25519(), Signer::ed25519());
    let keys = json!({"keys": [first.jwk_with(json!({"kid": "a"})), second.jwk_with(json!({"kid": "a"}))]});
    let (set, _) = KeySet::parse(keys.to_string().as_bytes(), Author::Issuer).expect("one is good");
    let Selection::Found(key) = set.select(Some("a"), Algorithm::EdDSA) else { panic!("it is there") };
    assert!(key.verify(Algorithm::EdDSA, b"message", &first.sign("EdDSA", b"message")));
    assert!(!key.verify(Algorithm::EdDSA, b"message", &second.sign("EdDSA", b"message")));
}

#[test]
fn documents_without_keys_are_told_apart() {
    for (document, error) in [
        (&b""[..], DocumentError::NotKeys),
        (b"<html><body>Sign in</body></html>", DocumentError::NotKeys),
        (b"{\"keys\":{}}", DocumentError::NotKeys),
        (b"{\"error\":\"not found\"}", DocumentError::NotKeys),
        (b"\xff\xfe", DocumentError::NotKeys),
        (b"{\"keys\":[]}", DocumentError::Empty),
        (b"{\"keys\":[{\"kty\":\"x\"}]}", DocumentError::NoUsableKey(KeyError::UnsupportedType)),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            DocumentError::NoUsableKey(KeyError::Private),
        ),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA", DocumentError::NoUsableKey(KeyError::Malformed)),
    ] {
        assert_eq!(KeySet::parse(document, Author::Operator).map(|_| ()), Err(error));
    }
    let large = vec![b' '; BYTES_MAX + 1];
    assert_eq!(KeySet::parse(&large, Author::Issuer).map(|_| ()), Err(DocumentError::TooLarge));
}

#[test]
fn every_form_of_pem_gives_the_same_key() {
    for signer in [Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed25519()] {
        let mut texts =
            vec![signer.pem(), signer.pem().replace('\n', "\r\n"), format!("# our key\n{}", signer.pem())];
        if let Signer::Rsa(_) = signer {
            texts.push(pem("RSA PUBLIC KEY", &signer.pkcs1()));
        }
        for text in texts {
            let (set, skipped) = KeySet::parse(text.as_bytes(), Author::Operator).expect("a good key");
            assert_eq!((set.keys().len(), skipped), (1, vec![]), "{text}");
            let algorithm: Algorithm = signer.algorithm().parse().expect("an algorithm");
            assert!(set.keys()[0].verify(
                algorithm,
                b"message",
                &signer.sign(signer.algorithm(), b"message")
            ));
        }
    }
}

#[test]
fn a_certificate_gives_its_key() {
    let pair = rcgen::KeyPair::generate().expect("a new key");
    let certificate = rcgen::CertificateParams::new(vec![String::from("auth.example.com")])
        .and_then(|parameters| parameters.self_signed(&pair))
        .expect("a certificate");
    let (by_certificate, _) =
        KeySet::parse(certificate.pem().as_bytes(), Author::Operator).expect("a good key");
    let (by_key, _) = KeySet::parse(pair.public_key_pem().as_bytes(), Author::Operator).expect("a good key");
    assert!(by_certificate.keys()[0].serves(Algorithm::ES256));
    assert!(by_key.keys()[0].serves(Algorithm::ES256));
}

#[test]
fn secrets_of_the_operator_serve_only_hashes_that_they_are_long_enough_for() {
    for (bytes, algorithms) in [
        (64, &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512][..]),
        (48, &[Algorithm::HS256, Algorithm::HS384]),
        (32, &[Algorithm::HS256]),
        (31, &[]),
    ] {
        let document = json!({"kty": "oct", "k": base64url(&vec![1; bytes])}).to_string();
        let set = KeySet::parse(document.as_bytes(), Author::Operator);
        let serves: Vec<Algorithm> = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]
            .into_iter()
            .filter(|algorithm| set.as_ref().is_ok_and(|(set, _)| set.keys()[0].serves(*algorithm)))
            .collect();
        assert_eq!(serves, algorithms, "{bytes} bytes");
    }
}

#[test]
fn a_secret_among_public_keys_is_left_out() {
    let secret = json!({"kty": "oct", "kid": "s", "k": base64url(&[1; 32])});
    let mixed = json!({"keys": [secret, Signer::ed25519().jwk_with(json!({"kid": "p"}))]});
    assert_eq!(parse(&mixed, Author::Operator), Ok((1, vec![(0, KeyError::SecretNotAllowed)])));
    assert_eq!(parse(&json!({"keys": [secret]}), Author::Operator), Ok((1, vec![])));
}

#[test]
fn an_exponent_of_one_is_no_key() {
    let mut jwk = Signer::rsa().jwk();
    jwk["e"] = json!("AQ");
    assert_eq!(parse(&jwk, Author::Issuer), Err(DocumentError::NoUsableKey(KeyError::WeakRsa)));
}
