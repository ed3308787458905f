//! Who gets in by an API key.

use std::time::{Duration, SystemTime};

use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::Gateway;

pub const KEY: &str = "k-0123456789abcdef0123456789abcdef";

/// A list with one API key.
pub fn keys(name: &str, consumer: &str, digest: &str) -> String {
    format!(
        "[auth.{name}]\napi-key = [\"header:X-API-Key\"]\nkeys.{consumer} = \"sha256:{digest}\"\n\
         consumer-header = \"X-Consumer\"\n"
    )
}

pub fn sha256(text: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("printf %s '{text}' | sha256sum")])
        .output()
        .expect("sha256sum runs");
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

#[test]
fn an_api_key_passes_by_its_hash_and_never_reaches_upstream_or_log() {
    let echo = Echo::start();
    let created = tests::gateway::run(&["key", "create", "--id", "partner-a", "--json"]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let created: serde_json::Value = serde_json::from_slice(&created.stdout).unwrap();
    let secret = created["secret"].as_str().expect("the secret, once");
    let line = created["line"].as_str().expect("what goes into the configuration");
    assert!(line.starts_with("keys.partner-a = \"sha256:"), "{line}");
    let gateway = Gateway::start(&format!(
        "[auth.partners]\napi-key = [\"header:X-API-Key\", \"query:api_key\"]\n{line}\nconsumer-header = \"X-Consumer\"\n\
         [route.all]\nmatch = \"/*\"\nto = \"{}\"\nauth = \"partners\"\n",
        echo.url()
    ));
    let field = format!("X-API-Key: {secret}");
    let answer = curl(&["-H", &field, "-H", "X-Consumer: root", &gateway.url("/?a=1")]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains(secret), "the key stays here: {}", answer.body);
    assert!(answer.body.to_lowercase().contains("[\"x-consumer\",\"partner-a\"]"), "{}", answer.body);

    let by_query = curl(&[&gateway.url(&format!("/?a=1&api_key={secret}&b=2"))]);
    assert_eq!(by_query.status, 200);
    assert_eq!(by_query.json()["line"], "GET /?a=1&b=2 HTTP/1.1");

    let wrong = curl(&["-H", "X-API-Key: portcullis_live_wrong", &gateway.url("/")]);
    assert_eq!((wrong.status, wrong.json()["error"].as_str()), (401, Some("Invalid API key")));
    assert_eq!(curl(&[&gateway.url("/")]).status, 401);

    let listed = gateway.cli_json(&["key", "list"]);
    assert_eq!(listed["keys"][0]["id"], "partner-a");
    std::thread::sleep(Duration::from_millis(500));
    let log = std::fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    assert!(log.contains("partner-a") && !log.contains(secret), "{log}");
    assert!(!gateway.said().contains(secret));
}

#[test]
fn a_key_has_an_end_a_switch_and_places_and_a_new_one_overlaps_with_the_old() {
    let echo = Echo::start();
    let text = |port: u16, old: &str| {
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\n[auth.partners]\napi-key = [\"header:X-API-Key\", \"cookie:key\"]\nconsumer-header = \"X-Consumer\"\n\
             keys.acme-1 = {{ hash = \"sha256:{}\", consumer = \"acme\"{old} }}\n\
             keys.acme-2 = {{ hash = \"sha256:{}\", consumer = \"acme\" }}\n\
             keys.far = {{ hash = \"sha256:{}\", addresses = [\"10.0.0.0/8\"] }}\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\nauth = \"partners\"\n",
            sha256("first-0123456789"),
            sha256("second-0123456789"),
            sha256("far-0123456789"),
            echo.url()
        )
    };
    let gateway = Gateway::start_with(|_, port| text(port, ""));
    let ask = |key: &str| curl(&["-H", &format!("X-API-Key: {key}"), &gateway.url("/")]);
    for key in ["first-0123456789", "second-0123456789"] {
        let answer = ask(key);
        assert!(answer.status == 200 && answer.body.contains("acme"), "{key}: {}", answer.body);
    }
    assert_eq!(curl(&["-b", "a=1; key=first-0123456789", &gateway.url("/")]).status, 200, "in a cookie");
    assert_eq!(
        (ask("far-0123456789").status, ask("far-0123456789").header("x-gateway-reason")),
        (403, "address-denied")
    );

    for (terms, detail) in [(", expires = \"2020-01-01\"", "expired"), (", disabled = true", "disabled")] {
        gateway.write_configuration(&text(gateway.port, terms));
        assert!(gateway.cli(&["reload"]).status.success());
        let revoked = SystemTime::now();
        let answer = ask("first-0123456789");
        assert_eq!((answer.status, answer.json()["details"].as_str()), (401, Some(detail)));
        assert!(revoked.elapsed().unwrap() < Duration::from_secs(1), "at once");
        assert_eq!(ask("second-0123456789").status, 200, "its successor goes on");
        let listed = gateway.cli_json(&["key", "list"]);
        let of = |id: &str| {
            listed["keys"].as_array().unwrap().iter().find(|key| key["id"] == id).cloned().unwrap()
        };
        assert_eq!(
            (of("acme-1")["state"].as_str(), of("acme-2")["state"].as_str()),
            (Some(detail), Some("active"))
        );
    }
}
