//! `keys` of a JWT authentication: a URL, or key material whose kind is known before the first token arrives.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use crate::config::codes;
use crate::config::decode::Decoder;
use crate::config::secret::{self, Content};
use crate::config::tree::{Node, Value};
use crate::config::value::Type;
use crate::diagnostic::{Located, Place, Problem};
use crate::policy::jwt::config::KeySource;

/// The type of `keys`.
pub const KEYS: Type<Keys> = Type {
    describe: "a URL, `file:/path`, `cred:name`, or the text of a PEM public key, JWK or JWKS",
    decode,
};

/// Keys, and what can be verified with them.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Where they are.
    pub source: KeySource,
    /// Families of algorithms that they serve; `None` when that is not known before they are fetched.
    families: Option<Vec<AlgorithmFamily>>,
}

/// Keys by OIDC discovery.
pub fn discovery(d: &mut Decoder<'_>, issuer: &Located<Arc<str>>) -> Option<Keys> {
    check_url(d, &issuer.value, &issuer.place, "give the keys with `keys` if the issuer is not a URL")?;
    Some(Keys { source: KeySource::Discovery(issuer.value.clone()), families: None })
}

/// Refuses symmetric algorithms with public keys, and keys of which no algorithm makes use.
pub fn check_algorithms(
    d: &mut Decoder<'_>,
    keys: Option<&Keys>,
    keys_place: Option<&Place>,
    algorithms: &[Located<Algorithm>],
    table: &Place,
) {
    let Some(keys) = keys else { return };
    let secret_only = keys.families.as_ref().is_some_and(|families| *families == [AlgorithmFamily::Hmac]);
    if let Some(symmetric) = algorithms.iter().find(|algorithm| is_symmetric(algorithm.value))
        && !secret_only
        && !matches!((&keys.source, &keys.families), (KeySource::Inline(_), None))
    {
        let message = format!("{:?} cannot be used with public keys", symmetric.value);
        let problem = Problem::error(codes::ALGORITHM_MISMATCH, message, symmetric.place.clone())
            .label("whoever knows the public key could sign tokens")
            .help("leave it out; issuers with public keys sign with RS256, PS256, ES256 or EdDSA");
        d.report.push(match keys_place {
            Some(place) => problem.related(place.clone(), "these keys are public"),
            None => problem,
        });
        return;
    }
    let Some(families) = &keys.families else { return };
    let serves = |algorithm: &Located<Algorithm>| families.contains(&family(algorithm.value));
    if !algorithms.iter().any(serves) {
        let fitting = match families.first() {
            Some(AlgorithmFamily::Ec) => "ES256",
            Some(AlgorithmFamily::Ed) => "EdDSA",
            Some(AlgorithmFamily::Hmac) => "HS256",
            _ => "RS256",
        };
        let place = keys_place.cloned().unwrap_or_else(|| table.clone());
        let problem =
            Problem::error(codes::ALGORITHM_MISMATCH, "no accepted algorithm fits these keys", place);
        d.report.push(problem.help(format!("write `algorithms = [\"{fitting}\"]`")));
    }
}

fn family(algorithm: Algorithm) -> AlgorithmFamily {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => AlgorithmFamily::Hmac,
        Algorithm::ES256 | Algorithm::ES384 => AlgorithmFamily::Ec,
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        _ => AlgorithmFamily::Rsa,
    }
}

fn is_symmetric(algorithm: Algorithm) -> bool {
    family(algorithm) == AlgorithmFamily::Hmac
}

fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Keys> {
    let text = d.text(node, "a string")?;
    if text.starts_with("https://") || text.starts_with("http://") {
        check_url(d, text, &node.place, "write the URL of a JWKS")?;
        return Some(Keys { source: KeySource::Url(text.into()), families: None });
    }
    let literal = matches!(node.value, Value::Text { substituted: false, .. });
    match secret::reference(d, text) {
        Some(path) => match secret::read(d, path, node.place.clone())? {
            Content::Text(text) => material(d, &text, &node.place, false),
            Content::Unread => Some(Keys { source: KeySource::Inline("".into()), families: None }),
        },
        None => {
            if !text.trim_start().starts_with("-----BEGIN PUBLIC KEY") {
                d.conceal(node);
            }
            material(d, text, &node.place, literal)
        }
    }
}

