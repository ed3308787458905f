//! `[auth.NAME]` and `[identity]`. Secrets are told as the beginning of their hash.

use super::{hash, hex, joined, pair};
use crate::config::model::{Auth, AuthKind};
use crate::config::units::show_duration;
use crate::observe::timestamp;
use crate::policy::jwt::config::{ClaimHeader, KeySource};
use crate::policy::{api_key, jwt, signed_identity};

/// Of `[auth.NAME]`.
pub fn of_auth(auth: &Auth) -> Vec<(String, String)> {
    let Auth { name: _, place: _, kind } = auth;
    match kind {
        AuthKind::Jwt(jwt) => of_jwt(jwt),
        AuthKind::ApiKey(keys) => of_api_key(keys),
    }
}

fn of_jwt(config: &jwt::config::Config) -> Vec<(String, String)> {
    let jwt::config::Config {
        name: _,
        issuer,
        keys,
        audiences,
        algorithms,
        leeway,
        headers,
        realm,
        refresh,
        max_stale,
        ca,
        forward,
    } = config;
    let keys = match keys {
        KeySource::Discovery(issuer) => format!("by discovery at {issuer}"),
        KeySource::Url(url) => url.to_string(),
        // Key material may be secret, so only its hash is shown.
        KeySource::Inline(text) => format!("material {}", hash(text.as_bytes())),
    };
    let headers = headers.iter().map(|ClaimHeader { header, claim, required }| {
        format!("{} = {claim}{}", header.as_str(), if *required { "" } else { "?" })
    });
    vec![
        pair("jwt", issuer.as_deref().unwrap_or_default()),
        pair("keys", keys),
        pair("audience", joined(audiences)),
        pair("algorithms", joined(algorithms.iter().map(|algorithm| format!("{algorithm:?}")))),
        pair("leeway", show_duration(*leeway)),
        pair("headers", joined(headers)),
        pair("realm", realm),
        pair("refresh", show_duration(*refresh)),
        pair("max-stale", show_duration(*max_stale)),
        pair("ca", joined(ca.iter().map(|path| path.display()))),
        pair("forward", forward),
    ]
}

fn of_api_key(config: &api_key::config::Config) -> Vec<(String, String)> {
    use api_key::config::{Config, Key, Location, Terms};
    let Config { name: _, from, keys, consumer_header, forward } = config;
    let from = from.iter().map(|location| match location {
        Location::Header(name) => format!("header:{}", name.as_str()),
        Location::Query(name) => format!("query:{name}"),
        Location::Cookie(name) => format!("cookie:{name}"),
    });
    let mut values = vec![
        pair("api-key", joined(from)),
        pair("consumer-header", joined(consumer_header.iter().map(|name| name.as_str()))),
        pair("forward", forward),
    ];
    for Key { id, consumer, sha256, terms } in keys {
        let Terms { disabled, expires, addresses } = terms;
        let mut told = format!("{} ({consumer})", hex(sha256));
        if *disabled {
            told.push_str(", disabled");
        }
        if let Some(expires) = expires {
            told.push_str(&format!(", expires {}", timestamp::format(*expires)));
        }
        if !addresses.is_empty() {
            told.push_str(&format!(", from {}", joined(addresses)));
        }
        values.push(pair(format!("key {id}"), told));
    }
    values
}

/// Of `[identity]`.
pub fn of_identity(identity: &signed_identity::Config) -> Vec<(String, String)> {
    let signed_identity::Config { header, secret, life } = identity;
    vec![pair("header", header.as_str()), pair("secret", hash(&secret.0)), pair("life", show_duration(*life))]
}
