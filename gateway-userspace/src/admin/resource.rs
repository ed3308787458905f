//! From a method, a path and a body to a command.
//!
//! Every command is `POST /v1/NAME` with its JSON, which is what our own client sends. Beside that there are resources
//! for people with `curl`: `GET /v1/status`, `GET /v1/bans`, `GET /v1/bans/7`, `GET /v1/history/7`,
//! `DELETE /v1/bans/203.0.113.9`, and `POST /v1/bans` with `{"address": "203.0.113.9", "for": "10m"}`.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::api::{self, Command, Signature};
use super::problem::Problem;
use crate::abuse::target::Subject;
use crate::abuse::term;

mod deny;
mod tables;

pub use tables::TOML;

/// Longest `why` of a change and `reason` of a ban, in bytes.
const COMMENT_BYTES_MAX: usize = 1024;

/// The resources: method, path, and the command that each stands for. What is in braces is a name, a number, an
/// address …
pub const RESOURCES: &[(&str, &str, &str)] = &[
    ("GET", "/v1/status", "status"),
    ("GET", "/v1/top", "top"),
    ("GET", "/v1/routes", "routes"),
    ("GET", "/v1/routes/{name}", "routes"),
    ("GET", "/v1/bans", "bans"),
    ("GET", "/v1/bans/{id}", "bans"),
    ("POST", "/v1/bans", "ban"),
    ("GET", "/v1/shadows", "shadows"),
    ("GET", "/v1/verify", "verify"),
    ("DELETE", "/v1/bans/{id}", "unban"),
    ("DELETE", "/v1/bans/{address}", "unban"),
    ("GET", "/v1/suppressions", "suppressions"),
    ("DELETE", "/v1/suppressions/{id}", "unsuppress"),
    ("GET", "/v1/allow", "allowed"),
    ("PUT", "/v1/allow/{address}", "allow"),
    ("DELETE", "/v1/allow/{address}", "allow"),
    ("GET", "/v1/deny", "deny"),
    ("GET", "/v1/deny/{name}", "deny-export"),
    ("PUT", "/v1/deny/{name}", "deny-import"),
    ("DELETE", "/v1/deny/{name}", "deny-remove"),
    ("GET", "/v1/keys", "keys"),
    ("GET", "/v1/history", "history"),
    ("GET", "/v1/history/{id}", "history-show"),
    ("GET", "/v1/config", "config"),
    ("GET", "/v1/config/{kind}", "config"),
    ("GET", "/v1/config/{kind}/{name}", "config"),
    ("PUT", "/v1/config/{kind}/{name}", "config-set"),
    ("DELETE", "/v1/config/{kind}/{name}", "config-delete"),
];

/// A command with what it takes.
#[derive(Debug, Clone)]
pub enum Call {
    Status(api::GetStatus),
    Bans(api::ListBans),
    Shadows(api::ListShadows),
    Verify(api::VerifyBans),
    Ban(api::BanPrefix),
    Promote(api::Promote),
    PromoteRule(api::PromoteRule),
    Unban(api::Unban),
    Suppressions(api::ListSuppressions),
    Unsuppress(api::Unsuppress),
    Offender(api::GetOffender),
    Allow(api::AllowPrefix),
    Allowed(api::ListAllowed),
    Deny(api::ListDeny),
    /// As a resource, with `bare`: the list itself, in its format.
    ExportDeny {
        command: api::ExportDeny,
        bare: bool,
    },
    ImportDeny(api::ImportDeny),
    RemoveDeny(api::RemoveDeny),
    Reload(api::Reload),
    Apply(api::Apply),
    RollBack(api::RollBack),
    History(api::GetHistory),
    ShowHistory(api::ShowHistory),
    Explain(api::Explain),
    Keys(api::ListKeys),
    Top(api::GetTop),
    Routes(api::ListRoutes),
    Tables(api::GetTables),
    /// As a resource: one alone, and as TOML if the caller asks for it.
    Table(api::GetTables, bool),
    SetTable(api::SetTable),
    DeleteTable(api::DeleteTable),
}

