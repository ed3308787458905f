//! One header by which an upstream can tell the gateway from somebody who only reaches its port: who the client is, as a
//! short JWT (RFC 7519) under a secret that the gateway and its upstreams share (HS256).
//!
//! The token is for one upstream (`aud`) and one request (`jti`), and good for seconds. The client's own copies of the
//! header are removed from every request, as all identity headers are; a request without an identity gets none.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::header::{Fields, Name, Value};
use crate::request::{Identity, RequestId};

/// Fewest bytes of a secret (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// `{"alg":"HS256","typ":"JWT"}` in base64url.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// `[identity]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The header.
    pub header: Name,
    /// What it is signed with, at least [`SECRET_BYTES_MIN`] bytes.
    pub secret: Secret,
    /// From the request to `exp`.
    pub life: Duration,
}

/// A secret, which no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Arc<[u8]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Signs identities.
pub struct SignedIdentity {
    header: Name,
    key: hmac::Key,
    life: Duration,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'static str,
    aud: &'a str,
    sub: &'a str,
    /// The `[auth.NAME]` that vouches for it.
    auth: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
}

impl SignedIdentity {
    /// For this configuration.
    pub fn new(config: &Config) -> SignedIdentity {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &config.secret.0);
        SignedIdentity { header: config.header.clone(), key, life: config.life }
    }

    /// Sets the header of one request to `upstream`.
    pub fn apply(
        &self,
        fields: &mut Fields,
        identity: &Identity,
        id: &RequestId,
        upstream: &str,
        now: SystemTime,
    ) {
        let iat = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = Claims {
            iss: "portcullis",
            aud: upstream,
            sub: &identity.principal,
            auth: &identity.auth,
            iat,
            exp: iat + self.life.as_secs().max(1),
            jti: id.as_str(),
        };
        let mut token = String::with_capacity(384);
        token.push_str(HEADER);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims).unwrap_or_default(), &mut token);
        let tag = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut token);
        if let Some(value) = Value::parse(token.as_bytes()) {
            fields.set(self.header.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::identity::Credential;

    #[test]
    fn a_library_of_others_verifies_the_token_and_only_with_the_secret() {
        let secret = b"0123456789abcdef0123456789abcdef";
        let config = Config {
            header: Name::from_static("x-gateway-identity"),
            secret: Secret(Arc::from(&secret[..])),
            life: Duration::from_secs(30),
        };
        assert_eq!(format!("{:?}", config.secret), "Secret(…)");
        let identity = Identity {
            auth: Arc::from("users"),
            principal: Arc::from("alice \"the\" first"),
            credential: Credential::Token,
            claims: serde_json::Map::new(),
            headers: Vec::new().into(),
        };
        let mut fields = Fields::default();
        fields.add(config.header.clone(), Value::from_static("forged"));
        let id = RequestId(Value::from_static("0193-abc"));
        let now = SystemTime::now();
        SignedIdentity::new(&config).apply(&mut fields, &identity, &id, "orders", now);
        let token = fields.single(&config.header).expect("one").to_str().expect("text").to_owned();

        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.set_audience(&["orders"]);
        validation.set_issuer(&["portcullis"]);
        let decode = |secret: &[u8]| {
            let key = jsonwebtoken::DecodingKey::from_secret(secret);
            jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation)
        };
        let claims = decode(secret).expect("it verifies").claims;
        assert_eq!(
            (claims["sub"].as_str(), claims["jti"].as_str()),
            (Some("alice \"the\" first"), Some("0193-abc"))
        );
        assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(30));
        assert!(decode(b"another secret of thirty-two byte").is_err());
    }
}
