//! `/v1/config/{kind}/{name}`: a table of the configuration as a resource, with `ETag`, `If-Match` and `If-None-Match`
//! (RFC 9110 §13.1), and `/v1/routes`.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};

use super::{Call, decode_json};
use crate::admin::api::{DeleteTable, GetTables, ListRoutes, Precondition, SetTable};
use crate::admin::problem::Problem;

/// The media type of TOML (RFC 9618 is not it; `application/toml` is registered with IANA).
pub const TOML: &str = "application/toml";

/// `rest` is what follows `/v1/config`: nothing, `/{kind}` or `/{kind}/{name}`.
pub fn parse(
    method: &str,
    rest: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Call, Problem> {
    let mut parts = rest.trim_matches('/').split('/').filter(|part| !part.is_empty());
    let (kind, name) = (parts.next().map(str::to_owned), parts.next().map(str::to_owned));
    if parts.next().is_some() {
        return Err(Problem::not_found("a table is /v1/config/{kind}/{name}"));
    }
    let dry_run = query.split('&').any(|pair| matches!(pair, "dry-run" | "dry-run=true" | "dry-run=1"));
    match (method, kind) {
        ("GET", None) => Ok(Call::Tables(GetTables::default())),
        ("POST", None) => decode_json(body).map(Call::Tables),
        (_, None) => Err(Problem::method_not_allowed("GET, POST")),
        // All of a kind, unless there is only one.
        ("GET", Some(kind)) => {
            let toml = field(headers, &ACCEPT).is_some_and(|accept| accept.contains(TOML));
            Ok(Call::Table(GetTables { kind: Some(kind), name }, toml))
        }
        ("PUT", Some(_)) if body.trim_ascii().is_empty() => {
            Err(Problem::bad_request("the body is the table, as JSON or TOML, and there is none"))
        }
        ("PUT", Some(kind)) => {
            let (mut toml, mut values) = (None, None);
            match field(headers, &CONTENT_TYPE).is_some_and(|kind| kind.starts_with(TOML)) {
                true => {
                    let text = std::str::from_utf8(body);
                    let text = text.map_err(|_| Problem::bad_request("the body is not UTF-8"))?;
                    toml = Some(text.to_owned());
                }
                false => values = Some(decode_json(body)?),
            }
            Ok(Call::SetTable(SetTable { kind, name, toml, values, only: only(headers), dry_run }))
        }
        ("DELETE", Some(kind)) => {
            Ok(Call::DeleteTable(DeleteTable { kind, name, only: only(headers), dry_run }))
        }
        _ => Err(Problem::method_not_allowed("GET, PUT, DELETE")),
    }
}

/// `/v1/routes` and `/v1/routes/{name}`
pub fn routes(method: &str, name: Option<&str>, body: &[u8]) -> Result<Call, Problem> {
    match (method, name) {
        ("GET", name) => Ok(Call::Routes(ListRoutes { name: name.map(str::to_owned) })),
        ("POST", None) => decode_json(body).map(Call::Routes),
        (_, None) => Err(Problem::method_not_allowed("GET, POST")),
        (_, Some(_)) => Err(Problem::method_not_allowed("GET")),
    }
}

fn only(headers: &HeaderMap) -> Precondition {
    let text = |name: &HeaderName| field(headers, name).map(str::to_owned);
    Precondition { if_match: text(&IF_MATCH), if_none_match: text(&IF_NONE_MATCH) }
}

fn field<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
