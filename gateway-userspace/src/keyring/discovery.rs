//! OpenID Connect discovery (OpenID Connect Discovery 1.0 §4): from an issuer to the URL of its keys.

use serde::Deserialize;

use super::transfer;

/// Why a discovery document is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Not JSON, or without `issuer` and `jwks_uri`.
    #[error("the discovery document is not JSON with `issuer` and `jwks_uri`")]
    Malformed,
    /// It speaks for somebody else (§4.3: both must be identical).
    #[error("the discovery document is of issuer `{found}`, not `{expected}`")]
    OtherIssuer {
        /// Whose document was asked for.
        expected: Box<str>,
        /// Whose it is.
        found: Box<str>,
    },
    /// `jwks_uri` is not a URL, or leaves TLS although the issuer is reached over TLS.
    #[error("`jwks_uri` is `{0}`: not an http(s) URL, or without TLS although the issuer has it")]
    Location(Box<str>),
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Where the discovery document of `issuer` is.
pub fn location(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// The URL of the keys, from a discovery document.
pub fn keys_url(issuer: &str, document: &[u8]) -> Result<Box<str>, DiscoveryError> {
    let Document { issuer: found, jwks_uri } =
        serde_json::from_slice(document).map_err(|_| DiscoveryError::Malformed)?;
    if found != issuer {
        return Err(DiscoveryError::OtherIssuer { expected: issuer.into(), found: found.into() });
    }
    if !transfer::keeps_protection(issuer, &jwks_uri) {
        return Err(DiscoveryError::Location(jwks_uri.into()));
    }
    Ok(jwks_uri.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_stands_below_the_issuer_with_or_without_slash() {
        let expected = "https://auth.example.com/tenant/.well-known/openid-configuration";
        assert_eq!(location("https://auth.example.com/tenant"), expected);
        assert_eq!(location("https://auth.example.com/tenant/"), expected);
    }

    #[test]
    fn only_the_issuers_own_document_is_followed_and_never_out_of_tls() {
        let issuer = "https://auth.example.com/";
        let document =
            |found: &str, keys: &str| format!(r#"{{"issuer":"{found}","jwks_uri":"{keys}","x":1}}"#);
        let good = document(issuer, "https://keys.example.com/jwks");
        assert_eq!(keys_url(issuer, good.as_bytes()).as_deref(), Ok("https://keys.example.com/jwks"));
        let other = document("https://auth.example.com", "https://keys.example.com/jwks");
        assert!(matches!(keys_url(issuer, other.as_bytes()), Err(DiscoveryError::OtherIssuer { .. })));
        for bad in ["http://keys.example.com/jwks", "file:///etc/passwd", "keys"] {
            let document = document(issuer, bad);
            assert!(
                matches!(keys_url(issuer, document.as_bytes()), Err(DiscoveryError::Location(_))),
                "{bad}"
            );
        }
        assert_eq!(keys_url(issuer, b"<html>"), Err(DiscoveryError::Malformed));
    }
}
