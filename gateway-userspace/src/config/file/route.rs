//! `[route.NAME]`: which requests go where.

mod respond;
mod upstream_headers;

use std::sync::Arc;

use crate::config::codes;
use crate::config::decode::{Decoder, Fields, Key, Presence, Reference, Spec, Takes, User};
use crate::config::file::{TableName, access, headers, upstream};
use crate::config::model::{Action, Route, UpstreamRef};
use crate::config::tree::Node;
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};
use crate::policy::request_limits;
use crate::route::pattern::Pattern;
use upstream_headers::UPSTREAM_HEADERS;

/// Most matches of one route.
const MATCHES_MAX: usize = 256;

const MATCH: Type<Vec<Located<Arc<Pattern>>>> =
    Type { describe: "a match, or an array of them", decode: matches };
const PREFIX: Type<Box<str>> = Type { describe: "a path", decode: prefix };

/// The keys of `[route.NAME]`.
pub static SPEC: Spec = Spec {
    title: "[route.NAME]",
    doc: "Which requests go where, and under which conditions. The most specific match wins; order never matters. \
          A route has one of `to`, `upstream` and `respond`.",
    keys: &[
        Key::new(
            "match",
            Takes::Value(MATCH.describe),
            Presence::Required,
            "`[METHODS ][host]/path`: `\"GET,POST api.example.com/v1/users/*\"`, `\"*.example.com/u/{id}\"`, \
             `\"/healthz\"`. `/*` at the end takes all that follows in whole segments, `{name}` one segment, \
             `{name:int}` and `{name:uuid}` one that is such, `{name+}` at the end all that remains.",
        ),
        Key::new("to", Takes::Value(upstream::TARGETS.describe), Presence::Optional, upstream::TO_DOC),
        Key::new(
            "upstream",
            Takes::Value(value::NAME.describe),
            Presence::Optional,
            "The `[upstream.NAME]` that requests go to.",
        ),
        Key::new(
            "respond",
            Takes::Table(&respond::SPEC),
            Presence::Optional,
            "An answer that is given at once.",
        ),
        Key::new(
            "replace-prefix",
            Takes::Value(PREFIX.describe),
            Presence::Optional,
            "What takes the place of the match's literal beginning: with `\"/\"`, `/v1/*` sends `/v1/users` as \
             `/users`.",
        ),
        Key::new(
            "auth",
            Takes::Value(value::NAMES.describe),
            Presence::Optional,
            "The `[auth.NAME]` that a request must satisfy; of several, any one. `\"none\"` says that the route is \
             meant to be open.",
        ),
        Key::new(
            "limit",
            Takes::Value(value::NAMES.describe),
            Presence::Optional,
            "The `[limit.NAME]` that apply, all of them.",
        ),
        Key::new(
            "access",
            Takes::Value(access::RULES.describe),
            Presence::Default("[]"),
            "Which client addresses are admitted: rules `allow` or `deny` with a network, an address or `all`. The \
             first that matches decides; if none does, the address is admitted.",
        ),
        Key::new(
            "max-body",
            Takes::Value(value::SIZE.describe),
            Presence::Default("\"10MiB\""),
            "Largest request body; then 413.",
        ),
        Key::new(
            "max-parts",
            Takes::Number(0, 1_000_000),
            Presence::Default("1000"),
            "Most parts of a `multipart/*` body; then 413. `0` is off.",
        ),
        Key::new(
            "min-upload-rate",
            Takes::Value(value::BYTE_RATE.describe),
            Presence::Default("\"500B/s\""),
            "Least rate of an upload; then 408. `\"0B/s\"` is off.",
        ),
        Key::new(
            "upload-grace",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"10s\""),
            "How long an upload has before the least rate applies; also its longest pause.",
        ),
        Key::new(
            "headers",
            Takes::Table(&headers::OF_ROUTE),
            Presence::Default("{}"),
            "Header fields on the route's answers, beside those of `[headers]`.",
        ),
        Key::new(
            "upstream-headers",
            Takes::Value(UPSTREAM_HEADERS.describe),
            Presence::Default("{}"),
            "Header fields that the upstream gets in place of the client's; `{id}` is what stands for that parameter in \
             the path, which each match must have: `upstream-headers = { X-User = \"{id}\" }`.",
        ),
        Key::new(
            "login",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("false"),
            "Whether clients log in here: what a shadow ban would have kept from doing so is reported as logins.",
        ),
        Key::new(
            "log",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("true"),
            "Whether the route's requests are in the access log.",
        ),
        upstream::PROTOCOL,
        upstream::PROXY_PROTOCOL,
        upstream::HOST_KEY,
        upstream::CONNECT_TIMEOUT,
        upstream::RESPONSE_TIMEOUT,
        upstream::IDLE_TIMEOUT,
        upstream::KEEP_ALIVE,
        upstream::IDLE_CONNECTIONS,
        upstream::CA,
    ],
};

