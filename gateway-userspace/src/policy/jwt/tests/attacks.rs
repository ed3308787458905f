//! What attackers send: the list of jwt_tool's playbook, RFC 8725 and known CVEs.

use super::*;
use crate::keyring::signer::{base64url, hmac, unsigned};

const ALL: [Algorithm; 12] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
];

#[test]
fn only_one_bearer_token_in_one_field_is_read() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims());
    let outcome = |fields: &[&str]| judge_head(&authenticator, &head(fields), now());
    for scheme in ["Bearer", "bearer", "BEARER"] {
        accepted(outcome(&[&format!("{scheme} {token}")]));
    }
    accepted(outcome(&[&format!("Bearer   {token}")]));
    assert!(matches!(outcome(&[]), Outcome::Absent));
    for other in ["Basic", "Token", "Bearerx", "JWT"] {
        assert!(matches!(outcome(&[&format!("{other} {token}")]), Outcome::Absent), "{other}");
    }
    assert!(matches!(outcome(&[&token]), Outcome::Absent), "without a scheme it is no bearer token");
    let bearer = format!("Bearer {token}");
    assert_fault(outcome(&[&bearer, &bearer]), CredentialFault::Repeated);
    assert_fault(outcome(&["Basic YTpi", &bearer]), CredentialFault::Repeated);
    assert_fault(outcome(&["Bearer"]), CredentialFault::Malformed);
    assert_fault(outcome(&["Bearer "]), CredentialFault::Malformed);
    for wrong in [format!("{bearer}, {bearer}"), format!("{bearer} x"), format!("Bearer\t{token}")] {
        assert!(!matches!(outcome(&[&wrong]), Outcome::Accepted(_)), "{wrong}");
    }
}

#[test]
fn no_spelling_of_none_is_an_algorithm() {
    let signer = Signer::rsa();
    let authenticator = with_key(&signer, &ALL);
    for algorithm in ["none", "None", "NONE", "nOnE", "", "none ", "\u{0}none"] {
        let header = json!({"alg": algorithm, "kid": "k"}).to_string();
        for signature in ["", "AA", &base64url(&[0; 256])] {
            let token = format!("{}.{signature}", unsigned(&header, &claims().to_string()));
            assert_fault(judge(&authenticator, &token), CredentialFault::Algorithm);
        }
    }
    for header in [
        json!({}),
        json!({"alg": null}),
        json!({"alg": ["RS256"]}),
        json!({"alg": 0}),
        json!({"ALG": "RS256"}),
    ] {
        let token = format!("{}.AA", unsigned(&header.to_string(), &claims().to_string()));
        assert_fault(judge(&authenticator, &token), CredentialFault::Malformed);
    }
}

#[test]
fn a_public_key_is_never_an_hmac_secret() {
    let signer = Signer::rsa();
    let pem = signer.pem();
    let modulus = signer.jwk()["n"].as_str().expect("text").as_bytes().to_vec();
    let secrets = [
        pem.clone().into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
        signer.spki(),
        signer.pkcs1(),
        modulus,
    ];
    let by_jwk = with_key(&signer, &ALL);
    let by_pem = authenticator(config(KeySource::Inline(Arc::from(pem)), &ALL));
    for secret in &secrets {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let signed = unsigned(&json!({"alg": algorithm, "kid": "k"}).to_string(), &claims().to_string());
            let token = format!("{signed}.{}", base64url(&hmac(algorithm, secret, signed.as_bytes())));
            assert_fault(judge(&by_jwk, &token), CredentialFault::Algorithm);
            assert_fault(judge(&by_pem, &token), CredentialFault::Algorithm);
        }
    }
}

#[test]
fn an_algorithm_must_be_allowed_by_the_configuration_and_by_the_key() {
    let signer = Signer::rsa();
    let pinned = authenticator(config(inline(&signer.jwk_with(json!({"kid": "k", "alg": "PS256"}))), &ALL));
    let narrow = with_key(&signer, &[Algorithm::RS256]);
    let token = |algorithm| signer.token(&json!({"alg": algorithm, "kid": "k"}), &claims());
    accepted(judge(&pinned, &token("PS256")));
    assert_fault(judge(&pinned, &token("RS256")), CredentialFault::Algorithm);
    accepted(judge(&narrow, &token("RS256")));
    assert_fault(judge(&narrow, &token("PS256")), CredentialFault::Algorithm);
}

