//! Tokens signed by real keys, good and bad, against the whole authentication.

mod attacks;
mod claims;
mod differential;
mod rotation;
mod vectors;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::config::{ClaimHeader, Config, KeySource};
use super::{Authenticator, Outcome};
use crate::header::{self, Fields, Name};
use crate::http::rejection::{CredentialFault, Rejection};
use crate::keyring::Keyring;
use crate::keyring::signer::Signer;
use crate::request::head::{Authority, Parts};
use crate::request::{Head, Identity, Scheme};

/// What "now" is in these tests, seconds since 1970.
const NOW_S: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_S)
}

/// A configuration with these keys that checks issuer and audience.
fn config(keys: KeySource, algorithms: &[Algorithm]) -> Config {
    Config {
        name: Arc::from("users"),
        issuer: Some(Arc::from("https://auth.example.com/")),
        keys,
        audiences: vec![Arc::from("api"), Arc::from("api-v2")],
        algorithms: algorithms.to_vec(),
        leeway: Duration::from_secs(30),
        headers: Vec::new(),
        realm: Arc::from("users"),
        refresh: Duration::from_secs(600),
        max_stale: Duration::from_secs(24 * 3600),
        ca: None,
        forward: true,
    }
}

fn inline(document: &Value) -> KeySource {
    KeySource::Inline(Arc::from(document.to_string()))
}

fn authenticator(config: Config) -> Authenticator {
    let authenticator = Authenticator::compile(config, &Keyring::new()).expect("good keys");
    assert_eq!(authenticator.skipped(), []);
    authenticator
}

/// An authentication with one key under `kid` "k".
fn with_key(signer: &Signer, algorithms: &[Algorithm]) -> Authenticator {
    authenticator(config(inline(&json!({"keys": [signer.jwk_with(json!({"kid": "k"}))]})), algorithms))
}

/// Claims that hold.
fn claims() -> Value {
    json!({
        "iss": "https://auth.example.com/", "aud": "api", "sub": "alice",
        "exp": NOW_S + 300, "nbf": NOW_S - 10, "iat": NOW_S - 10,
    })
}

/// [`claims`] with changes; null takes a claim away.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn head(authorization: &[&str]) -> Head {
    let mut fields = Fields::default();
    for value in authorization {
        fields.add(header::AUTHORIZATION, header::Value::parse(value.as_bytes()).expect("a field value"));
    }
    Head::new(Parts {
        method: http::Method::GET,
        scheme: Scheme::Https,
        version: crate::request::head::Version::Http11,
        authority: Authority::Owned("api.example.com".into()),
        target: http::Uri::from_static("/v1/users"),
        path: None,
        fields,
    })
}

/// Judges a token that must be answered without waiting.
fn judge(authenticator: &Authenticator, token: &str) -> Outcome {
    judge_at(authenticator, token, now())
}

fn judge_at(authenticator: &Authenticator, token: &str, now: SystemTime) -> Outcome {
    judge_head(authenticator, &head(&[&format!("Bearer {token}")]), now)
}

fn judge_head(authenticator: &Authenticator, head: &Head, now: SystemTime) -> Outcome {
    let outcome = authenticator.authenticate(head, now, Instant::now()).now_or_never();
    outcome.expect("an answer without waiting")
}

fn accepted(outcome: Outcome) -> Arc<Identity> {
    match outcome {
        Outcome::Accepted(identity) => identity,
        other => panic!("not accepted: {other:?}"),
    }
}

