//! `[auth.NAME]` with `jwt`: bearer tokens of an issuer.

mod keys;

use std::sync::Arc;

use jsonwebtoken::Algorithm;

use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::file::not_one_of;
use crate::config::tree::{Node, Value};
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};
use crate::header::{Name, Value as HeaderValue};
use crate::policy::jwt::config::{ClaimHeader, Config};

const ALGORITHMS: Type<Vec<Located<Algorithm>>> =
    Type { describe: "an algorithm, or an array of them", decode: algorithms };
const CLAIMS: Type<Vec<ClaimHeader>> =
    Type { describe: "a table from header field to claim", decode: claims };

/// The keys of `[auth.NAME]` with `jwt`.
pub static SPEC: Spec = Spec {
    title: "[auth.NAME] with jwt",
    doc: "JSON Web Tokens in `Authorization: Bearer`.",
    keys: &[
        Key::new(
            "jwt",
            Takes::Value(value::NAME.describe),
            Presence::Optional,
            "The issuer, to which `iss` must be equal to the byte. If only `keys` is given, `iss` is not checked.",
        ),
        Key::new(
            "keys",
            Takes::Value(keys::KEYS.describe),
            Presence::Optional,
            "Where the keys are: the URL of a JWKS; `file:/path` or `cred:name` of a PEM public key, a JWK or a JWKS; or \
             such a text itself, usually `\"${JWKS_PUBLIC_KEY}\"`. If not given, the issuer is asked by OIDC discovery.",
        ),
        Key::new(
            "audience",
            Takes::Value(value::NAMES.describe),
            Presence::Optional,
            "Audiences of which the token must name one; `aud` is not checked if not given.",
        ),
        Key::new(
            "algorithms",
            Takes::Value(ALGORITHMS.describe),
            Presence::Default("[\"RS256\"]"),
            "Algorithms that are accepted. HS256, HS384 and HS512 only with a secret JWK in `keys`, never with public \
             keys.",
        ),
        Key::new(
            "leeway",
            Takes::Value(value::DURATION_OR_ZERO.describe),
            Presence::Default("\"30s\""),
            "Tolerated difference of clocks.",
        ),
        Key::new(
            "headers",
            Takes::Value(CLAIMS.describe),
            Presence::Default("{}"),
            "Claims to send upstream: `{ X-User-Id = \"sub\", X-Email = \"email?\" }`. A token without the claim is \
             refused unless a `?` follows it; dots lead into nested objects. The client's own copies of the fields are \
             always removed.",
        ),
        Key::new(
            "realm",
            Takes::Value(value::NAME.describe),
            Presence::Optional,
            "Realm in `WWW-Authenticate`; if not given, the table's name.",
        ),
        Key::new(
            "refresh",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"10m\""),
            "How old fetched keys may get before they are fetched again.",
        ),
        Key::new(
            "max-stale",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"24h\""),
            "How long keys are used while the issuer cannot be reached.",
        ),
        Key::new(
            "ca",
            Takes::Value(value::PATH.describe),
            Presence::Optional,
            "PEM file with CA certificates for the issuer's TLS, beside the system's.",
        ),
        Key::new(
            "forward",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("true"),
            "Whether the token stays in the request that goes upstream.",
        ),
    ],
};