#[test]
fn keys_that_a_token_brings_along_are_refused() {
    let signer = Signer::ed25519();
    let attacker = Signer::ed25519();
    let authenticator = with_key(&signer, &ALL);
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!("http://127.0.0.1:9/jwks")),
        ("x5u", json!("http://127.0.0.1:9/cert")),
    ] {
        for by in [&signer, &attacker] {
            let token = by.token(&json!({"alg": "EdDSA", "kid": "k", name: value}), &claims());
            assert_fault(judge(&authenticator, &token), CredentialFault::UnknownKey);
        }
    }
    let with_certificate = json!({"alg": "EdDSA", "kid": "k", "x5c": ["MIIB"], "x5t": "abc"});
    accepted(judge(&authenticator, &signer.token(&with_certificate, &claims())));
    assert_fault(
        judge(&authenticator, &attacker.token(&with_certificate, &claims())),
        CredentialFault::Signature,
    );
}

#[test]
fn critical_extensions_are_refused() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &ALL);
    for critical in [json!(["b64"]), json!(["exp"]), json!([]), json!("x"), json!(null)] {
        let token =
            signer.token(&json!({"alg": "EdDSA", "kid": "k", "crit": critical, "b64": false}), &claims());
        assert_fault(judge(&authenticator, &token), CredentialFault::Critical);
    }
}

#[test]
fn a_key_id_is_looked_up_exactly_and_never_interpreted() {
    let signer = Signer::ed25519();
    let other = Signer::ed25519();
    let keys = json!({"keys": [signer.jwk_with(json!({"kid": "k"})), other.jwk_with(json!({"kid": "l"}))]});
    let authenticator = authenticator(config(inline(&keys), &ALL));
    for id in ["K", "k ", "", "../../k", "/dev/null", "k' OR 'a'='a", "k\u{0}", "k\r\nX-Admin: 1", "|sleep 9"]
    {
        let token = signer.token(&json!({"alg": "EdDSA", "kid": id}), &claims());
        assert_fault(judge(&authenticator, &token), CredentialFault::UnknownKey);
    }
    for id in [json!(null), json!(1), json!(["k"]), json!({"k": 1})] {
        let token = signer.token(&json!({"alg": "EdDSA", "kid": id}), &claims());
        assert_fault(judge(&authenticator, &token), CredentialFault::Malformed);
    }
    let without = signer.token(&json!({"alg": "EdDSA"}), &claims());
    assert_fault(judge(&authenticator, &without), CredentialFault::UnknownKey);
    let swapped = signer.token(&json!({"alg": "EdDSA", "kid": "l"}), &claims());
    assert_fault(judge(&authenticator, &swapped), CredentialFault::Signature);
}

#[test]
fn without_a_key_id_the_only_key_that_fits_is_taken() {
    let (first, second) = (Signer::ed25519(), Signer::p256());
    let keys = json!({"keys": [first.jwk_with(json!({"kid": "a"})), second.jwk_with(json!({"kid": "b"}))]});
    let authenticator = authenticator(config(inline(&keys), &ALL));
    accepted(judge(&authenticator, &first.token(&json!({"alg": "EdDSA"}), &claims())));
    accepted(judge(&authenticator, &second.token(&json!({"alg": "ES256"}), &claims())));
}

#[test]
fn one_pem_key_serves_tokens_with_any_key_id() {
    let signer = Signer::rsa();
    let authenticator =
        authenticator(config(KeySource::Inline(Arc::from(signer.pem())), &[Algorithm::RS256]));
    accepted(judge(&authenticator, &signer.token(&json!({"alg": "RS256", "kid": "2026-11"}), &claims())));
    accepted(judge(&authenticator, &signer.token(&json!({"alg": "RS256"}), &claims())));
}

