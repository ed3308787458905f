//! A throw-away token issuer: an RSA key, its JWKS, and tokens signed with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Something of the key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the issuer's key could not be made or used")]
pub struct Error;

/// An issuer with one key at a time.
pub struct Issuer {
    url: String,
    kid: String,
    pair: KeyPair,
}

impl Issuer {
    /// Makes an RSA-2048 key named `kid` for the issuer `url`.
    pub fn new(url: &str, kid: &str) -> Result<Issuer, Error> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error)?;
        Ok(Issuer { url: url.to_owned(), kid: kid.to_owned(), pair })
    }

    /// The discovery document (OpenID Connect Discovery 1.0 §4).
    pub fn discovery(&self) -> String {
        serde_json::json!({ "issuer": self.url, "jwks_uri": format!("{}/jwks.json", self.url) }).to_string()
    }

    /// The key set (RFC 7517 §5).
    pub fn jwks(&self) -> String {
        let public = self.pair.public_key();
        serde_json::json!({ "keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        }]})
        .to_string()
    }

    /// A token for `subject` and the audience `api`, good for `life` from now.
    pub fn token(&self, subject: &str, life: Duration) -> Result<String, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Error)?.as_secs();
        let claims = serde_json::json!({
            "iss": self.url, "aud": "api", "sub": subject, "iat": now, "exp": now + life.as_secs(),
        });
        self.sign(&serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": self.kid }), &claims)
    }

    /// Signs any header and claims with RS256, so that tests can make tokens that no issuer would.
    pub fn sign(&self, header: &serde_json::Value, claims: &serde_json::Value) -> Result<String, Error> {
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.pair
            .sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)
            .map_err(|_| Error)?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The private key as PKCS#8 DER.
    pub fn private_key(&self) -> Result<Vec<u8>, Error> {
        let der: Pkcs8V1Der<'static> = self.pair.as_der().map_err(|_| Error)?;
        Ok(der.as_ref().to_vec())
    }
}
