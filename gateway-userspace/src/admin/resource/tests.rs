//! Every request by its command, and the page that lists them.

use super::*;
use crate::admin::api::GetTables;

fn text(method: &str, target: &str, body: &str) -> String {
    match parse(method, target, &HeaderMap::new(), body.as_bytes()) {
        Ok(Call::Bans(list)) => format!("bans {:?} {}", list.id, list.ended),
        Ok(call) => format!("{} {}", call.signature().name, call.request()),
        Err(problem) => format!("{} {}", problem.status, problem.detail),
    }
}

#[test]
fn every_command_and_every_resource_is_found() {
    let ban = r#"ban {"prefix":"203.0.113.9/32","for_s":600,"reason":"","force":false,"observe":false,"dry_run":false}"#;
    let lift = r#"unban {"prefix":"203.0.113.0/24","id":null,"all":false,"dry_run":false}"#;
    for (method, target, body, call) in [
        ("GET", "/v1/status", "", "status {}"),
        ("POST", "/v1/status", "", "status {}"),
        ("POST", "/v1/status", "{}", "status {}"),
        ("GET", "/v1/bans", "", "bans None false"),
        ("GET", "/v1/bans?ended=true", "", "bans None true"),
        ("POST", "/v1/bans", r#"{"id":7,"ended":false}"#, "bans Some(7) false"),
        ("GET", "/v1/bans/7", "", "bans Some(7) true"),
        ("POST", "/v1/bans", r#"{"address":"203.0.113.9","for":"10m"}"#, ban),
        ("POST", "/v1/bans", r#"{"prefix":"203.0.113.9/32","for":600}"#, ban),
        ("POST", "/v1/ban", &ban[4..], ban),
        ("DELETE", "/v1/bans/203.0.113.0/24", "", lift),
        ("DELETE", "/v1/bans/203.0.113.0%2F24", "", lift),
        ("DELETE", "/v1/bans/7", "", r#"unban {"prefix":null,"id":7,"all":false,"dry_run":false}"#),
        ("PUT", "/v1/allow/::1", "", r#"allow {"prefix":"::1/128","remove":false,"dry_run":false}"#),
        ("DELETE", "/v1/allow/%3A%3a1", "", r#"allow {"prefix":"::1/128","remove":true,"dry_run":false}"#),
        ("GET", "/v1/allow", "", "allowed {}"),
        ("POST", "/v1/reload", r#"{"dry_run":true}"#, r#"reload {"dry_run":true}"#),
        (
            "POST",
            "/v1/apply",
            r#"{"text":"secret","drop_ins":[{"name":"a.toml","text":null}],"why":"w"}"#,
            r#"apply {"bytes":6,"drop_ins":{"a.toml":null},"dry_run":false,"prune":false,"why":"w"}"#,
        ),
        ("POST", "/v1/rollback", "", r#"rollback {"number":null,"why":"","dry_run":false}"#),
        ("GET", "/v1/history", "", "history {}"),
        ("GET", "/v1/history/7", "", "history-show {}"),
        ("GET", "/v1/keys", "", "keys {}"),
        ("GET", "/v1/top", "", "top {}"),
    ] {
        assert_eq!(text(method, target, body), call, "{method} {target} {body}");
    }
}

#[test]
fn the_page_names_every_command_and_every_resource_with_its_role() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/admin-api.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut rows = String::from("| request | command | role |\n|---|---|---|\n");
    for (method, path, command) in RESOURCES {
        let sample = path.replace("{id}", "7").replace("{address}", "192.0.2.1");
        let sample = sample.replace("{kind}", "route").replace("{name}", "shop");
        let body = if *method == "POST" { r#"{"address":"192.0.2.1"}"# } else { "{}" };
        let call = parse(method, &sample, &HeaderMap::new(), body.as_bytes()).expect(&sample);
        let signature = call.signature();
        assert_eq!(signature.name, *command, "{method} {path}");
        rows.push_str(&format!("| `{method} {path}` | `{command}` | {} |\n", signature.role));
    }
    for signature in api::COMMANDS {
        let target = format!("/v1/{}", signature.name);
        if let Ok(call) = parse("POST", &target, &HeaderMap::new(), b"{}") {
            assert_eq!(call.signature().name, signature.name);
        }
        rows.push_str(&format!("| `POST {target}` | `{}` | {} |\n", signature.name, signature.role));
    }
    assert!(page.contains(&rows), "docs/operations/admin-api.md is stale; its table is:\n{rows}");
}

#[test]
fn a_table_is_a_resource_and_its_headers_count() {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/toml; charset=utf-8"));
    headers.insert("if-match", http::HeaderValue::from_static("\"ab\""));
    headers.insert("accept", http::HeaderValue::from_static("application/toml"));
    let put = parse("PUT", "/v1/config/route/shop?dry-run", &headers, b"match = \"/\"");
    let Ok(Call::SetTable(set)) = put else { panic!("{put:?}") };
    assert_eq!(
        (&*set.kind, set.name.as_deref(), set.toml.as_deref()),
        ("route", Some("shop"), Some("match = \"/\""))
    );
    assert_eq!((set.only.if_match.as_deref(), set.dry_run), (Some("\"ab\""), true));
    let get = parse("GET", "/v1/config/shield", &headers, b"");
    assert!(matches!(get, Ok(Call::Table(GetTables { name: None, .. }, true))), "{get:?}");
    let call = parse("PUT", "/v1/config/auth/a", &HeaderMap::new(), br#"{"keys":"hush"}"#).unwrap();
    assert_eq!(call.request(), r#"{"dry_run":false,"kind":"auth","name":"a"}"#, "no secret in the audit log");
    for (method, target, status) in [
        ("GET", "/v1/config/a/b/c", 404),
        ("GET", "/v1/configs", 404),
        ("POST", "/v1/config/route/shop", 405),
        ("PUT", "/v1/config", 405),
        ("DELETE", "/v1/routes/shop", 405),
    ] {
        let problem = parse(method, target, &HeaderMap::new(), b"{}").unwrap_err();
        assert_eq!(problem.status, status, "{method} {target}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_status() {
    for (method, target, body, status, detail) in [
        ("GET", "/", "", 404, "there is no /;"),
        ("GET", "/v2/status", "", 404, "there is no /v2/status"),
        ("POST", "/v1/nonsense", "{}", 404, "there is no /v1/nonsense"),
        ("POST", "/v1/status/x", "{}", 404, "there is no"),
        ("POST", "/v1/", "", 404, "there is no"),
        ("DELETE", "/v1/status", "", 405, "this takes GET, POST"),
        ("GET", "/v1/reload", "", 405, "this takes POST"),
        ("PUT", "/v1/bans", "", 405, "this takes GET, POST"),
        ("PUT", "/v1/config/shield", " ", 400, "the body is the table"),
        ("POST", "/v1/bans/7", "", 405, "this takes GET, DELETE"),
        ("DELETE", "/v1/history/7", "", 405, "this takes GET"),
        ("GET", "/v1/history/x", "", 400, "a configuration is looked up by its number"),
        ("POST", "/v1/apply", r#"{"texts":""}"#, 400, "the body cannot be read: unknown field `texts`"),
        ("POST", "/v1/ban", "{", 400, "the body cannot be read: EOF"),
        ("POST", "/v1/ban", "[]", 400, "the body cannot be read: invalid length 2"),
        ("POST", "/v1/ban", "{}", 400, "the body cannot be read: missing field `reason`"),
        ("POST", "/v1/bans", r#"{"address":"x"}"#, 400, "\"x\" is neither an address nor a prefix"),
        ("POST", "/v1/bans", r#"{"address":"::1","for":"10"}"#, 400, "`for` is \"10\""),
        (
            "POST",
            "/v1/bans",
            r#"{"address":"::1","fro":"1m"}"#,
            400,
            "the body cannot be read: unknown field `fro`",
        ),
        ("DELETE", "/v1/bans/everybody", "", 400, "\"everybody\" is neither"),
        ("DELETE", "/v1/bans/", "", 400, "\"\" is neither"),
        ("GET", "/v1/bans/4294967296", "", 400, "a ban is looked up by its number"),
    ] {
        let found = text(method, target, body);
        assert!(found.starts_with(&format!("{status} {detail}")), "{method} {target} {body}: {found}");
    }
}

#[test]
fn a_comment_has_a_limit() {
    for (length, is_taken) in [(1024, true), (1025, false)] {
        let comment = "x".repeat(length);
        for (target, body) in [
            ("/v1/apply", format!(r#"{{"why":"{comment}"}}"#)),
            ("/v1/rollback", format!(r#"{{"why":"{comment}"}}"#)),
            ("/v1/bans", format!(r#"{{"address":"::1","reason":"{comment}"}}"#)),
        ] {
            let parsed = parse("POST", target, &HeaderMap::new(), body.as_bytes());
            assert_eq!(parsed.is_ok(), is_taken, "{target}");
            assert!(parsed.is_ok() || parsed.is_err_and(|problem| problem.status == 400));
        }
    }
}