/// Decodes `[auth.NAME]` with `jwt`.
pub fn decode(d: &mut Decoder<'_>, name: &Arc<str>, title: String, node: &Node) -> Option<Config> {
    let f = d.fields(&SPEC, title, node)?;
    let issuer = f.located(d, "jwt", &value::NAME);
    let written = f.located(d, "keys", &keys::KEYS);
    let audiences = f.get(d, "audience", &value::NAMES);
    let algorithms = f.get(d, "algorithms", &ALGORITHMS);
    let leeway = f.get(d, "leeway", &value::DURATION_OR_ZERO);
    let headers = f.get(d, "headers", &CLAIMS);
    let realm = f.located(d, "realm", &value::NAME);
    let refresh = f.get(d, "refresh", &value::DURATION);
    let max_stale = f.get(d, "max-stale", &value::DURATION);
    let ca = f.get(d, "ca", &value::PATH);
    let forward = f.get(d, "forward", &value::BOOLEAN);
    let keys = match (&written, &issuer, f.node("keys")) {
        (Some(keys), ..) => Some(keys.value.clone()),
        (None, Some(issuer), None) => keys::discovery(d, issuer),
        (None, None, None) => {
            f.missing(d, "jwt");
            None
        }
        (None, _, Some(_)) => None,
    };
    let algorithms = algorithms?;
    keys::check_algorithms(d, keys.as_ref(), written.as_ref().map(|keys| &keys.place), &algorithms, &f.place);
    let realm = match realm {
        Some(realm) => checked_realm(d, realm)?,
        None => name.clone(),
    };
    Some(Config {
        name: name.clone(),
        issuer: issuer.map(|issuer| issuer.value),
        keys: keys?.source,
        audiences: audiences.unwrap_or_default().into_iter().map(|audience| audience.value).collect(),
        algorithms: algorithms.into_iter().map(|algorithm| algorithm.value).collect(),
        leeway: leeway?,
        headers: headers?,
        realm,
        refresh: refresh?,
        max_stale: max_stale?,
        ca,
        forward: forward?,
    })
}

/// A realm stands in a quoted string of a header field.
fn checked_realm(d: &mut Decoder<'_>, realm: Located<Arc<str>>) -> Option<Arc<str>> {
    if HeaderValue::parse(realm.value.as_bytes()).is_some() && !realm.value.contains(['"', '\\']) {
        return Some(realm.value);
    }
    let message = "a realm cannot hold quotes, backslashes or control characters";
    d.report.push(Problem::error(codes::NOT_A_HEADER, message, realm.place));
    None
}

const ALL_ALGORITHMS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
    "HS512",
];

fn algorithms(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Located<Algorithm>>> {
    let algorithms = value::one_or_many(d, node, |d, node| {
        let text = d.text(node, "an algorithm such as `RS256`")?;
        let algorithm = ALL_ALGORITHMS.contains(&text).then(|| text.parse().ok()).flatten();
        if algorithm.is_none() {
            let message = format!("`{text}` is not an algorithm");
            let problem = Problem::error(codes::BAD_ALGORITHM, message, node.place.clone());
            let help = match text {
                "none" => "tokens without a signature are never accepted".into(),
                _ => not_one_of(text, &ALL_ALGORITHMS),
            };
            d.report.push(problem.help(help));
        }
        Some(Located::new(algorithm?, node.place.clone()))
    })?;
    if algorithms.is_empty() {
        d.report.push(Problem::error(codes::EMPTY, "no algorithm is accepted", node.place.clone()));
        return None;
    }
    Some(algorithms)
}

fn claims(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<ClaimHeader>> {
    let Value::Table(entries) = &node.value else {
        d.wrong_type(node, "a table from header field to claim");
        return None;
    };
    let mut headers = Vec::new();
    for entry in entries {
        let header = Name::parse(&entry.key.value);
        if header.is_none() {
            let message = format!("`{}` is not the name of a header field", entry.key.value);
            d.report.push(Problem::error(codes::NOT_A_HEADER, message, entry.key.place.clone()));
        }
        let claim = d.text(&entry.node, "the name of a claim");
        let (claim, required) = match claim.map(|claim| (claim, claim.strip_suffix('?'))) {
            Some((_, Some(claim))) => (Some(claim), false),
            Some((claim, None)) => (Some(claim), true),
            None => (None, true),
        };
        if claim.is_some_and(|claim| claim.split('.').any(str::is_empty)) {
            let problem =
                Problem::error(codes::EMPTY, "the name of a claim is missing", entry.node.place.clone());
            d.report.push(problem.help("for example `X-User-Id = \"sub\"`"));
        }
        let pair = header.zip(claim);
        headers.push(pair.map(|(header, claim)| ClaimHeader { header, claim: claim.into(), required }));
    }
    headers.into_iter().collect()
}
