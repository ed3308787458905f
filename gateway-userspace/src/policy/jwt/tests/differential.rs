//! The same tokens judged by `jsonwebtoken`: whatever we accept, it accepts too, and what it refuses, we refuse.
//! Where we are stricter on purpose, the row says so.

use jsonwebtoken::{DecodingKey, Validation};

use super::*;
use crate::keyring::signer::{base64url, unsigned};

fn reference(jwk: &Value, algorithms: &[Algorithm], token: &str) -> bool {
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).expect("a JWK");
    let key = DecodingKey::from_jwk(&jwk).expect("a key");
    let mut rules = Validation::new(algorithms[0]);
    rules.algorithms = algorithms.to_vec();
    rules.leeway = 30;
    rules.validate_nbf = true;
    rules.set_audience(&["api", "api-v2"]);
    rules.set_issuer(&["https://auth.example.com/"]);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    jsonwebtoken::decode::<Value>(token, &key, &rules).is_ok()
}

/// The reference reads the real clock, so these claims stand around it and not around [`NOW_S`].
fn real_claims(changes: Value) -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    let mut claims = claims_with(json!({"exp": now + 300, "nbf": now - 10, "iat": now - 10}));
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn mutations(signer: &Signer) -> Vec<String> {
    let now = jsonwebtoken::get_current_timestamp();
    let header = json!({"alg": signer.algorithm(), "kid": "k"});
    let mut tokens: Vec<String> = [
        json!({}),
        json!({"exp": now - 100}),
        json!({"exp": now + 100_000}),
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"exp": now as f64 + 10.5}),
        json!({"nbf": now + 100}),
        json!({"nbf": "x"}),
        json!({"nbf": null}),
        json!({"iss": "https://evil.example.com/"}),
        json!({"iss": null}),
        json!({"aud": ["x", "api-v2"]}),
        json!({"aud": "x"}),
        json!({"aud": null}),
        json!({"sub": null}),
        json!({"roles": ["a", {"b": 1.5}], "name": "Ä\u{0}\"\\"}),
    ]
    .into_iter()
    .map(|changes| signer.token(&header, &real_claims(changes)))
    .collect();
    for header in
        [json!({"alg": "none"}), json!({"alg": "RS512", "kid": "k"}), json!({"alg": "HS256", "kid": "k"})]
    {
        let signed = unsigned(&header.to_string(), &real_claims(json!({})).to_string());
        let signature = signer.sign(signer.algorithm(), signed.as_bytes());
        tokens.push(format!("{signed}.{}", base64url(&signature)));
    }
    tokens
}

#[test]
fn we_and_the_reference_agree_on_whole_tokens() {
    for signer in
        [Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed25519(), Signer::Secret(vec![9; 32])]
    {
        let algorithm: Algorithm = signer.algorithm().parse().expect("an algorithm");
        let authenticator = with_key(&signer, &[algorithm]);
        let mut good = 0;
        for token in mutations(&signer) {
            let ours = matches!(judge_at(&authenticator, &token, SystemTime::now()), Outcome::Accepted(_));
            assert_eq!(ours, reference(&signer.jwk(), &[algorithm], &token), "{algorithm:?} {token}");
            good += u32::from(ours);
        }
        // The header that names HS256 is right for the secret.
        let expected = if algorithm == Algorithm::HS256 { 8 } else { 7 };
        assert_eq!(good, expected, "{algorithm:?}: the corpus has both kinds");
    }
}

#[test]
fn no_single_changed_byte_makes_us_accept_what_the_reference_refuses() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    let jwk = signer.jwk();
    let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &real_claims(json!({})));
    let now = SystemTime::now();
    for index in 0..token.len() {
        for replacement in [b'A', b'_', b'.', b'=', b' ', token.as_bytes()[index] ^ 1] {
            let mut changed = token.clone().into_bytes();
            changed[index] = replacement;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            if changed == token || header::Value::parse(changed.as_bytes()).is_none() {
                continue;
            }
            let ours = matches!(judge_at(&authenticator, &changed, now), Outcome::Accepted(_));
            assert!(!ours || reference(&jwk, &[Algorithm::EdDSA], &changed), "{changed}");
            assert!(!ours, "a changed token was accepted: {changed}");
        }
    }
}

#[test]
fn we_are_stricter_where_two_readers_could_differ() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    let now = jsonwebtoken::get_current_timestamp();
    let own_key =
        signer.token(&json!({"alg": "EdDSA", "kid": "k", "jku": "http://x/"}), &real_claims(json!({})));
    let future = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &real_claims(json!({"iat": now + 1000})));
    for token in [own_key, future] {
        assert!(reference(&signer.jwk(), &[Algorithm::EdDSA], &token));
        assert!(matches!(judge_at(&authenticator, &token, SystemTime::now()), Outcome::Refused(_)));
    }
}
