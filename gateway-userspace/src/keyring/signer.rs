//! Real keys for tests: made anew in each run, they sign tokens and show their public half as JWK and PEM.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key pair, or a shared secret.
pub enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Signer {
    pub fn rsa() -> Signer {
        Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a new key"))
    }

    pub fn p256() -> Signer {
        Signer::P256(EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a new key"))
    }

    pub fn p384() -> Signer {
        Signer::P384(EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).expect("a new key"))
    }

    pub fn ed25519() -> Signer {
        Signer::Ed25519(Ed25519KeyPair::generate().expect("a new key"))
    }

    /// The public half (or the secret) as JWK, without `kid` and `alg`.
    pub fn jwk(&self) -> Value {
        match self {
            Signer::Rsa(pair) => {
                let (n, e) = rsa_components(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": base64url(&n), "e": base64url(&e)})
            }
            Signer::P256(pair) => point("P-256", pair.public_key().as_ref()),
            Signer::P384(pair) => point("P-384", pair.public_key().as_ref()),
            Signer::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
            Signer::Secret(secret) => json!({"kty": "oct", "k": base64url(secret)}),
        }
    }

    /// The same with members added, such as `kid`.
    pub fn jwk_with(&self, members: Value) -> Value {
        let mut jwk = self.jwk();
        for (name, value) in members.as_object().expect("an object") {
            jwk[name] = value.clone();
        }
        jwk
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Signer::Rsa(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Signer::P256(pair) | Signer::P384(pair) => {
                pair.public_key().as_der().expect("DER").as_ref().to_vec()
            }
            Signer::Ed25519(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Signer::Secret(_) => panic!("a secret has no public half"),
        }
    }

    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki())
    }

    /// DER of the RSAPublicKey (PKCS#1).
    pub fn pkcs1(&self) -> Vec<u8> {
        match self {
            Signer::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            _ => panic!("PKCS#1 is for RSA"),
        }
    }

    /// The usual algorithm of the key.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Signer::Rsa(_) => "RS256",
            Signer::P256(_) => "ES256",
            Signer::P384(_) => "ES384",
            Signer::Ed25519(_) => "EdDSA",
            Signer::Secret(_) => "HS256",
        }
    }

    /// A signature by any algorithm that the key can do.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Rsa(pair) => {
                let encoding: &dyn signature::RsaEncoding = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("RSA cannot do {other}"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
            Signer::P256(pair) | Signer::P384(pair) => {
                pair.sign(&random, message).expect("a signature").as_ref().to_vec()
            }
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Secret(secret) => hmac(algorithm, secret, message),
        }
    }

    /// A token with this header and these claims, signed by the header's `alg`.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().unwrap_or(self.algorithm());
        let signed = unsigned(&header.to_string(), &claims.to_string());
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", base64url(&signature))
    }
}

/// Header and claims, encoded, without a signature.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

pub fn hmac(algorithm: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, Key, sign};
    let hash = match algorithm {
        "HS256" => HMAC_SHA256,
        "HS384" => HMAC_SHA384,
        "HS512" => HMAC_SHA512,
        other => panic!("HMAC cannot do {other}"),
    };
    sign(&Key::new(hash, secret), message).as_ref().to_vec()
}

pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn point(curve: &str, bytes: &[u8]) -> Value {
    let (x, y) = bytes[1..].split_at((bytes.len() - 1) / 2);
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
}

/// Modulus and exponent out of the DER of an RSAPublicKey.
fn rsa_components(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (sequence, _) = element(der);
    let (n, rest) = element(sequence);
    let (e, _) = element(rest);
    let strip = |number: &[u8]| number[usize::from(number[0] == 0)..].to_vec();
    (strip(n), strip(e))
}

fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short if short < 0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            let length = der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, 2 + bytes)
        }
    };
    (&der[start..start + length], &der[start + length..])
}