/// Decodes `[route.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<Route> {
    let f = d.fields(&SPEC, format!("[route.{}]", name.value), node)?;
    let matches = f.get(d, "match", &MATCH);
    for pattern in matches.iter().flatten() {
        d.matches.push((name.value.clone(), pattern.clone()));
    }
    let action = action(d, &f, &name);
    let auth = f.get(d, "auth", &value::NAMES);
    let limits = f.get(d, "limit", &value::NAMES);
    let access = f.get(d, "access", &access::RULES);
    let requests = requests(d, &f);
    let headers = f.with(d, "headers", headers::decode_of_route);
    let upstream_headers = f.get(d, "upstream-headers", &UPSTREAM_HEADERS);
    if let (Some(fields), Some(matches)) = (&upstream_headers, &matches) {
        upstream_headers::check(d, &f, fields, matches);
    }
    let login = f.get(d, "login", &value::BOOLEAN);
    let log = f.get(d, "log", &value::BOOLEAN);
    let limits = limits.unwrap_or_default();
    let mut auth = auth.unwrap_or_default();
    let public = auth.iter().any(|name| &*name.value == "none");
    if public && auth.len() > 1 {
        let message = "`none` together with another authentication";
        let place = auth.iter().find(|name| &*name.value == "none").map(|name| name.place.clone());
        let problem = Problem::error(codes::EXCLUSIVE, message, place.unwrap_or_default());
        d.report.push(problem.help("with `none` nothing is asked of anybody; keep one of them"));
    }
    auth.retain(|name| &*name.value != "none");
    for (kind, names) in [("auth", &auth), ("limit", &limits)] {
        for used in names {
            d.references.push(Reference { user: User::Route(name.value.clone()), kind, name: used.clone() });
        }
    }
    Some(Route {
        name: name.value,
        place: name.place,
        matches: matches?,
        action: action?,
        auth,
        public,
        limits,
        access: access?,
        requests: requests?,
        headers: headers?,
        upstream_headers: upstream_headers?,
        login: login?,
        log: log?,
    })
}

fn action(d: &mut Decoder<'_>, f: &Fields<'_>, name: &TableName) -> Option<Action> {
    let to = f.node("to");
    let named = f.located(d, "upstream", &value::NAME);
    if let Some(used) = &named {
        let user = User::Route(name.value.clone());
        d.references.push(Reference { user, kind: "upstream", name: used.clone() });
    }
    let targets = f.get(d, "to", &upstream::TARGETS);
    let respond = f.with(d, "respond", respond::decode);
    let replace_prefix = f.get(d, "replace-prefix", &PREFIX);
    let written_settings: Vec<_> = upstream::SETTINGS.iter().filter(|key| f.node(key).is_some()).collect();
    // Most routes name their upstream: then there are no targets to be spoken to, and usually no settings to read.
    let has_settings = to.is_some() || !written_settings.is_empty();
    let settings = has_settings.then(|| upstream::settings(d, f, name.value.clone(), targets)).flatten();

    let choices = ["to", "upstream", "respond"];
    let mut written = choices.iter().filter(|key| f.node(key).is_some());
    let Some(first) = written.next() else {
        if !d.incomplete {
            let message = format!("{} does not say what to do", f.title);
            let problem = Problem::error(codes::MISSING_KEY, message, f.place.clone());
            let help = "write `to = \"http://10.0.0.11:3001\"`, `upstream = \"NAME\"` or `respond = { status = 204 }`";
            d.report.push(problem.label("`to`, `upstream` or `respond` is missing here").help(help));
        }
        return None;
    };
    for other in written {
        let message = format!("{} has both `{first}` and `{other}`", f.title);
        let problem = Problem::error(codes::EXCLUSIVE, message, f.key_place(other));
        d.report.push(problem.related(f.key_place(first), format!("`{first}` stands here")));
    }
    if to.is_none() {
        let prefix = (*first == "respond" && f.node("replace-prefix").is_some()).then_some(&"replace-prefix");
        for key in written_settings.into_iter().chain(prefix) {
            let message = format!("`{key}` has no effect beside `{first}`");
            let problem = Problem::error(codes::EXCLUSIVE, message, f.key_place(key));
            d.report.push(match *first {
                "upstream" => problem.help("write it in the `[upstream.NAME]`"),
                _ => problem.help("leave it out"),
            });
        }
    }
    match *first {
        "respond" => respond,
        "upstream" => Some(Action::Forward { upstream: UpstreamRef::Named(named?), replace_prefix }),
        _ => Some(Action::Forward { upstream: UpstreamRef::Inline(settings?), replace_prefix }),
    }
}

fn requests(d: &mut Decoder<'_>, f: &Fields<'_>) -> Option<request_limits::config::Config> {
    let body_bytes_max = f.get(d, "max-body", &value::SIZE);
    let parts_max: Option<u32> = f.number(d, "max-parts");
    let body_rate_min = f.get(d, "min-upload-rate", &value::BYTE_RATE);
    let body_grace = f.get(d, "upload-grace", &value::DURATION);
    Some(request_limits::config::Config {
        body_bytes_max: body_bytes_max?,
        parts_max: Some(parts_max?).filter(|parts_max| *parts_max > 0),
        body_rate_min: body_rate_min?,
        body_grace: body_grace?,
    })
}

fn matches(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Located<Arc<Pattern>>>> {
    let patterns = value::one_or_many(d, node, |d, node| {
        let text = d.text(node, "a match such as `api.example.com/users/*`")?;
        match Pattern::parse(text) {
            Ok(pattern) => Some(Located::new(Arc::new(pattern), node.place.clone())),
            Err(error) => {
                let place = d.within(node, error.span);
                d.report.push(Problem::error(codes::BAD_MATCH, error.message, place).help(error.help));
                None
            }
        }
    })?;
    let problem = match patterns.len() {
        0 => Problem::error(codes::EMPTY, "there is no match", node.place.clone()),
        1..=MATCHES_MAX => return Some(patterns),
        _ => Problem::error(codes::TOO_MANY, format!("more than {MATCHES_MAX} matches"), node.place.clone()),
    };
    d.report.push(problem);
    None
}

fn prefix(d: &mut Decoder<'_>, node: &Node) -> Option<Box<str>> {
    let text = d.text(node, "a path")?;
    // RFC 3986 §3.3: what may stand in a path unescaped.
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(valid) {
        let message = format!("`{text}` is not a path");
        let problem = Problem::error(codes::BAD_MATCH, message, node.place.clone());
        d.report.push(problem.help("a path begins with `/`; `\"/\"` takes the literal beginning away"));
        return None;
    }
    Some(text.into())
}
