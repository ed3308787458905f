//! What may not be written on any line, and what to write instead.

use super::{Finding, source::Source};

/// Where a rule looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Every text file, comments and literals too.
    Text,
    /// All Rust code, tests included.
    Code,
    /// Rust code of the gateway that runs for real: no tests, no tasks.
    Product,
    /// Code of the gateway outside the part that turns rejections into answers.
    BeforeRejection,
}

struct Rule {
    banned: &'static [&'static str],
    scope: Where,
    instead: &'static str,
}

/// The table. A needle is compared as it stands.
const RULES: &[Rule] = &[
    Rule {
        banned: &["/home/", "/Users/", "/root/", concat!("/", "work/"), concat!("/", "farm/")],
        scope: Where::Text,
        instead: "a path from the repository's root: that folder exists on one machine only",
    },
    Rule {
        banned: &["todo!(", "unimplemented!("],
        scope: Where::Code,
        instead: "finished code, or leave the feature out",
    },
    Rule {
        banned: &["TODO", "FIXME", "XXX"],
        scope: Where::Text,
        instead: "finished code; what is open belongs where the work is planned",
    },
    Rule {
        banned: &["#[ignore"],
        scope: Where::Code,
        instead: "a line that begins with SKIPPED when the machine lacks something: an ignored test is forgotten",
    },
    Rule { banned: &["#[allow("], scope: Where::Code, instead: "`#[expect(lint, reason = \"…\")]`" },
    Rule {
        banned: &[".unwrap()"],
        scope: Where::Product,
        instead: "`?`, or `expect(\"the invariant that holds\")` where it truly cannot fail",
    },
    Rule {
        banned: &["tower::", "hyper_util::client::legacy", "async_trait", "BoxFuture"],
        scope: Where::Product,
        instead: "plain async functions and the project's own pool: nothing is boxed for a request",
    },
    Rule {
        banned: &[
            "StatusCode::BAD_REQUEST",
            "StatusCode::UNAUTHORIZED",
            "StatusCode::FORBIDDEN",
            "StatusCode::NOT_FOUND",
            "StatusCode::METHOD_NOT_ALLOWED",
            "StatusCode::TOO_MANY_REQUESTS",
            "StatusCode::INTERNAL_SERVER_ERROR",
            "StatusCode::BAD_GATEWAY",
            "StatusCode::SERVICE_UNAVAILABLE",
            "StatusCode::GATEWAY_TIMEOUT",
        ],
        scope: Where::BeforeRejection,
        instead: "a rejection: only `http::rejection` picks the status of a refusal",
    },
];

/// Findings of the rules for all text.
pub fn check_text(path: &str, text: &str) -> Vec<Finding> {
    if is_rule_book(path) {
        return Vec::new();
    }
    find(path, Where::Text, (1..).zip(text.lines()))
}

/// Findings of the rules for code.
pub fn check_code(source: &Source) -> Vec<Finding> {
    let mut findings = find(source.path, Where::Code, (1..).zip(source.code.lines()));
    let product = source.path.starts_with("gateway-") && source.path.contains("/src/");
    if product {
        findings.extend(find(source.path, Where::Product, source.lines()));
    }
    let module = source.module();
    let refuses =
        matches!(module.as_slice(), ["pipeline" | "policy" | "action" | "route" | "upstream" | "cache", ..]);
    if product && refuses {
        findings.extend(find(source.path, Where::BeforeRejection, source.lines()));
    }
    findings
}

fn find<'a>(path: &str, scope: Where, lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in lines {
        for rule in RULES.iter().filter(|rule| rule.scope == scope) {
            if let Some(banned) = rule.banned.iter().find(|banned| holds(text, banned)) {
                let message = format!("`{banned}` is banned, use {}", rule.instead);
                findings.push(Finding { path: path.into(), line, message });
            }
        }
    }
    findings
}

/// Whether `text` holds `banned` as a word: `/root/` is no folder of a machine in `example.org/root/`.
fn holds(text: &str, banned: &str) -> bool {
    let is_name = |character: char| character.is_alphanumeric() || "_.-~*}>".contains(character);
    let begins_word = banned.starts_with(['/']) || banned.starts_with(char::is_alphanumeric);
    text.match_indices(banned).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + banned.len()..].chars().next();
        let ends_word = banned.ends_with(char::is_alphanumeric) && after.is_some_and(is_name);
        !(ends_word || begins_word && before.is_some_and(is_name))
    })
}

/// The checker's own files name what they ban.
fn is_rule_book(path: &str) -> bool {
    path.starts_with("xtask/src/tidy")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCT: &str = "gateway-userspace/src/policy/jwt.rs";

    /// A path, a text, and what must be found in it.
    const TABLE: &[(&str, &str, Option<&str>)] = &[
        ("README.md", "see `docs/operations/`", None),
        ("README.md", concat!("see `/", "work/main/docs`"), Some(concat!("/", "work/"))),
        ("README.md", "cd /home/somebody", Some("/home/")),
        ("docs/a.md", "https://example.org/root/", None),
        ("docs/a.md", "the page says TODO: write", Some("TODO")),
        ("docs/a.md", "the TODOLIST variable", None),
        (PRODUCT, "fn f() { todo!() }", Some("todo!(")),
        (PRODUCT, "fn f() { done() }", None),
        ("tests/tests/network/main.rs", "#[ignore = \"slow\"]\n#[test]\nfn f() {}", Some("#[ignore")),
        ("tests/tests/network/main.rs", "#[test]\nfn f() {}", None),
        (PRODUCT, "#[allow(dead_code)]\nfn f() {}", Some("#[allow(")),
        (PRODUCT, "#[expect(dead_code, reason = \"x\")]\nfn f() {}", None),
        (PRODUCT, "fn f() { x.unwrap() }", Some(".unwrap()")),
        (PRODUCT, "fn f() { x.unwrap_or(1) }", None),
        (PRODUCT, "#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap() }\n}", None),
        ("xtask/src/run.rs", "fn f() { x.unwrap() }", None),
        (PRODUCT, "use futures_util::future::BoxFuture;", Some("BoxFuture")),
        (PRODUCT, "use std::future::Future;", None),
        (PRODUCT, "fn f() -> S { StatusCode::FORBIDDEN }", Some("StatusCode::FORBIDDEN")),
        (PRODUCT, "fn f() -> S { StatusCode::OK }", None),
        ("gateway-userspace/src/http/rejection.rs", "fn f() -> S { StatusCode::FORBIDDEN }", None),
    ];

    #[test]
    fn each_rule_lets_the_good_example_pass_and_stops_the_bad_one() {
        for (path, text, wanted) in TABLE {
            let mut findings = check_text(path, text);
            if path.ends_with(".rs") {
                findings.extend(check_code(&Source::new(path, text)));
            }
            match wanted {
                None => assert_eq!(findings, [], "{path}: {text}"),
                Some(banned) => {
                    assert_eq!(findings.len(), 1, "{path}: {text}: {findings:?}");
                    assert!(
                        findings[0].message.starts_with(&format!("`{banned}` is banned, use")),
                        "{findings:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_rule_has_an_example_that_it_stops() {
        for rule in RULES {
            let shown =
                TABLE.iter().any(|(.., wanted)| wanted.is_some_and(|word| rule.banned.contains(&word)));
            assert!(shown, "no example for {:?}", rule.banned);
        }
    }
}
