//! Which part of the gateway may import which.
//!
//! The direction keeps features apart, so that one can be read, tested and replaced without the others. Only the code
//! of `gateway-userspace` and `gateway-common` is held to it; tests may reach anywhere.

use super::{
    Finding,
    source::{Import, Source, words},
};

/// What a part may import from the rest of its crate.
enum May {
    /// Nothing but what stands here, and itself.
    Only(&'static [&'static str]),
    /// Anything but this.
    AllBut(&'static [&'static str]),
}

/// One border: `part` is a module with all that lies under it.
struct Border {
    part: &'static str,
    may: May,
    instead: &'static str,
}

const FEATURES: &[&str] = &["policy", "route", "cache", "upstream", "abuse", "dataplane"];
/// The parts that put everything together; nothing but the binary's own modules may know them.
const COMPOSERS: &[&str] = &["gateway", "cli"];
const POLICIES: &[&str] = &[
    "policy::ip_access",
    "policy::cors",
    "policy::request_limits",
    "policy::jwt",
    "policy::api_key",
    "policy::introspection",
    "policy::authorization",
    "policy::rate_limit",
    "policy::quota",
    "policy::request_transform",
    "policy::response_transform",
    "policy::validation",
    "policy::compression",
];

const BETWEEN_FEATURES: &str =
    "features do not import each other; let `pipeline` or `gateway` bring them together";

/// The borders within `gateway-userspace`.
const BORDERS: &[Border] = &[
    Border {
        part: "diagnostic",
        may: May::Only(&[]),
        instead: "`diagnostic` is a leaf; pass the value in from the caller",
    },
    Border {
        part: "observe::names",
        may: May::Only(&[]),
        instead: "`observe::names` is a leaf; put only names there",
    },
    Border {
        part: "dial",
        may: May::Only(&[]),
        instead: "`dial` is a leaf that keys and logs share; pass the value in from the caller",
    },
    Border {
        part: "feeds",
        may: May::Only(&["dial"]),
        instead: "`feeds` reads and writes lists and knows nothing of bans; let `gateway` or `cli` bring them together",
    },
    Border {
        part: "http1",
        may: May::Only(&[]),
        instead: "`http1` knows bytes only, for both sides of the gateway; what waits or decides belongs to those",
    },
    Border {
        part: "admin::api",
        may: May::AllBut(&["admin", "dataplane", "pipeline", "worker", "listener", "action", "upstream"]),
        instead: "`admin::api` holds types only; what acts belongs in `admin::handlers`",
    },
    Border { part: "policy", may: May::AllBut(FEATURES), instead: BETWEEN_FEATURES },
    Border { part: "route", may: May::AllBut(FEATURES), instead: BETWEEN_FEATURES },
    Border { part: "cache", may: May::AllBut(FEATURES), instead: BETWEEN_FEATURES },
    Border { part: "upstream", may: May::AllBut(FEATURES), instead: BETWEEN_FEATURES },
    Border { part: "abuse", may: May::AllBut(FEATURES), instead: BETWEEN_FEATURES },
    Border { part: "dataplane", may: May::AllBut(FEATURES), instead: BETWEEN_FEATURES },
    Border {
        part: "pipeline",
        may: May::AllBut(&["dataplane", "upstream", "admin", "abuse::score", "abuse::ban", "abuse::exempt"]),
        instead: "`pipeline` imports route, policy, cache, action, abuse::reporter, observe",
    },
];

/// A crate that only some parts may name.
struct Reserved {
    crates: &'static [&'static str],
    only: &'static [&'static str],
    instead: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        crates: &["aya", "aya_obj", "aya_log"],
        only: &["dataplane"],
        instead: "the functions of `dataplane`, the only part that knows aya",
    },
    Reserved {
        crates: &["prometheus"],
        only: &["observe::metrics"],
        instead: "a cell from `observe::metrics`, the only part that knows the registry",
    },
];

/// Crates that a part may not name, whoever else does.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("policy", "hyper", "the views `request::Head` and `response::Head`"),
    ("route", "hyper", "the view `request::Head`"),
    ("cache", "hyper", "the views `request::Head` and `response::Head`"),
    ("admin::api", "hyper", "types only; what speaks HTTP belongs in `admin::server`"),
    ("admin::api", "tokio", "types only; what waits belongs in `admin::handlers`"),
];

