//! One verification key, parsed once, with the algorithms that it may serve.
//!
//! A key never serves an algorithm of another family, so a public key can never be taken for an HMAC secret
//! (RFC 8725 §2.1). Parsing is where weak keys are refused: RSA under 2048 bit, HMAC secrets shorter than their hash
//! (RFC 7518 §3.2), curves other than P-256, P-384 and Ed25519.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use aws_lc_rs::{hmac, rsa};
use jsonwebtoken::{Algorithm, AlgorithmFamily};

/// A key with its id.
pub struct Key {
    id: Option<Box<str>>,
    verifiers: Box<[(Algorithm, Verifier)]>,
    revoked: AtomicBool,
}

enum Verifier {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

/// The material that a key is made from.
pub enum Material<'a> {
    /// Big-endian modulus and exponent of an RSA key (RFC 7518 §6.3.1).
    Rsa {
        /// Modulus.
        n: &'a [u8],
        /// Exponent.
        e: &'a [u8],
    },
    /// A point on P-256 or P-384, uncompressed (SEC 1 §2.3.3).
    Point(Algorithm, &'a [u8]),
    /// The 32 bytes of an Ed25519 key (RFC 8037 §2).
    Ed25519(&'a [u8]),
    /// DER of a SubjectPublicKeyInfo (RFC 5280 §4.1), or of a PKCS#1 RSAPublicKey; the algorithm is found by trying.
    Der(&'a [u8]),
    /// An HMAC secret.
    Secret(&'a [u8]),
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a key, or a point that is not on its curve.
    #[error("it is not a valid public key of a supported type (RSA, P-256, P-384, Ed25519)")]
    Malformed,
    /// RSA outside 2048 to 8192 bit, or with an exponent that is even or 1.
    #[error("RSA keys need 2048 to 8192 bits and an odd public exponent of at least 3")]
    WeakRsa,
    /// An HMAC secret that is shorter than its hash.
    #[error("an HMAC secret needs at least as many bytes as its hash: 32, 48 or 64 (RFC 7518, section 3.2)")]
    ShortSecret,
    /// `alg` names an algorithm that this kind of key cannot serve.
    #[error("`alg` does not fit the key's type")]
    AlgorithmMismatch,
    /// `alg` names no signature algorithm known here.
    #[error("`alg` is not a supported signature algorithm")]
    UnsupportedAlgorithm,
    /// `use` or `key_ops` say that it is not for signatures.
    #[error("it is not meant for verifying signatures")]
    NotForSignatures,
    /// A type or curve that is not supported.
    #[error("its `kty` or `crv` is not supported")]
    UnsupportedType,
    /// A symmetric key in a document that was fetched, or among public keys.
    #[error("a symmetric key must not come from a fetched document, nor stand among public keys")]
    SecretNotAllowed,
    /// Another key of the same document has the same `kid`.
    #[error("another key before it has the same `kid`")]
    DuplicateId,
    /// A private key where a public one belongs.
    #[error("it is a private key; only the public key belongs here")]
    Private,
}

impl Key {
    /// Parses a key. `pinned` is the JWK's `alg`: then the key serves that algorithm only, else each one that its
    /// type allows; the configuration narrows it further.
    pub fn new(
        id: Option<Box<str>>,
        pinned: Option<Algorithm>,
        material: &Material<'_>,
    ) -> Result<Key, KeyError> {
        let mut verifiers = match *material {
            Material::Rsa { n, e } => rsa_components(n, e)?,
            Material::Point(algorithm, point) => vec![(algorithm, curve_key(algorithm, point)?)],
            Material::Ed25519(point) => vec![(Algorithm::EdDSA, public(&signature::ED25519, point)?)],
            Material::Der(der) => any_der(der)?,
            Material::Secret(secret) => hmac_keys(secret)?,
        };
        if let Some(pinned) = pinned {
            verifiers.retain(|(algorithm, _)| *algorithm == pinned);
            if verifiers.is_empty() {
                return Err(KeyError::AlgorithmMismatch);
            }
        }
        Ok(Key { id, verifiers: verifiers.into(), revoked: AtomicBool::new(false) })
    }

    /// `kid`, if the key has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the key may serve `algorithm`.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        self.verifiers.iter().any(|(own, _)| *own == algorithm)
    }

    /// Whether `signature` is this key's signature of `message` by `algorithm`; false when it does not serve it.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let Some((_, verifier)) = self.verifiers.iter().find(|(own, _)| *own == algorithm) else {
            return false;
        };
        match verifier {
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
            Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    /// Whether the key was withdrawn by its issuer. Whoever remembers a result of this key must ask again each time.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    /// Withdraws the key for good.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    /// Whether both are the same key with the same id and algorithms. Always false for secrets.
    pub fn same_as(&self, other: &Key) -> bool {
        self.id == other.id
            && self.verifiers.len() == other.verifiers.len()
            && self.verifiers.iter().zip(&other.verifiers).all(|((own, mine), (their, theirs))| {
                own == their
                    && matches!((mine, theirs), (Verifier::Public(a), Verifier::Public(b)) if a.as_ref() == b.as_ref())
            })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.verifiers.iter().map(|(algorithm, _)| *algorithm).collect();
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

const RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
];

fn rsa_components(n: &[u8], e: &[u8]) -> Result<Vec<(Algorithm, Verifier)>, KeyError> {
    let components = RsaPublicKeyComponents { n: without_leading_zeros(n), e: without_leading_zeros(e) };
    let mut verifiers = Vec::with_capacity(RSA.len());
    for (algorithm, parameters) in RSA {
        let key = components.to_parsed_public_key(parameters).map_err(|_| KeyError::Malformed)?;
        verifiers.push((algorithm, Verifier::Public(key)));
    }
    check_rsa_size(&verifiers)?;
    Ok(verifiers)
}

/// Some issuers write a sign byte; RFC 7518 §6.3.1.1 warns of it, and everybody accepts it.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// aws-lc checks the size of an RSA key only when it verifies; a key of the wrong size is refused here instead.
fn check_rsa_size(verifiers: &[(Algorithm, Verifier)]) -> Result<(), KeyError> {
    let Some((_, Verifier::Public(key))) = verifiers.first() else { return Err(KeyError::Malformed) };
    let der = key.as_der().map_err(|_| KeyError::Malformed)?;
    let bits =
        rsa::PublicEncryptingKey::from_der(der.as_ref()).map_err(|_| KeyError::WeakRsa)?.key_size_bits();
    if (2048..=8192).contains(&bits) { Ok(()) } else { Err(KeyError::WeakRsa) }
}

fn curve_key(algorithm: Algorithm, point: &[u8]) -> Result<Verifier, KeyError> {
    match algorithm {
        Algorithm::ES256 => public(&signature::ECDSA_P256_SHA256_FIXED, point),
        Algorithm::ES384 => public(&signature::ECDSA_P384_SHA384_FIXED, point),
        _ => Err(KeyError::UnsupportedType),
    }
}

fn public(
    algorithm: &'static dyn signature::VerificationAlgorithm,
    bytes: &[u8],
) -> Result<Verifier, KeyError> {
    ParsedPublicKey::new(algorithm, bytes).map(Verifier::Public).map_err(|_| KeyError::Malformed)
}

fn any_der(der: &[u8]) -> Result<Vec<(Algorithm, Verifier)>, KeyError> {
    for algorithm in [Algorithm::ES256, Algorithm::ES384] {
        if let Ok(verifier) = curve_key(algorithm, der) {
            return Ok(vec![(algorithm, verifier)]);
        }
    }
    if let Ok(verifier) = public(&signature::ED25519, der) {
        return Ok(vec![(Algorithm::EdDSA, verifier)]);
    }
    let mut verifiers = Vec::with_capacity(RSA.len());
    for (algorithm, parameters) in RSA {
        verifiers.push((algorithm, public(parameters, der)?));
    }
    check_rsa_size(&verifiers)?;
    Ok(verifiers)
}

fn hmac_keys(secret: &[u8]) -> Result<Vec<(Algorithm, Verifier)>, KeyError> {
    let verifiers: Vec<_> = [
        (Algorithm::HS256, hmac::HMAC_SHA256, 32),
        (Algorithm::HS384, hmac::HMAC_SHA384, 48),
        (Algorithm::HS512, hmac::HMAC_SHA512, 64),
    ]
    .into_iter()
    .filter(|(_, _, bytes_min)| secret.len() >= *bytes_min)
    .map(|(algorithm, hash, _)| (algorithm, Verifier::Secret(Box::new(hmac::Key::new(hash, secret)))))
    .collect();
    if verifiers.is_empty() { Err(KeyError::ShortSecret) } else { Ok(verifiers) }
}

/// Whether `algorithm` works with a shared secret.
pub fn is_symmetric(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Hmac
}