impl Call {
    /// The command's name, the role that it needs, and whether it changes anything.
    pub fn signature(&self) -> Signature {
        fn of<C: Command>(_: &C) -> Signature {
            C::SIGNATURE
        }
        match self {
            Call::Status(command) => of(command),
            Call::Bans(command) => of(command),
            Call::Shadows(command) => of(command),
            Call::Verify(command) => of(command),
            Call::Ban(command) => of(command),
            Call::Promote(command) => of(command),
            Call::PromoteRule(command) => of(command),
            Call::Unban(command) => of(command),
            Call::Suppressions(command) => of(command),
            Call::Unsuppress(command) => of(command),
            Call::Offender(command) => of(command),
            Call::Allow(command) => of(command),
            Call::Allowed(command) => of(command),
            Call::Deny(command) => of(command),
            Call::ExportDeny { command, .. } => of(command),
            Call::ImportDeny(command) => of(command),
            Call::RemoveDeny(command) => of(command),
            Call::Reload(command) => of(command),
            Call::Apply(command) => of(command),
            Call::RollBack(command) => of(command),
            Call::History(command) => of(command),
            Call::ShowHistory(command) => of(command),
            Call::Explain(command) => of(command),
            Call::Keys(command) => of(command),
            Call::Top(command) => of(command),
            Call::Routes(command) => of(command),
            Call::Tables(command) | Call::Table(command, _) => of(command),
            Call::SetTable(command) => of(command),
            Call::DeleteTable(command) => of(command),
        }
    }

    /// Refuses a comment that is longer than a comment: it is kept with a ban or in the history, and logged.
    fn check_comment(&self) -> Result<(), Problem> {
        let (name, comment) = match self {
            Call::Ban(command) => ("reason", &command.reason),
            Call::Apply(command) => ("why", &command.why),
            Call::RollBack(command) => ("why", &command.why),
            _ => return Ok(()),
        };
        match comment.len() > COMMENT_BYTES_MAX {
            true => Err(Problem::bad_request(format!("`{name}` has at most {COMMENT_BYTES_MAX} bytes"))),
            false => Ok(()),
        }
    }

    /// What it takes, as JSON for the audit log. Where a command takes texts that may hold secrets, only their sizes.
    pub fn request(&self) -> String {
        let json = match self {
            Call::Ban(command) => serde_json::to_string(command),
            Call::Promote(command) => serde_json::to_string(command),
            Call::PromoteRule(command) => serde_json::to_string(command),
            Call::Unban(command) => serde_json::to_string(command),
            Call::Unsuppress(command) => serde_json::to_string(command),
            Call::Allow(command) => serde_json::to_string(command),
            Call::ImportDeny(command) => return without_list(command),
            Call::RemoveDeny(command) => serde_json::to_string(command),
            Call::Reload(command) => serde_json::to_string(command),
            Call::SetTable(api::SetTable { kind, name, dry_run, .. })
            | Call::DeleteTable(api::DeleteTable { kind, name, dry_run, .. }) => {
                return serde_json::json!({ "kind": kind, "name": name, "dry_run": dry_run }).to_string();
            }
            Call::RollBack(command) => serde_json::to_string(command),
            Call::Apply(command) => serde_json::to_string(&without_texts(command)),
            _ => return String::from("{}"),
        };
        json.unwrap_or_else(|error| error.to_string())
    }
}

/// An `apply` with the number of bytes in place of each text.
fn without_texts(command: &api::Apply) -> serde_json::Value {
    let api::Apply { text, drop_ins, prune, expected: _, why, dry_run } = command;
    let drop_ins: serde_json::Map<_, _> = drop_ins
        .iter()
        .map(|drop_in| (drop_in.name.clone(), drop_in.text.as_ref().map(String::len).into()))
        .collect();
    serde_json::json!({
        "bytes": text.as_ref().map(String::len), "drop_ins": drop_ins, "prune": prune, "why": why, "dry_run": dry_run,
    })
}

/// An import with the number of bytes in place of the list.
fn without_list(command: &api::ImportDeny) -> String {
    let api::ImportDeny { name, list, format, for_s, observe, force, dry_run } = command;
    let bytes = list.len();
    serde_json::json!({
        "name": name, "bytes": bytes, "format": format, "for_s": for_s, "observe": observe, "force": force,
        "dry_run": dry_run,
    })
    .to_string()
}

/// Finds the command. `target` is path and query, the path beginning with `/v1/`.
pub fn parse(method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Result<Call, Problem> {
    let call = find(method, target, headers, body)?;
    call.check_comment()?;
    Ok(call)
}

fn find(method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Result<Call, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let unknown = || Problem::not_found(format!("there is no {path}; commands are POST /v1/NAME"));
    let rest = path.strip_prefix("/v1/").ok_or_else(unknown)?;
    match rest.strip_prefix("config").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        Some(rest) => return tables::parse(method, rest, query, headers, body),
        None if rest == "routes" => return tables::routes(method, None, body),
        None => {}
    }
    let (name, item) = rest.split_once('/').map_or((rest, None), |(name, item)| (name, Some(decode(item))));
    match (name, item) {
        ("bans", Some(item)) => ban_item(method, &item),
        ("deny", Some(item)) => deny::item(method, item, query, body),
        ("suppressions", Some(item)) => suppression_item(method, &item),
        ("allow", Some(item)) => allow_item(method, &item),
        ("routes", Some(item)) => tables::routes(method, Some(&item), body),
        ("history", Some(item)) => history_item(method, &item),
        (_, Some(_)) => Err(unknown()),
        ("bans", None) => bans(method, query, body),
        ("allow", None) if method == "GET" => Ok(Call::Allowed(api::ListAllowed {})),
        (name, None) => command(method, name, body).ok_or_else(unknown)?,
    }
}

