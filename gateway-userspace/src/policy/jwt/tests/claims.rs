//! When, by whom and for whom a token is good.

use super::*;

fn table(rows: &[(&str, Value, Result<(), CredentialFault>)]) {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    for (description, changes, expected) in rows {
        let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims_with(changes.clone()));
        let outcome = match judge(&authenticator, &token) {
            Outcome::Accepted(_) => Ok(()),
            Outcome::Refused(Rejection::BadCredential(_, fault)) => Err(fault),
            other => panic!("{description}: {other:?}"),
        };
        assert_eq!(outcome, *expected, "{description}");
    }
}

#[test]
fn times_are_numbers_within_the_leeway() {
    use CredentialFault::{Expired, Malformed, NotYetValid};
    table(&[
        ("no exp", json!({"exp": null}), Err(Expired)),
        ("expired within the leeway", json!({"exp": NOW_S - 29}), Ok(())),
        ("expired exactly by the leeway", json!({"exp": NOW_S - 30}), Err(Expired)),
        ("a fraction of a second", json!({"exp": NOW_S as f64 - 29.5}), Ok(())),
        ("a fraction of a second too late", json!({"exp": NOW_S as f64 - 30.5}), Err(Expired)),
        ("exp 0", json!({"exp": 0}), Err(Expired)),
        ("exp as text", json!({"exp": (NOW_S + 300).to_string()}), Err(Malformed)),
        ("exp in a list", json!({"exp": [NOW_S + 300]}), Err(Malformed)),
        ("exp negative", json!({"exp": -1}), Err(Malformed)),
        ("exp beyond the year 9999", json!({"exp": 1e300}), Err(Malformed)),
        ("nbf in the leeway", json!({"nbf": NOW_S + 30}), Ok(())),
        ("nbf in the future", json!({"nbf": NOW_S + 31}), Err(NotYetValid)),
        ("nbf as text", json!({"nbf": "soon"}), Err(Malformed)),
        ("no nbf and no iat", json!({"nbf": null, "iat": null}), Ok(())),
        ("iat in the future", json!({"iat": NOW_S + 31}), Err(NotYetValid)),
        ("iat as a boolean", json!({"iat": true}), Err(Malformed)),
    ]);
}

#[test]
fn the_issuer_is_compared_byte_by_byte() {
    use CredentialFault::Issuer;
    table(&[
        ("another", json!({"iss": "https://evil.example.com/"}), Err(Issuer)),
        ("without slash", json!({"iss": "https://auth.example.com"}), Err(Issuer)),
        ("other case", json!({"iss": "https://AUTH.example.com/"}), Err(Issuer)),
        ("missing", json!({"iss": null}), Err(Issuer)),
        ("a list", json!({"iss": ["https://auth.example.com/"]}), Err(Issuer)),
    ]);
}

#[test]
fn one_audience_of_several_is_enough() {
    use CredentialFault::Audience;
    table(&[
        ("the other accepted one", json!({"aud": "api-v2"}), Ok(())),
        ("in a list", json!({"aud": ["mobile", "api"]}), Ok(())),
        ("another", json!({"aud": "mobile"}), Err(Audience)),
        ("a longer one", json!({"aud": "api2"}), Err(Audience)),
        ("missing", json!({"aud": null}), Err(Audience)),
        ("an empty list", json!({"aud": []}), Err(Audience)),
        ("a list with a number", json!({"aud": ["api", 1]}), Err(Audience)),
        ("an object", json!({"aud": {"api": true}}), Err(Audience)),
    ]);
}

#[test]
fn the_principal_is_the_subject_or_the_client() {
    let signer = Signer::ed25519();
    let authenticator = with_key(&signer, &[Algorithm::EdDSA]);
    for (changes, principal) in [
        (json!({}), "alice"),
        (json!({"sub": 7}), "7"),
        (json!({"sub": null, "client_id": "batch", "azp": "other"}), "batch"),
        (json!({"sub": null, "azp": "web"}), "web"),
        (json!({"sub": null}), ""),
    ] {
        let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims_with(changes));
        assert_eq!(&*accepted(judge(&authenticator, &token)).principal, principal);
    }
}
