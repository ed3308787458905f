//! Project Wycheproof's signatures and tags, valid ones and those that broken libraries took for valid, against the keys
//! as a token meets them. What JWS forbids is refused even where the vectors call it valid: truncated tags, and salts of
//! another length than the hash (RFC 7518 §3.2 and §3.5).

use jsonwebtoken::Algorithm;
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use super::document::{Author, Selection};
use super::key::{Key, KeyError, Material};
use super::{KeySet, document};

/// How many vectors were judged, by what they should be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    accepted: usize,
    refused: usize,
}

impl Judged {
    /// Judges one signature; a disagreement fails the test.
    fn judge(
        &mut self,
        what: &str,
        key: &Key,
        algorithm: Algorithm,
        vector: (&[u8], &[u8]),
        result: TestResult,
    ) {
        let (message, signature) = vector;
        let verified = key.verify(algorithm, message, signature);
        match result {
            TestResult::Valid => assert!(verified, "{what} is valid"),
            TestResult::Invalid => assert!(!verified, "{what} is invalid"),
            TestResult::Acceptable => {}
        }
        if verified { self.accepted += 1 } else { self.refused += 1 }
    }
}

/// The one key of a PEM document; an error where such a key is refused.
fn key(pem: &str) -> Result<KeySet, document::DocumentError> {
    KeySet::parse(pem.as_bytes(), Author::Operator).map(|(keys, _)| keys)
}

fn with_key(keys: &KeySet, algorithm: Algorithm, judge: impl FnOnce(&Key)) {
    match keys.select(None, algorithm) {
        Selection::Found(key) => judge(key),
        Selection::WrongAlgorithm | Selection::Unknown => panic!("the key serves {algorithm:?}"),
    }
}

#[test]
fn ecdsa_signatures_in_the_fixed_form_are_judged_as_they_should_be() {
    let mut judged = Judged::default();
    for (name, algorithm) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Algorithm::ES256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Algorithm::ES384),
    ] {
        for group in ecdsa::TestSet::load(name).expect("vectors").test_groups {
            let keys = key(&group.pem).expect("a good key");
            with_key(&keys, algorithm, |key| {
                for test in &group.tests {
                    let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                    judged.judge(&what, key, algorithm, (&test.msg, &test.sig), test.result);
                }
            });
        }
    }
    println!("ECDSA: {judged:?}");
    assert!(judged.accepted > 300 && judged.refused > 150, "{judged:?}");
}

#[test]
fn ecdsa_signatures_in_der_are_none() {
    for (name, algorithm) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, Algorithm::ES256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, Algorithm::ES384),
    ] {
        for group in ecdsa::TestSet::load(name).expect("vectors").test_groups {
            let keys = key(&group.pem).expect("a good key");
            with_key(&keys, algorithm, |key| {
                for test in &group.tests {
                    assert!(!key.verify(algorithm, &test.msg, &test.sig), "{name:?} {}", test.tc_id);
                }
            });
        }
    }
}

#[test]
fn ed25519_signatures_are_judged_as_they_should_be() {
    let mut judged = Judged::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("vectors").test_groups {
        let keys = key(&group.pem).expect("a good key");
        with_key(&keys, Algorithm::EdDSA, |key| {
            for test in &group.tests {
                let what = format!("Ed25519 {}: {}", test.tc_id, test.comment);
                judged.judge(&what, key, Algorithm::EdDSA, (&test.msg, &test.sig), test.result);
            }
        });
    }
    println!("Ed25519: {judged:?}");
    assert!(judged.accepted > 50 && judged.refused > 40, "{judged:?}");
}

#[test]
fn pkcs1_signatures_are_judged_as_they_should_be() {
    use rsa_pkcs1_verify::{TestName as N, TestSet};
    let mut judged = Judged::default();
    for (name, algorithm) in [
        (N::Rsa2048Sha256, Algorithm::RS256),
        (N::Rsa2048Sha384, Algorithm::RS384),
        (N::Rsa2048Sha512, Algorithm::RS512),
        (N::Rsa3072Sha256, Algorithm::RS256),
        (N::Rsa3072Sha384, Algorithm::RS384),
        (N::Rsa3072Sha512, Algorithm::RS512),
        (N::Rsa4096Sha256, Algorithm::RS256),
        (N::Rsa4096Sha384, Algorithm::RS384),
        (N::Rsa4096Sha512, Algorithm::RS512),
        (N::Rsa8192Sha256, Algorithm::RS256),
    ] {
        for group in TestSet::load(name).expect("vectors").test_groups {
            let keys = match key(&group.pem) {
                Ok(keys) => keys,
                // Exponents that are refused with their key cannot sign anything.
                Err(_) => {
                    judged.refused += group.tests.len();
                    continue;
                }
            };
            with_key(&keys, algorithm, |key| {
                for test in &group.tests {
                    let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                    judged.judge(&what, key, algorithm, (&test.msg, &test.sig), test.result);
                }
            });
        }
    }
    println!("PKCS#1: {judged:?}");
    assert!(judged.accepted > 70 && judged.refused > 2000, "{judged:?}");
}

#[test]
fn pss_signatures_are_judged_as_they_should_be_and_other_salts_and_hashes_are_none() {
    use rsa_pss_verify::{TestName as N, TestSet};
    let mut judged = Judged::default();
    for (name, algorithm, is_of_jws) in [
        (N::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256, true),
        (N::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::PS256, true),
        (N::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::PS256, true),
        (N::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384, true),
        (N::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::PS384, true),
        (N::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512, true),
        (N::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::PS256, false),
        (N::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::PS256, false),
        (N::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::PS512, false),
    ] {
        for group in TestSet::load(name).expect("vectors").test_groups {
            let keys = key(&group.pem).expect("a good key");
            with_key(&keys, algorithm, |key| {
                for test in &group.tests {
                    let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                    let result = match (is_of_jws, test.result) {
                        (true, result) => result,
                        (false, TestResult::Valid) => TestResult::Invalid,
                        // Some are as JWS wants them, and so valid here.
                        (false, _) => TestResult::Acceptable,
                    };
                    judged.judge(&what, key, algorithm, (&test.msg, &test.sig), result);
                }
            });
        }
    }
    println!("PSS: {judged:?}");
    assert!(judged.accepted > 200 && judged.refused > 200, "{judged:?}");
}

#[test]
fn tags_are_judged_as_they_should_be_and_short_ones_and_short_secrets_are_none() {
    let mut judged = Judged::default();
    for (name, algorithm, hash_bytes) in [
        (mac::TestName::HmacSha256, Algorithm::HS256, 32),
        (mac::TestName::HmacSha384, Algorithm::HS384, 48),
        (mac::TestName::HmacSha512, Algorithm::HS512, 64),
    ] {
        for group in mac::TestSet::load(name).expect("vectors").test_groups {
            let whole = group.tag_size == hash_bytes * 8;
            for test in &group.tests {
                let key = Key::new(None, None, &Material::Secret(&test.key));
                let key = match key {
                    Ok(key) if key.serves(algorithm) => key,
                    Ok(_) | Err(KeyError::ShortSecret) if test.key.len() < hash_bytes => {
                        judged.refused += 1;
                        continue;
                    }
                    other => panic!("{name:?} {}: {other:?}", test.tc_id),
                };
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let result = if whole { test.result } else { TestResult::Invalid };
                judged.judge(&what, &key, algorithm, (&test.msg, &test.tag), result);
            }
        }
    }
    println!("HMAC: {judged:?}");
    assert!(judged.accepted > 60 && judged.refused > 200, "{judged:?}");
}
