//! Documents with keys (a JWKS, one JWK, PEM) and the set of keys that comes out of them.
//!
//! One bad key never spoils a set: it is skipped and reported. A document that is no key document, or holds no usable
//! key, yields an error, and whoever fetched it keeps the set from before.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};

use super::key::{Key, KeyError, Material};
use super::pem;

/// Largest document, bytes.
pub const BYTES_MAX: usize = 1 << 20;
/// Most keys that are taken from one document; the rest is left out and reported.
pub const KEYS_MAX: usize = 256;

/// Who wrote a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The operator, in a file or variable: symmetric keys are allowed, but not together with public ones.
    Operator,
    /// The issuer, over the network: only public keys are taken.
    Issuer,
}

/// Why a document gives no keys at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`BYTES_MAX`].
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// Neither PEM nor a JWK nor a JWKS.
    #[error("it is neither a JWKS, nor a JWK, nor PEM")]
    NotKeys,
    /// It holds no key.
    #[error("it holds no key")]
    Empty,
    /// Every key in it was refused.
    #[error("no key in it can be used; the first: {0}")]
    NoUsableKey(KeyError),
}

/// A key that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the document, from 0.
    pub index: usize,
    /// Why.
    pub reason: KeyError,
}

/// The keys of one document, never empty.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    by_id: HashMap<Box<str>, usize>,
}

/// How one set differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Keys that were not there before.
    pub added: usize,
    /// Keys that are there no more.
    pub withdrawn: usize,
}

/// What looking for a key found.
#[derive(Debug)]
pub enum Selection<'a> {
    /// The key.
    Found(&'a Arc<Key>),
    /// No key with this id, or, without an id, none or several that fit.
    Unknown,
    /// The key with this id does not serve the algorithm.
    WrongAlgorithm,
}

impl KeySet {
    /// Parses a document; the second value lists the keys that were left out.
    pub fn parse(document: &[u8], author: Author) -> Result<(KeySet, Vec<Skipped>), DocumentError> {
        if document.len() > BYTES_MAX {
            return Err(DocumentError::TooLarge);
        }
        let text = std::str::from_utf8(document).map_err(|_| DocumentError::NotKeys)?;
        let candidates = if pem::is_pem(text) { pem::keys(text) } else { json_keys(text, author)? };
        let mut set = KeySet::default();
        let mut skipped = Vec::new();
        for (index, candidate) in candidates.into_iter().enumerate() {
            if let Err(reason) = candidate.and_then(|key| set.add(key)) {
                skipped.push(Skipped { index, reason });
            }
        }
        match (set.keys.is_empty(), skipped.first()) {
            (false, _) => Ok((set, skipped)),
            (true, Some(first)) => Err(DocumentError::NoUsableKey(first.reason)),
            (true, None) => Err(DocumentError::Empty),
        }
    }

    /// The key for a token: the one with exactly this `kid`; without `kid`, or when no key of the set has an id (PEM),
    /// the only key that serves the algorithm.
    pub fn select(&self, id: Option<&str>, algorithm: Algorithm) -> Selection<'_> {
        match id {
            Some(id) if !self.by_id.is_empty() => match self.by_id.get(id) {
                Some(index) if self.keys[*index].serves(algorithm) => Selection::Found(&self.keys[*index]),
                Some(_) => Selection::WrongAlgorithm,
                None => Selection::Unknown,
            },
            _ => {
                let mut fitting = self.keys.iter().filter(|key| key.serves(algorithm));
                match (fitting.next(), fitting.next()) {
                    (Some(key), None) => Selection::Found(key),
                    (None, _) => Selection::WrongAlgorithm,
                    (Some(_), Some(_)) => Selection::Unknown,
                }
            }
        }
    }

    /// Every key.
    pub fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// Takes over keys of `before` that are in both, so that results remembered for them stay good, and withdraws
    /// those that are gone. Says how many came and how many went.
    pub fn succeed(&mut self, before: &KeySet) -> Change {
        let mut kept = 0;
        for old in &before.keys {
            match self.keys.iter_mut().find(|new| new.same_as(old)) {
                Some(new) => {
                    *new = old.clone();
                    kept += 1;
                }
                None => old.revoke(),
            }
        }
        Change { added: self.keys.len() - kept, withdrawn: before.keys.len() - kept }
    }

    fn add(&mut self, key: Key) -> Result<(), KeyError> {
        if let Some(id) = key.id() {
            if self.by_id.contains_key(id) {
                return Err(KeyError::DuplicateId);
            }
            self.by_id.insert(id.into(), self.keys.len());
        }
        self.keys.push(Arc::new(key));
        Ok(())
    }
}