/// All findings of one file.
pub fn check(source: &Source) -> Vec<Finding> {
    if source.path.starts_with("gateway-common/src/") {
        return check_common(source);
    }
    if !source.path.starts_with("gateway-userspace/src/") {
        return Vec::new();
    }
    let module = source.module().join("::");
    let mut findings: Vec<_> = source
        .imports()
        .iter()
        .filter_map(|import| Some((import, broken_border(&module, &import.path.join("::"))?)))
        .map(|(import, instead)| finding(source, import, &instead))
        .collect();
    for (name, line, instead) in foreign_crates(source, &module) {
        findings.push(Finding {
            path: source.path.into(),
            line,
            message: format!("`{name}` is banned in `{module}`, use {instead}"),
        });
    }
    findings
}

/// The advice of the border that an import from `module` crosses.
fn broken_border(module: &str, target: &str) -> Option<String> {
    if composes(target) && !composes(module) && !module.is_empty() {
        return Some(
            "`gateway` composes and is known to `cli` and the binary only; pass the value in".into(),
        );
    }
    if let (Some(own), Some(other)) = (policy_of(module), policy_of(target))
        && own != other
    {
        return Some(format!("policies do not import each other; move what both need out of `{other}`"));
    }
    let broken = |border: &&Border| {
        within(module, border.part)
            && !within(target, border.part)
            && match border.may {
                May::Only(parts) => !parts.iter().any(|part| within(target, part)),
                May::AllBut(parts) => parts.iter().any(|part| within(target, part)),
            }
    };
    BORDERS.iter().find(broken).map(|border| border.instead.to_owned())
}

fn composes(module: &str) -> bool {
    COMPOSERS.iter().any(|part| within(module, part))
}

fn policy_of(module: &str) -> Option<&'static str> {
    POLICIES.iter().find(|policy| within(module, policy)).copied()
}