#[test]
fn signatures_that_are_cut_empty_zero_or_of_another_key_do_not_hold() {
    let zeros = base64url(&[0; 64]);
    let order = base64url(
        &[
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
            0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
        ]
        .repeat(2),
    );
    for signer in [Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed25519()] {
        let authenticator = with_key(&signer, &ALL);
        let header = json!({"alg": signer.algorithm(), "kid": "k"});
        let token = signer.token(&header, &claims());
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let cut = &signature[..signature.len() - 4];
        for wrong in [
            "",
            &zeros,
            &order,
            cut,
            &format!("{signature}AAAA"),
            &base64url(&[0; 256]),
            &base64url(&[0xff; 96]),
        ] {
            let outcome = judge(&authenticator, &format!("{signed}.{wrong}"));
            assert!(matches!(outcome, Outcome::Refused(_)), "{}: {wrong}", signer.algorithm());
        }
        // Other claims under a signature that was right.
        let changed = signer.token(&header, &claims_with(json!({"sub": "mallory"})));
        let changed = changed.rsplit_once('.').expect("three parts").0;
        assert_fault(judge(&authenticator, &format!("{changed}.{signature}")), CredentialFault::Signature);
        accepted(judge(&authenticator, &token));
    }
}

#[test]
fn a_der_signature_is_no_jws_signature() {
    let signer = Signer::p256();
    let authenticator = with_key(&signer, &ALL);
    let signed = unsigned(&json!({"alg": "ES256", "kid": "k"}).to_string(), &claims().to_string());
    let raw = signer.sign("ES256", signed.as_bytes());
    let (r, s) = raw.split_at(32);
    let integer = |number: &[u8]| [&[2, 33, 0][..], number].concat();
    let der = [&[0x30, 70][..], &integer(r), &integer(s)].concat();
    assert_fault(judge(&authenticator, &format!("{signed}.{}", base64url(&der))), CredentialFault::Signature);
}

#[test]
fn a_token_has_one_spelling() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &ALL);
    let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims());
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    // 64 bytes leave 4 unused bits in the last character; set, they decode to the same signature.
    let (head, last) = signature.split_at(signature.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(last).expect("base64url");
    let trailing = format!("{signed}.{head}{}", &alphabet[place + 1..place + 2]);
    let padded = format!("{token}==");
    let standard = format!("{signed}.{}", signature.replace('-', "+").replace('_', "/"));
    for wrong in [
        trailing,
        padded,
        format!("{token}."),
        format!(".{token}"),
        format!("{signed}. {signature}"),
        format!("{signed}.{signature}%3D"),
        signed.to_owned(),
        String::from(".."),
        String::from("a.b.c"),
        "A".repeat(10_000),
    ] {
        assert_fault(judge(&authenticator, &wrong), CredentialFault::Malformed);
    }
    if standard != token {
        assert_fault(judge(&authenticator, &standard), CredentialFault::Malformed);
    }
}

#[test]
fn a_token_larger_than_the_limit_is_not_even_parsed() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &ALL);
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let large = signer.token(&header, &claims_with(json!({"x": "y".repeat(7000)})));
    assert!(large.len() > super::super::token::BYTES_MAX);
    assert_fault(judge(&authenticator, &large), CredentialFault::Malformed);
    accepted(judge(&authenticator, &signer.token(&header, &claims_with(json!({"x": "y".repeat(5000)})))));
}

#[test]
fn repeated_members_are_refused_in_header_and_claims() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &ALL);
    let sign = |header: &str, claims: &str| {
        let signed = unsigned(header, claims);
        format!("{signed}.{}", base64url(&signer.sign("EdDSA", signed.as_bytes())))
    };
    let good = claims().to_string();
    for header in [
        r#"{"alg":"none","alg":"EdDSA","kid":"k"}"#,
        r#"{"alg":"EdDSA","alg":"EdDSA","kid":"k"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"none","kid":"k"}"#,
        r#"{"alg":"EdDSA","kid":"k","kid":"l"}"#,
        r#"{"alg":"EdDSA","kid":"k"} "x""#,
        r#"["alg","EdDSA"]"#,
    ] {
        assert_fault(judge(&authenticator, &sign(header, &good)), CredentialFault::Malformed);
    }
    let header = r#"{"alg":"EdDSA","kid":"k"}"#;
    let doubled = good.replacen('{', r#"{"sub":"mallory","#, 1);
    assert_fault(judge(&authenticator, &sign(header, &doubled)), CredentialFault::Malformed);
    accepted(judge(&authenticator, &sign(r#"{"\u0061lg":"EdDSA","k\u0069d":"k"}"#, &good)));
    accepted(judge(&authenticator, &sign(" {\"alg\" : \"EdDSA\", \"kid\":\"k\"}\r\n", &good)));
}
