//! Tables of the configuration by the admin API: made, changed, taken out, and refused.

use std::process::Command;

use tests::curl::{Answer, curl};
use tests::gateway::{Gateway, binary};

use super::administration::{audit, stderr};

const ROUTE: &str = "[route.all]\nmatch = \"/*\"\nrespond = { status = 200, body = \"ok\" }\n";

/// curl over the admin socket.
fn admin(gateway: &Gateway, arguments: &[&str], path: &str) -> Answer {
    let socket = gateway.socket();
    let url = format!("http://x/v1/config{path}");
    curl(&[&["--unix-socket", socket.to_str().unwrap()], arguments, &[&url]].concat())
}

#[test]
fn a_route_is_made_changed_and_taken_out_while_the_gateway_runs_and_outlives_it() {
    let mut gateway = Gateway::start(ROUTE);
    let managed = gateway.folder.join("conf.d/managed.toml");
    let shop = gateway.url("/shop");
    assert_eq!(curl(&[&shop]).body, "ok");
    let body = r#"{"match": "/shop", "respond": {"status": 200, "body": "shop"}}"#;
    let dry = admin(&gateway, &["-X", "PUT", "-d", body], "/route/shop?dry-run");
    assert_eq!((dry.status, managed.exists()), (200, false), "{}", dry.body);
    let made = admin(&gateway, &["-X", "PUT", "-d", body, "-H", "If-None-Match: *"], "/route/shop");
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["undo"], "portcullis config delete route shop");
    assert_eq!(curl(&[&shop]).body, "shop", "it serves at once");
    assert_eq!(
        admin(&gateway, &["-X", "PUT", "-d", body, "-H", "If-None-Match: *"], "/route/shop").status,
        412
    );

    let got = admin(&gateway, &[], "/route/shop");
    assert_eq!((got.status, &got.json()["values"]["match"]), (200, &"/shop".into()), "{}", got.body);
    let etag = got.header("etag").to_owned();
    assert_eq!(etag, made.header("etag"));
    let toml = "match = \"/shop\"\nrespond = { status = 200, body = \"changed\" }\n";
    let change = |tag: &str| {
        let condition = format!("If-Match: {tag}");
        let arguments =
            ["-X", "PUT", "-H", &condition, "-H", "Content-Type: application/toml", "--data-binary", toml];
        admin(&gateway, &arguments, "/route/shop")
    };
    assert_eq!(change("\"other\"").status, 412);
    let changed = change(&etag);
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(curl(&[&shop]).body, "changed");
    assert_eq!(change(&etag).status, 412, "the tag is old");
    let as_toml = admin(&gateway, &["-H", "Accept: application/toml"], "/route/shop");
    assert_eq!(as_toml.body, toml);

    // The line that undoes it, pasted into a shell.
    let undo =
        changed.json()["undo"].as_str().unwrap().replacen("portcullis", &binary().display().to_string(), 1);
    let undone =
        Command::new("sh").args(["-c", &undo]).env("PORTCULLIS_SOCKET", gateway.socket()).output().unwrap();
    assert!(undone.status.success(), "{undo}: {}", stderr(&undone));
    assert_eq!(curl(&[&shop]).body, "shop");

    gateway.restart();
    assert_eq!(curl(&[&shop]).body, "shop", "kept over a restart");
    let shown = gateway.cli_json(&["routes", "show", "shop"]);
    assert_eq!(shown["routes"][0]["at"].as_str().unwrap().split(':').next(), Some("conf.d/managed.toml"));
    assert_eq!(gateway.cli(&["routes", "show", "nothing"]).status.code(), Some(1));
    let deleted = gateway.cli(&["config", "delete", "route", "shop"]);
    assert!(String::from_utf8_lossy(&deleted.stdout).contains("undo with: portcullis config set route shop"));
    assert_eq!((curl(&[&shop]).body.as_str(), managed.exists()), ("ok", false));
    assert_eq!(admin(&gateway, &[], "/route/shop").status, 404);
    let said = audit(&gateway);
    let set = said.iter().find(|line| line["command"] == "config-set" && line["message"] == "done");
    assert!(set.is_some_and(|line| line["uid"].is_number()), "{said:?}");
    assert!(said.iter().any(|line| line["diff"] == "+ route shop"), "{said:?}");
    assert!(said.iter().any(|line| line["diff"] == "- route shop"), "{said:?}");
}

