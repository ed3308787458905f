//! What is open, and was perhaps not meant to be.

use std::collections::HashMap;

use crate::config::codes;
use crate::config::model::{Action, AuthKind, Config, Route};
use crate::diagnostic::{Located, Problem, Report};
use crate::policy::rate_limit;
use crate::policy::rate_limit::config::Key;

/// Warns of routes without authentication where some is defined, and of limits by an identity that nobody establishes.
pub fn check(config: &Config, report: &mut Report) {
    let defined = Defined {
        auths: config.auth.iter().map(|auth| (&*auth.name, &auth.kind)).collect(),
        limits: config.limit.iter().map(|limit| (&*limit.value.name, limit)).collect(),
        speaks_tls: config.listen.iter().any(|listen| !listen.tls.is_empty()),
    };
    for route in &config.route {
        let open = route.auth.is_empty() && !route.public && matches!(route.action, Action::Forward { .. });
        if open && !config.auth.is_empty() {
            let message = format!("route `{}` asks nobody who they are", route.name);
            let problem = Problem::warning(codes::OPEN_ROUTE, message, route.place.clone());
            report.push(problem.help("write `auth = \"none\"` if that is meant, else name an `[auth.NAME]`"));
        }
        check_limits(&defined, route, report);
    }
}

/// What routes refer to by name: thousands of routes may refer to thousands of tables.
struct Defined<'c> {
    auths: HashMap<&'c str, &'c AuthKind>,
    limits: HashMap<&'c str, &'c Located<rate_limit::config::Config>>,
    /// Whether some listener does.
    speaks_tls: bool,
}

/// A limit by user falls back to the address, which is its documented meaning; a warning is due only where the limit
/// names an identity in particular, or where a claim can never be there.
fn check_limits(defined: &Defined<'_>, route: &Route, report: &mut Report) {
    let kinds = || route.auth.iter().filter_map(|name| defined.auths.get(&*name.value));
    let has_tokens = kinds().any(|kind| matches!(kind, AuthKind::Jwt(_)));
    let has_keys = kinds().any(|kind| matches!(kind, AuthKind::ApiKey(_)));
    for name in &route.limits {
        let Some(limit) = defined.limits.get(&*name.value) else { continue };
        if limit.value.by.contains(&Key::Ja4) && !defined.speaks_tls {
            let message = format!(
                "limit `{}` counts by what TLS clients offer, and no listener speaks TLS",
                name.value
            );
            let problem = Problem::warning(codes::LIMIT_WITHOUT_IDENTITY, message, name.place.clone());
            let help = "the client's address is counted instead; give an `[listen.NAME]` its `tls`, or write `by = \"address\"`";
            report.push(problem.related(limit.place.clone(), "the limit is defined here").help(help));
        }
        for key in limit.value.by.iter().filter(|key| key.needs_identity()) {
            let (what, missing) = match key {
                Key::Claim(claim) => (format!("claim `{claim}`"), !has_tokens),
                Key::ApiKey => ("API key".to_owned(), !has_keys),
                Key::Consumer => ("consumer".to_owned(), !has_keys),
                _ => ("user".to_owned(), !has_tokens && !has_keys),
            };
            if missing {
                let message = format!(
                    "limit `{}` counts by {what}, which route `{}` never learns",
                    name.value, route.name
                );
                let problem = Problem::warning(codes::LIMIT_WITHOUT_IDENTITY, message, name.place.clone());
                let help = match key {
                    Key::Claim(_) => {
                        "the client's address is counted instead; name an `[auth.NAME]` with `jwt` in the route"
                    }
                    _ => {
                        "the client's address is counted instead; name an `[auth.NAME]`, or write `by = \"address\"`"
                    }
                };
                report.push(problem.related(limit.place.clone(), "the limit is defined here").help(help));
            }
        }
    }
}