fn within(module: &str, part: &str) -> bool {
    module.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn finding(source: &Source, import: &Import, instead: &str) -> Finding {
    let message = format!(
        "`crate::{}` is banned in `{}`: {instead}",
        import.path.join("::"),
        source.module().join("::")
    );
    Finding { path: source.path.into(), line: import.line, message }
}

/// Crates named where they may not be, each with its line and what to use.
fn foreign_crates(source: &Source, module: &str) -> Vec<(&'static str, usize, &'static str)> {
    let reserved = RESERVED.iter().filter(|rule| !rule.only.iter().any(|part| within(module, part)));
    let reserved = reserved.flat_map(|rule| rule.crates.iter().map(|name| (*name, rule.instead)));
    let foreign =
        FOREIGN.iter().filter(|(part, ..)| within(module, part)).map(|(_, name, instead)| (*name, *instead));
    let mut found = Vec::new();
    for (name, instead) in reserved.chain(foreign) {
        for (line, code) in source.lines() {
            if names_crate(code, name) {
                found.push((name, line, instead));
            }
        }
    }
    found
}

/// `name::…` or `use name`, but not `other::name`.
fn names_crate(code: &str, name: &str) -> bool {
    words(code, name).into_iter().any(|start| {
        let (before, after) = (code[..start].trim_end(), code[start + name.len()..].trim_start());
        let is_path = after.starts_with("::") && !before.ends_with("::");
        is_path || (before.ends_with("use") && after.starts_with([';', ' ']))
    })
}

/// The shared crate imports nothing but `core`, or the kernel program could not be built with it.
fn check_common(source: &Source) -> Vec<Finding> {
    let outside =
        |code: &str| ["std", "alloc", "aya", "aya_ebpf"].into_iter().find(|name| names_crate(code, name));
    let lines = source.lines().filter_map(|(line, code)| Some((line, outside(code)?)));
    let message = |name| {
        format!("`{name}` is banned in gateway-common, use `core`: the kernel program compiles this too")
    };
    lines.map(|(line, name)| Finding { path: source.path.into(), line, message: message(name) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path of a module, a line of code, and whether the line is good there.
    const TABLE: &[(&str, &str, bool)] = &[
        ("diagnostic/render", "use crate::diagnostic::report::Report;", true),
        ("diagnostic/render", "use crate::config::file::File;", false),
        ("observe/names", "pub const X: &str = \"x\";", true),
        ("observe/names", "use crate::observe::metrics::Cell;", false),
        ("http1/answer", "use crate::http1::fields;", true),
        ("http1/answer", "use crate::http::rejection::Rejection;", false),
        ("dial", "use rustls::ClientConfig;", true),
        ("dial", "use crate::dial::Url;", true),
        ("dial", "use crate::keyring::transfer;", false),
        ("feeds/parse/text", "use crate::feeds::Format;", true),
        ("feeds/fetch", "use crate::dial::Url;", true),
        ("feeds/parse", "use crate::abuse::ban::Ban;", false),
        ("feeds/write", "use crate::dataplane::denylist::Denylist;", false),
        ("admin/api", "use crate::diagnostic::report::Report;", true),
        ("admin/api", "use crate::abuse::receipt::Evidence;", true),
        ("admin/api", "use crate::dataplane::denylist::Denylist;", false),
        ("admin/api", "use tokio::net::UnixStream;", false),
        ("policy/jwt", "use crate::keyring::Keyring;", true),
        ("policy/jwt", "use crate::upstream::pool::Pool;", false),
        ("policy/jwt/verify", "use super::config::Jwt;", true),
        ("policy/jwt/verify", "use super::super::cors::Origin;", false),
        ("policy/jwt", "use crate::policy::api_key::Key;", false),
        ("policy/jwt", "use crate::policy::Outcome;", true),
        ("policy", "use crate::policy::jwt::Jwt;", true),
        ("policy/cors", "fn f(request: &hyper::Request<()>) {}", false),
        ("policy/cors", "fn f(request: &crate::request::Head) {}", true),
        ("route/table", "use crate::route::host::Host;", true),
        ("route/table", "use crate::policy::RoutePolicies;", false),
        ("cache/store", "use crate::worker::Worker;", true),
        ("cache/store", "use crate::{worker::Worker, upstream::Endpoint};", false),
        ("upstream/pool", "use crate::upstream::endpoint::Endpoint;", true),
        ("upstream/pool", "fn f() { crate::abuse::reporter::report() }", false),
        ("abuse/score", "use crate::abuse::signal::Signal;", true),
        ("abuse/ban", "use crate::dataplane::denylist::Denylist;", false),
        ("dataplane/load", "use aya::Ebpf;", true),
        ("dataplane/load", "use crate::abuse::ban::Ban;", false),
        ("pipeline/finish", "use crate::abuse::reporter::Reporter;", true),
        ("pipeline/finish", "use crate::abuse::score::Score;", false),
        ("pipeline/serve", "use crate::{route::Table, policy::RoutePolicies, cache, observe};", true),
        ("pipeline/serve", "use crate::dataplane::Dataplane;", false),
        ("gateway", "use crate::{dataplane::Dataplane, abuse::ban::Bans};", true),
        ("cli/run", "use crate::gateway::Gateway;", true),
        ("worker", "use crate::gateway::Gateway;", false),
        ("worker", "use aya::maps::Array;", false),
        ("worker", "use prometheus::Registry;", false),
        ("observe/metrics", "use prometheus::Registry;", true),
        ("worker", "let aya = 1; let x = crate::dataplane::aya::X;", true),
    ];

    #[test]
    fn each_border_lets_the_good_example_pass_and_stops_the_bad_one() {
        for (module, code, good) in TABLE {
            let path = format!("gateway-userspace/src/{module}.rs");
            let findings = check(&Source::new(&path, code));
            assert_eq!(findings.is_empty(), *good, "{module}: {code}: {findings:?}");
        }
    }

    #[test]
    fn every_border_has_an_example_of_each_kind() {
        for border in BORDERS {
            for wanted in [true, false] {
                let shown = TABLE.iter().any(|(module, _, good)| {
                    *good == wanted && within(&module.replace('/', "::"), border.part)
                });
                assert!(shown, "no {wanted} example for {}", border.part);
            }
        }
    }

    #[test]
    fn a_finding_names_the_place_the_rule_and_the_way_out() {
        let source =
            Source::new("gateway-userspace/src/abuse/ban.rs", "//! x\n\nuse crate::dataplane::denylist;\n");
        assert_eq!(
            check(&source)[0].to_string(),
            "gateway-userspace/src/abuse/ban.rs:3: error: `crate::dataplane::denylist` is banned in `abuse::ban`: \
             features do not import each other; let `pipeline` or `gateway` bring them together"
        );
    }

    #[test]
    fn the_shared_crate_stays_without_std() {
        let common = |code| check(&Source::new("gateway-common/src/source.rs", code)).len();
        assert_eq!(common("use core::net::IpAddr;"), 0);
        assert_eq!(common("use std::net::IpAddr;"), 1);
        assert_eq!(common("#[cfg(test)]\nmod tests {\n    use std::vec;\n}"), 0);
    }
}