/// `POST /v1/NAME`, and `GET` for what needs to be told nothing.
fn command(method: &str, name: &str, body: &[u8]) -> Option<Result<Call, Problem>> {
    let get: Option<Call> = match name {
        api::GetStatus::NAME => Some(Call::Status(api::GetStatus {})),
        api::ListSuppressions::NAME => Some(Call::Suppressions(api::ListSuppressions {})),
        api::ListAllowed::NAME => Some(Call::Allowed(api::ListAllowed {})),
        api::ListShadows::NAME => Some(Call::Shadows(api::ListShadows {})),
        api::ListDeny::NAME => Some(Call::Deny(api::ListDeny {})),
        api::VerifyBans::NAME => Some(Call::Verify(api::VerifyBans {})),
        api::ListKeys::NAME => Some(Call::Keys(api::ListKeys {})),
        api::GetTop::NAME => Some(Call::Top(api::GetTop {})),
        api::GetHistory::NAME => Some(Call::History(api::GetHistory {})),
        _ => None,
    };
    let post: fn(&[u8]) -> Result<Call, Problem> = match name {
        api::GetStatus::NAME => |body| decode_json(body).map(Call::Status),
        api::BanPrefix::NAME => |body| decode_json(body).map(Call::Ban),
        api::ListShadows::NAME => |body| decode_json(body).map(Call::Shadows),
        api::VerifyBans::NAME => |body| decode_json(body).map(Call::Verify),
        api::Promote::NAME => |body| decode_json(body).map(Call::Promote),
        api::PromoteRule::NAME => |body| decode_json(body).map(Call::PromoteRule),
        api::Unban::NAME => |body| decode_json(body).map(Call::Unban),
        api::ListSuppressions::NAME => |body| decode_json(body).map(Call::Suppressions),
        api::Unsuppress::NAME => |body| decode_json(body).map(Call::Unsuppress),
        api::GetOffender::NAME => |body| decode_json(body).map(Call::Offender),
        api::AllowPrefix::NAME => |body| decode_json(body).map(Call::Allow),
        api::ListAllowed::NAME => |body| decode_json(body).map(Call::Allowed),
        api::ListDeny::NAME => |body| decode_json(body).map(Call::Deny),
        api::ExportDeny::NAME => {
            |body| decode_json(body).map(|command| Call::ExportDeny { command, bare: false })
        }
        api::ImportDeny::NAME => |body| decode_json(body).map(Call::ImportDeny),
        api::RemoveDeny::NAME => |body| decode_json(body).map(Call::RemoveDeny),
        api::Reload::NAME => |body| decode_json(body).map(Call::Reload),
        api::Apply::NAME => |body| decode_json(body).map(Call::Apply),
        api::RollBack::NAME => |body| decode_json(body).map(Call::RollBack),
        api::GetHistory::NAME => |body| decode_json(body).map(Call::History),
        api::ShowHistory::NAME => |body| decode_json(body).map(Call::ShowHistory),
        api::Explain::NAME => |body| decode_json(body).map(Call::Explain),
        api::ListKeys::NAME => |body| decode_json(body).map(Call::Keys),
        api::GetTop::NAME => |body| decode_json(body).map(Call::Top),
        api::SetTable::NAME => |body| decode_json(body).map(Call::SetTable),
        api::DeleteTable::NAME => |body| decode_json(body).map(Call::DeleteTable),
        _ => return None,
    };
    Some(match (method, get) {
        ("POST", _) => post(body),
        ("GET", Some(call)) => Ok(call),
        (_, Some(_)) => Err(Problem::method_not_allowed("GET, POST")),
        (_, None) => Err(Problem::method_not_allowed("POST")),
    })
}