/// Key material as text: PEM, one JWK, or a JWKS. Variables often carry PEM with `\n` in place of line breaks.
fn material(d: &mut Decoder<'_>, text: &str, place: &Place, literal: bool) -> Option<Keys> {
    let text = if text.contains('\n') { text.to_owned() } else { text.replace("\\n", "\n") };
    let text = text.trim();
    let families = if text.starts_with("-----BEGIN") {
        pem_families(text)
    } else if text.starts_with('{') {
        json_families(text)
    } else {
        Err("neither a URL nor a PEM public key, a JWK or a JWKS".into())
    };
    match families {
        Ok(families) => {
            if literal && families.contains(&AlgorithmFamily::Hmac) {
                let problem =
                    Problem::warning(codes::LITERAL_SECRET, "a secret stands in the file", place.clone());
                d.report.push(problem.help("write `\"${NAME}\"`, `\"file:/path\"` or `\"cred:name\"`"));
            }
            Some(Keys { source: KeySource::Inline(text.into()), families: Some(families) })
        }
        Err(what) => {
            let problem = Problem::error(codes::BAD_KEYS, "these are not keys", place.clone()).label(what);
            d.report.push(problem.help(
                "write the URL of a JWKS, or `file:/path` of a PEM public key: it begins with `-----BEGIN PUBLIC KEY-----`",
            ));
            None
        }
    }
}

fn pem_families(text: &str) -> Result<Vec<AlgorithmFamily>, String> {
    if text.contains("PRIVATE KEY-----") {
        return Err("this is a private key; the gateway needs only the public one".into());
    }
    let bytes = text.as_bytes();
    if DecodingKey::from_rsa_pem(bytes).is_ok() {
        Ok(vec![AlgorithmFamily::Rsa])
    } else if DecodingKey::from_ec_pem(bytes).is_ok() {
        Ok(vec![AlgorithmFamily::Ec])
    } else if DecodingKey::from_ed_pem(bytes).is_ok() {
        Ok(vec![AlgorithmFamily::Ed])
    } else {
        Err("this PEM holds no RSA, EC or Ed25519 public key".into())
    }
}

fn json_families(text: &str) -> Result<Vec<AlgorithmFamily>, String> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let one = [json.clone()];
    let keys = match json.get("keys") {
        Some(keys) => keys.as_array().ok_or("`keys` of a JWKS is an array")?,
        None => &one[..],
    };
    let mut families = Vec::new();
    for key in keys {
        let family = match key.get("kty").and_then(|kty| kty.as_str()) {
            Some("RSA") => AlgorithmFamily::Rsa,
            Some("EC") => AlgorithmFamily::Ec,
            Some("OKP") => AlgorithmFamily::Ed,
            Some("oct") => AlgorithmFamily::Hmac,
            _ => continue,
        };
        if !families.contains(&family) {
            families.push(family);
        }
    }
    if families.is_empty() { Err("there is no key of a known type in it".into()) } else { Ok(families) }
}

/// Checks an absolute URL; cleartext beyond this machine is a warning.
fn check_url(d: &mut Decoder<'_>, url: &str, place: &Place, help: &str) -> Option<()> {
    let parsed: Option<http::Uri> = url.parse().ok();
    let host = parsed.as_ref().and_then(|url| url.host()).filter(|host| !host.is_empty());
    let scheme = parsed.as_ref().and_then(|url| url.scheme_str());
    let (Some(host), Some(scheme @ ("http" | "https"))) = (host, scheme) else {
        let message = format!("`{url}` is not an absolute http or https URL");
        d.report.push(Problem::error(codes::BAD_URL, message, place.clone()).help(help));
        return None;
    };
    let local = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if scheme == "http" && !local {
        let message = "these keys are fetched without TLS";
        let problem = Problem::warning(codes::CLEARTEXT_KEYS, message, place.clone());
        d.report.push(problem.help("use `https://`; `ca` names the CA of an issuer of your own"));
    }
    Some(())
}
