//! `[auth.NAME]`: bearer tokens or API keys, by which of `jwt` and `api-key` is written.

use crate::config::codes;
use crate::config::decode::Decoder;
use crate::config::file::{TableName, api_key, jwt};
use crate::config::model::{Auth, AuthKind};
use crate::config::tree::{Node, Value};
use crate::diagnostic::Problem;

/// Decodes `[auth.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<Auth> {
    if !matches!(node.value, Value::Table(_)) {
        d.wrong_type(node, "a table");
        return None;
    }
    let title = format!("[auth.{}]", name.value);
    let place_of = |key: &str| {
        let found = node.entries().iter().find(|entry| entry.key.value == key);
        found.map(|entry| entry.key.place.clone())
    };
    // Token keys are text, API keys a table: so `keys` alone also says which kind this is.
    let has_token_keys = node.get("keys").is_some_and(|keys| matches!(keys.value, Value::Text { .. }));
    let kind = match (place_of("jwt"), place_of("api-key")) {
        (Some(jwt), Some(api_key)) => {
            let message = format!("{title} has both `jwt` and `api-key`");
            let problem =
                Problem::error(codes::EXCLUSIVE, message, api_key).related(jwt, "`jwt` stands here");
            d.report
                .push(problem.help("make two tables, and name both in the route: `auth = [\"a\", \"b\"]`"));
            return None;
        }
        (None, None) if !has_token_keys => {
            report_unknown_kind(d, &title, node);
            return None;
        }
        (_, Some(_)) => AuthKind::ApiKey(api_key::decode(d, &name.value, title, node)?),
        (_, None) => AuthKind::Jwt(jwt::decode(d, &name.value, title, node)?),
    };
    Some(Auth { name: name.value, place: name.place, kind })
}

fn report_unknown_kind(d: &mut Decoder<'_>, title: &str, node: &Node) {
    let known: Vec<&str> = jwt::SPEC.keys.iter().chain(api_key::SPEC.keys).map(|key| key.name).collect();
    for entry in node.entries() {
        if !known.contains(&entry.key.value.as_str()) {
            d.unknown_key(title, &entry.key, &known);
        }
    }
    if !d.syntax_errors {
        let message = format!("{title} does not say how to authenticate");
        let problem = Problem::error(codes::MISSING_KEY, message, node.place.clone());
        let help = "write `jwt = \"https://ISSUER/\"` or `api-key = \"header:X-API-Key\"`";
        d.report.push(problem.label("`jwt` or `api-key` is missing here").help(help));
    }
}
