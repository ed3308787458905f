//! The outside of a token: three parts, base64url, and the header (RFC 7515 §3.1, §4.1).
//!
//! What a header may say is kept small on purpose: `alg` and `kid` are read, keys and places of keys that a token
//! brings along are refused and never followed, and so is every critical extension, because none is understood.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::strict_json;
use crate::http::rejection::CredentialFault;

/// Largest token, bytes.
pub const BYTES_MAX: usize = 8 << 10;

/// Header parameters with which a token names its own key (RFC 7515 §4.1.2, §4.1.3, §4.1.5).
const OWN_KEYS: [&str; 3] = ["jku", "jwk", "x5u"];

/// A token that is well-formed; nothing of it is verified.
#[derive(Debug)]
pub struct Token<'a> {
    /// `alg`; never `none`, which is no algorithm here.
    pub algorithm: Algorithm,
    /// `kid`.
    pub key_id: Option<Box<str>>,
    /// What the token says: its claims, not yet read.
    payload: Vec<u8>,
    /// What the signature is over.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a compact token apart and reads its header.
    pub fn parse(token: &'a [u8]) -> Result<Token<'a>, CredentialFault> {
        if token.len() > BYTES_MAX {
            return Err(CredentialFault::Malformed);
        }
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(index, _)| index);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(CredentialFault::Malformed);
        };
        let header = strict_json::object(&decode(&token[..first])?).ok_or(CredentialFault::Malformed)?;
        let (algorithm, key_id) = read_header(&header)?;
        let payload = decode(&token[first + 1..second])?;
        let signature = decode(&token[second + 1..])?;
        Ok(Token { algorithm, key_id, payload, signed: &token[..second], signature })
    }

    /// The claims, without repeated members.
    pub fn claims(&self) -> Result<Map<String, Value>, CredentialFault> {
        strict_json::object(&self.payload).ok_or(CredentialFault::Malformed)
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<Box<str>>), CredentialFault> {
    if header.contains_key("crit") {
        return Err(CredentialFault::Critical);
    }
    if OWN_KEYS.iter().any(|name| header.contains_key(*name)) {
        return Err(CredentialFault::UnknownKey);
    }
    let algorithm = match header.get("alg") {
        Some(Value::String(name)) => name.parse().map_err(|_| CredentialFault::Algorithm)?,
        _ => return Err(CredentialFault::Malformed),
    };
    let key_id = match header.get("kid") {
        Some(Value::String(id)) => Some(id.as_str().into()),
        Some(_) => return Err(CredentialFault::Malformed),
        None => None,
    };
    Ok((algorithm, key_id))
}

/// Base64url without padding, white space or bits left over (RFC 7515 §2): one text for one sequence of bytes.
fn decode(part: &[u8]) -> Result<Vec<u8>, CredentialFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| CredentialFault::Malformed)
}
