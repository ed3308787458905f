//! From claims to an identity: the principal, and the headers that tell the upstream who it is.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::{ClaimHeader, Config};
use crate::header;
use crate::http::rejection::Rejection;
use crate::request::Identity;
use crate::request::identity::Credential;

/// Claims that may stand for the client, the first that is there: the subject, else the client of the token
/// (RFC 9068 §2.2, OpenID Connect `azp`).
const PRINCIPAL: [&str; 3] = ["sub", "client_id", "azp"];

/// Makes the identity of a verified token.
pub fn identity(claims: Map<String, Value>, config: &Config) -> Result<Identity, Rejection> {
    let mut headers = Vec::with_capacity(config.headers.len());
    for mapping in &config.headers {
        match header_value(&claims, mapping) {
            Some(value) => headers.push((mapping.header.clone(), value)),
            None if mapping.required => return Err(Rejection::MissingClaim),
            None => {}
        }
    }
    let principal = PRINCIPAL.iter().find_map(|name| scalar(claims.get(*name)?)).unwrap_or_default();
    Ok(Identity {
        auth: config.name.clone(),
        principal: Arc::from(principal),
        credential: Credential::Token,
        claims,
        headers: headers.into(),
    })
}

/// The claim as a field value. None when it is not there, or cannot be a field value without changing its meaning: an
/// object, null, a text with line breaks or other controls, a list with a comma within an element.
fn header_value(claims: &Map<String, Value>, mapping: &ClaimHeader) -> Option<header::Value> {
    let text = match find(claims, &mapping.claim)? {
        // RFC 9110 §5.6.1: a comma separates the elements of a list.
        Value::Array(elements) => {
            let elements: Option<Vec<String>> =
                elements.iter().map(|element| scalar(element).filter(|text| !text.contains(','))).collect();
            elements?.join(",")
        }
        value => scalar(value)?,
    };
    header::Value::parse(text.as_bytes())
}

/// A claim by its whole name, or by a dotted path into nested objects. The whole name wins, so that claims such as
/// `https://example.com/role` can be named.
pub fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let mut value = claims.get(parts.next()?)?;
    for part in parts {
        value = value.as_object()?.get(part)?;
    }
    Some(value)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
