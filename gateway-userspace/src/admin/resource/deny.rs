//! `/v1/deny/NAME`: a list as a resource. Its body is the list itself, in any format that is read.

use super::{Call, Problem, term};
use crate::admin::api;

/// `PUT`, `GET` or `DELETE` of a list.
pub fn item(method: &str, name: String, query: &str, body: &[u8]) -> Result<Call, Problem> {
    match method {
        "GET" => {
            let format = value(query, "format").unwrap_or("text").to_owned();
            Ok(Call::ExportDeny { command: api::ExportDeny { name, format }, bare: true })
        }
        "PUT" => import(name, query, body).map(Call::ImportDeny),
        "DELETE" => {
            let dry_run = flag(query, "dry-run")?;
            Ok(Call::RemoveDeny(api::RemoveDeny { name, dry_run }))
        }
        _ => Err(Problem::method_not_allowed("GET, PUT, DELETE")),
    }
}

fn import(name: String, query: &str, body: &[u8]) -> Result<api::ImportDeny, Problem> {
    const KNOWN: [&str; 5] = ["format", "for", "observe", "force", "dry-run"];
    let keys =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
    if let Some(unknown) = keys.into_iter().find(|key| !KNOWN.contains(key)) {
        let known = KNOWN.join(", ");
        return Err(Problem::bad_request(format!("there is no parameter {unknown:?}; there are {known}")));
    }
    let for_s = match value(query, "for") {
        None => None,
        Some("ever") => Some(u64::MAX),
        Some(text) => {
            let wrong = || Problem::bad_request(format!("`for` is {text:?}; write it like 90s, 10m or 7d"));
            Some(term::parse(text).ok_or_else(wrong)?.as_secs())
        }
    };
    Ok(api::ImportDeny {
        name,
        list: String::from_utf8_lossy(body).into_owned(),
        format: value(query, "format").unwrap_or("auto").to_owned(),
        for_s,
        observe: flag(query, "observe")?,
        force: flag(query, "force")?,
        dry_run: flag(query, "dry-run")?,
    })
}

fn value<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// `observe`, `observe=true`, `observe=1`; a flag that is none is refused, for a list might drop that was to count.
fn flag(query: &str, key: &str) -> Result<bool, Problem> {
    let is_set = query.split('&').any(|pair| pair == key);
    match value(query, key) {
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        None => Ok(is_set),
        Some(other) => Err(Problem::bad_request(format!("`{key}` is {other:?}; write true or false"))),
    }
}