#[track_caller]
fn assert_fault(outcome: Outcome, expected: CredentialFault) {
    match outcome {
        Outcome::Refused(Rejection::BadCredential(_, fault)) => assert_eq!(fault, expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

#[test]
fn every_algorithm_is_accepted_with_its_key_and_remembered() {
    let rsa = Signer::rsa();
    let secret = Signer::Secret(vec![7; 64]);
    let (p256, p384, ed25519) = (Signer::p256(), Signer::p384(), Signer::ed25519());
    for (signer, names) in [
        (&rsa, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (&p256, &["ES256"]),
        (&p384, &["ES384"]),
        (&ed25519, &["EdDSA"]),
        (&secret, &["HS256", "HS384", "HS512"]),
    ] {
        for name in names {
            let authenticator = with_key(signer, &[name.parse().expect("an algorithm")]);
            let token = signer.token(&json!({"alg": name, "kid": "k", "typ": "JWT"}), &claims());
            let first = accepted(judge(&authenticator, &token));
            assert_eq!((&*first.principal, &*first.auth), ("alice", "users"));
            let second = accepted(judge(&authenticator, &token));
            assert!(Arc::ptr_eq(&first, &second), "{name}: the second answer comes from the cache");
        }
    }
}

#[test]
fn waiting_for_keys_costs_a_request_little_room() {
    let authenticator = with_key(&Signer::ed25519(), &[Algorithm::EdDSA]);
    let head = head(&[]);
    let future = authenticator.authenticate(&head, now(), Instant::now());
    assert!(size_of_val(&future) <= 512, "{} bytes", size_of_val(&future));
}

#[test]
fn a_remembered_token_still_expires() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims_with(json!({"exp": NOW_S + 20})));
    let first = accepted(judge(&authenticator, &token));
    let later = accepted(judge_at(&authenticator, &token, now() + Duration::from_secs(49)));
    assert!(Arc::ptr_eq(&first, &later), "within exp and leeway");
    assert_fault(judge_at(&authenticator, &token, now() + Duration::from_secs(50)), CredentialFault::Expired);
}

#[test]
fn a_token_is_verified_again_after_a_minute() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims());
    let first = accepted(judge(&authenticator, &token));
    let again = accepted(judge_at(&authenticator, &token, now() + Duration::from_secs(60)));
    assert!(!Arc::ptr_eq(&first, &again));
}

#[test]
fn a_forged_token_is_remembered_apart_and_the_memory_is_bounded() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    let good = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims());
    accepted(judge(&authenticator, &good));
    for n in 0..3000 {
        let signed = forged(n);
        assert_fault(judge(&authenticator, &signed), CredentialFault::Signature);
        assert_fault(judge(&authenticator, &signed), CredentialFault::Signature);
    }
    let (accepted_count, forged_count) = authenticator.cache.len();
    assert_eq!(accepted_count, 1);
    assert!((100..=1024).contains(&forged_count), "{forged_count}");
}

/// A token of the right form whose signature is nobody's.
fn forged(n: u64) -> String {
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let signed =
        crate::keyring::signer::unsigned(&header.to_string(), &claims_with(json!({"n": n})).to_string());
    format!("{signed}.{}", crate::keyring::signer::base64url(&[1; 64]))
}

#[test]
fn claims_become_headers() {
    let signer = Signer::ed25519();
    let mut settings = config(inline(&signer.jwk_with(json!({"kid": "k"}))), &[Algorithm::EdDSA]);
    let mapped = [
        ("x-user", "sub"),
        ("x-level", "level"),
        ("x-admin", "admin"),
        ("x-roles", "realm_access.roles"),
        ("x-role", "https://example.com/role"),
        ("x-absent", "absent.deep"),
        ("x-object", "realm_access"),
        ("x-split", "split"),
        ("x-ambiguous", "ambiguous"),
    ];
    settings.headers = mapped.iter().map(|(header, claim)| mapping(header, claim, false)).collect();
    let authenticator = authenticator(settings);
    let token = signer.token(
        &json!({"alg": "EdDSA", "kid": "k"}),
        &claims_with(json!({
            "level": 7, "admin": false, "realm_access": {"roles": ["editor", "site admin"]},
            "https://example.com/role": "ä", "split": "a\r\nx-admin: true", "ambiguous": ["a,b", "c"],
        })),
    );
    let identity = accepted(judge(&authenticator, &token));
    let headers: Vec<_> =
        identity.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let expected: Vec<(&str, &[u8])> = vec![
        ("x-user", b"alice"),
        ("x-level", b"7"),
        ("x-admin", b"false"),
        ("x-roles", b"editor,site admin"),
        ("x-role", "ä".as_bytes()),
    ];
    assert_eq!(headers, expected);
}

#[test]
fn a_required_claim_that_cannot_be_sent_is_a_refusal() {
    let signer = Signer::ed25519();
    let mut settings = config(inline(&signer.jwk_with(json!({"kid": "k"}))), &[Algorithm::EdDSA]);
    settings.headers = vec![mapping("x-user", "email", true)];
    let authenticator = authenticator(settings);
    let header = json!({"alg": "EdDSA", "kid": "k"});
    for (email, good) in
        [(json!("a@example.com"), true), (json!("a\nb"), false), (json!({}), false), (json!(null), false)]
    {
        let outcome = judge(&authenticator, &signer.token(&header, &claims_with(json!({"email": email}))));
        match outcome {
            Outcome::Accepted(_) if good => {}
            Outcome::Refused(Rejection::MissingClaim) if !good => {}
            other => panic!("{email}: {other:?}"),
        }
    }
}

fn mapping(header: &str, claim: &str, required: bool) -> ClaimHeader {
    ClaimHeader { header: Name::parse(header).expect("a name"), claim: claim.into(), required }
}