fn json_keys(text: &str, author: Author) -> Result<Vec<Result<Key, KeyError>>, DocumentError> {
    let document: serde_json::Value = serde_json::from_str(text).map_err(|_| DocumentError::NotKeys)?;
    let serde_json::Value::Object(mut object) = document else { return Err(DocumentError::NotKeys) };
    let keys = match object.remove("keys") {
        Some(serde_json::Value::Array(keys)) => keys,
        Some(_) => return Err(DocumentError::NotKeys),
        None if object.contains_key("kty") => vec![serde_json::Value::Object(object)],
        None => return Err(DocumentError::NotKeys),
    };
    // A set with keys of both kinds invites taking one for the other, so its secrets are left out.
    let is_secret =
        |key: &serde_json::Value| key.get("kty").and_then(serde_json::Value::as_str) == Some("oct");
    let secrets = author == Author::Operator && keys.iter().all(is_secret);
    Ok(keys.into_iter().take(KEYS_MAX).map(|key| json_key(key, secrets)).collect())
}

fn json_key(value: serde_json::Value, secrets: bool) -> Result<Key, KeyError> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| KeyError::UnsupportedType)?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err(KeyError::NotForSignatures);
    }
    if jwk.common.key_operations.as_ref().is_some_and(|allowed| !allowed.contains(&KeyOperations::Verify)) {
        return Err(KeyError::NotForSignatures);
    }
    let id = jwk.common.key_id.map(String::into_boxed_str);
    let pinned = match jwk.common.key_algorithm.map(Algorithm::try_from) {
        Some(Err(_)) => return Err(KeyError::UnsupportedAlgorithm),
        Some(Ok(algorithm)) => Some(algorithm),
        None => None,
    };
    match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let (n, e) = (decode(&rsa.n)?, decode(&rsa.e)?);
            Key::new(id, pinned, &Material::Rsa { n: &n, e: &e })
        }
        AlgorithmParameters::EllipticCurve(curve) => {
            let (algorithm, bytes) = match curve.curve {
                EllipticCurve::P256 => (Algorithm::ES256, 32),
                EllipticCurve::P384 => (Algorithm::ES384, 48),
                _ => return Err(KeyError::UnsupportedType),
            };
            let (x, y) = (decode(&curve.x)?, decode(&curve.y)?);
            if x.len() != bytes || y.len() != bytes {
                return Err(KeyError::Malformed);
            }
            let point = [&[4][..], &x, &y].concat();
            Key::new(id, pinned, &Material::Point(algorithm, &point))
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            let point = decode(&pair.x)?;
            if point.len() != 32 {
                return Err(KeyError::Malformed);
            }
            Key::new(id, pinned, &Material::Ed25519(&point))
        }
        AlgorithmParameters::OctetKey(_) if !secrets => Err(KeyError::SecretNotAllowed),
        AlgorithmParameters::OctetKey(secret) => {
            Key::new(id, pinned, &Material::Secret(&decode(&secret.value)?))
        }
        _ => Err(KeyError::UnsupportedType),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Malformed)
}

#[cfg(test)]
mod tests;