/// `/v1/bans`: the list, or a new one.
fn bans(method: &str, query: &str, body: &[u8]) -> Result<Call, Problem> {
    match method {
        "GET" => {
            let ended = query.split('&').any(|pair| matches!(pair, "ended" | "ended=true" | "ended=1"));
            let ticket = query.split('&').find_map(|pair| pair.strip_prefix("ticket=")).map(str::to_owned);
            Ok(Call::Bans(api::ListBans { id: None, ticket, ended }))
        }
        "POST" => {
            let value: serde_json::Value = decode_json(body)?;
            let new = ["address", "prefix", "client"].iter().any(|key| value.get(key).is_some());
            if new { new_ban(body).map(Call::Ban) } else { decode_json(body).map(Call::Bans) }
        }
        _ => Err(Problem::method_not_allowed("GET, POST")),
    }
}

/// What a person writes to ban somebody.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBan {
    #[serde(alias = "prefix", default)]
    address: Option<String>,
    #[serde(default)]
    client: Option<Subject>,
    #[serde(rename = "for")]
    term: Option<Term>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    observe: bool,
    #[serde(default)]
    dry_run: bool,
}

/// `"10m"`, or seconds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Term {
    Text(String),
    Seconds(u64),
}

fn new_ban(body: &[u8]) -> Result<api::BanPrefix, Problem> {
    let NewBan { address, client, term, reason, force, observe, dry_run } = decode_json(body)?;
    let for_s = match term {
        None => None,
        Some(Term::Seconds(seconds)) => Some(seconds),
        Some(Term::Text(text)) => {
            let wrong = || {
                Problem::bad_request(format!("`for` is {text:?}; write it like \"90s\", \"10m\" or \"7d\""))
            };
            Some(term::parse(&text).ok_or_else(wrong)?.as_secs())
        }
    };
    let prefix = address.as_deref().map(prefix).transpose()?;
    Ok(api::BanPrefix { prefix, client, for_s, reason, force, observe, dry_run })
}

/// `/v1/bans/7` or `/v1/bans/203.0.113.9`
fn ban_item(method: &str, item: &str) -> Result<Call, Problem> {
    let id = item.parse::<u32>().ok();
    match (method, id) {
        ("GET", Some(id)) => Ok(Call::Bans(api::ListBans { id: Some(id), ticket: None, ended: true })),
        ("GET", None) => Err(Problem::bad_request("a ban is looked up by its number: GET /v1/bans/7")),
        ("DELETE", Some(_)) => Ok(Call::Unban(unban(None, id))),
        ("DELETE", None) => {
            let prefix = Some(prefix(item)?);
            Ok(Call::Unban(unban(prefix, None)))
        }
        _ => Err(Problem::method_not_allowed("GET, DELETE")),
    }
}

fn unban(prefix: Option<IpNet>, id: Option<u32>) -> api::Unban {
    api::Unban { prefix, id, all: false, reason: None, suppress_s: None, dry_run: false }
}

/// `/v1/suppressions/7`
fn suppression_item(method: &str, item: &str) -> Result<Call, Problem> {
    if method != "DELETE" {
        return Err(Problem::method_not_allowed("DELETE"));
    }
    let wrong = |_| Problem::bad_request("a suppression is removed by its number: DELETE /v1/suppressions/7");
    item.parse().map(|number| Call::Unsuppress(api::Unsuppress { number, dry_run: false })).map_err(wrong)
}

/// `/v1/allow/203.0.113.9`
fn allow_item(method: &str, item: &str) -> Result<Call, Problem> {
    let remove = match method {
        "PUT" => false,
        "DELETE" => true,
        _ => return Err(Problem::method_not_allowed("PUT, DELETE")),
    };
    Ok(Call::Allow(api::AllowPrefix { prefix: prefix(item)?, remove, dry_run: false }))
}

/// `/v1/history/7`
fn history_item(method: &str, item: &str) -> Result<Call, Problem> {
    if method != "GET" {
        return Err(Problem::method_not_allowed("GET"));
    }
    let wrong = |_| Problem::bad_request("a configuration is looked up by its number: GET /v1/history/7");
    item.parse().map(|number| Call::ShowHistory(api::ShowHistory { number })).map_err(wrong)
}

/// An address, or a prefix.
fn prefix(text: &str) -> Result<IpNet, Problem> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let wrong = |_| Problem::bad_request(format!("{text:?} is neither an address nor a prefix"));
    address.or_else(|_| text.parse::<IpNet>().map_err(wrong))
}

/// Only what stands in a prefix may be encoded.
fn decode(item: &str) -> String {
    item.replace("%2F", "/").replace("%2f", "/").replace("%3A", ":").replace("%3a", ":")
}

/// A body that is empty stands for `{}`.
fn decode_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