#[test]
fn what_is_wrong_or_written_by_hand_changes_nothing_and_says_why() {
    let gateway = Gateway::start(ROUTE);
    let before = std::fs::read_to_string(gateway.folder.join("gateway.toml")).unwrap();
    let put = |path: &str, body: &str| admin(&gateway, &["-X", "PUT", "-d", body], path);
    let invalid = put("/route/shop", r#"{"match": "/shop", "to": "h:1", "limit": "none-such", "mach": 1}"#);
    assert_eq!((invalid.status, invalid.header("content-type")), (422, "application/problem+json"));
    let problems = invalid.json()["problems"].as_array().unwrap().clone();
    let codes: Vec<_> = problems.iter().filter_map(|problem| problem["code"].as_str()).collect();
    for code in ["C001", "C014"] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    assert!(problems.iter().all(|problem| problem["line"].is_number()), "{problems:?}");
    let by_hand = put("/route/all", r#"{"match": "/*", "respond": {"status": 404}}"#);
    assert_eq!(by_hand.status, 409);
    let detail = by_hand.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("[route.all] stands at gateway.toml:") && detail.contains("by hand"), "{detail}");
    assert_eq!(admin(&gateway, &["-X", "DELETE"], "/listen/main").status, 409);
    assert_eq!(put("/admin", r#"{"admins": [65534]}"#).status, 409);
    assert_eq!(put("/nonsense/x", "{}").status, 404);
    assert_eq!(put("/route/shop", "{").status, 400);
    assert_eq!(put("/route/shop", r#"{"match": null}"#).status, 400);
    assert_eq!(admin(&gateway, &["-X", "DELETE"], "/route/shop").status, 404);
    let cli = gateway.cli(&["config", "set", "route", "shop", "--toml", "mach = 1"]);
    assert_eq!(cli.status.code(), Some(78));
    assert!(stderr(&cli).contains("C001"), "{}", stderr(&cli));
    assert_eq!(std::fs::read_to_string(gateway.folder.join("gateway.toml")).unwrap(), before);
    assert!(!gateway.folder.join("conf.d/managed.toml").exists());
    assert_eq!(curl(&[&gateway.url("/shop")]).body, "ok");
    assert_eq!(gateway.cli_json(&["status"])["generation"], 1);
}

#[test]
fn a_secret_is_neither_shown_nor_logged_and_stays_when_its_asterisks_are_sent_back() {
    let gateway = Gateway::start(ROUTE);
    let keys = r#"{\"kty\":\"oct\",\"k\":\"aHVzaC1odXNoLWh1c2gtaHVzaC1odXNoLWh1c2gtaHVzaA\"}"#;
    let body = format!(r#"{{"jwt": "issuer", "algorithms": ["HS256"], "keys": "{keys}"}}"#);
    let made = admin(&gateway, &["-X", "PUT", "-d", &body], "/auth/users");
    assert_eq!(made.status, 201, "{}", made.body);
    let got = admin(&gateway, &[], "/auth/users");
    assert_eq!(got.json()["values"]["keys"], "****");
    let again = body.replace(keys, "****").replace("issuer", "other");
    let changed = admin(&gateway, &["-X", "PUT", "-d", &again], "/auth/users");
    assert_eq!(changed.status, 200, "{}", changed.body);
    let managed = std::fs::read_to_string(gateway.folder.join("conf.d/managed.toml")).unwrap();
    assert!(managed.contains("aHVzaC1") && managed.contains("other"), "{managed}");
    let list = gateway.cli(&["config", "get", "auth"]);
    for shown in [gateway.said(), got.body, changed.body, String::from_utf8_lossy(&list.stdout).into_owned()]
    {
        assert!(!shown.contains("aHVzaC1"), "{shown}");
    }
}
