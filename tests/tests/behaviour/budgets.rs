//! Budgets of the kernel stage that would throttle a client which keeps to every limit: refused, with the way out.

use std::path::PathBuf;
use std::process::Output;

use tests::gateway::{Gateway, folder, run};

const ROUTE: &str = "[route.upload]\nmatch = \"/*\"\nrespond = { status = 200, body = \"up\" }\n";
const SMALL: &str = "[shield]\npackets = \"5k/s\"\nsyns = \"100/s\"\nclient-bandwidth = \"1Gbit/s\"\n";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn written(text: &str) -> PathBuf {
    let path = folder().join("gateway.toml");
    std::fs::write(&path, text).expect("a file in the test's folder");
    path
}

#[test]
fn check_refuses_budgets_below_what_is_permitted_and_takes_those_that_are_proposed() {
    let base = format!("[listen.main]\naddress = \"127.0.0.1:1\"\n{ROUTE}");
    let file = written(&format!("{base}{SMALL}"));
    let file = file.to_str().expect("UTF-8");
    let refused = run(&["check", file]);
    let text = said(&refused);
    assert_eq!(refused.status.code(), Some(78), "{text}");
    for expected in [
        "error[C082]: `packets` admits 5000 packets per second of a client that may send 81274",
        "error[C083]: `syns` admits 100 SYNs at once of a client that may open 256 connections",
        "this has room for 81274 packets",
        "route `upload`",
        "gateway.toml:7:11",
        "write `packets = \"122k/s\"`",
        "portcullis budget suggest",
    ] {
        assert!(text.contains(expected), "`{expected}` is missing in\n{text}");
    }
    assert!(said(&run(&["explain", "C082"])).contains("client-bandwidth"));

    // What is proposed for the file that is refused takes the place of its budgets.
    let proposed = run(&["budget", "suggest", "--config", file]);
    let lines = String::from_utf8_lossy(&proposed.stdout).into_owned();
    assert_eq!(proposed.status.code(), Some(0), "{}", said(&proposed));
    assert!(lines.contains("1000000000 / (8 × 1538 bytes) = 81274"), "{lines}");
    let good = written(&format!("{base}{lines}"));
    let checked = run(&["check", good.to_str().expect("UTF-8")]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert!(said(&checked).contains("no problems"), "{}", said(&checked));
}

#[test]
fn budget_suggest_prints_json_and_says_what_it_does_not_understand() {
    let file = written(&format!("[listen.main]\naddress = \"127.0.0.1:1\"\n{ROUTE}"));
    let file = file.to_str().expect("UTF-8");
    let suggest = |more: &[&str]| run(&[&["budget", "suggest", "-c", file], more].concat());
    let json: serde_json::Value =
        serde_json::from_slice(&suggest(&["--json", "--client-bandwidth", "100Mbit/s"]).stdout)
            .expect("JSON");
    assert_eq!(json["client_bandwidth"], 100_000_000);
    assert_eq!((&json["packets"], &json["heaviest"]["packets_per_second"]), (&12_200.into(), &8_127.into()));
    assert_eq!(json["heaviest"]["connections_per_second"], serde_json::Value::Null);
    assert!(json["derivation"].as_array().is_some_and(|lines| lines.len() > 2), "{json}");

    let slip = suggest(&["--client-bandwidth", "125MB/s"]);
    assert_eq!(slip.status.code(), Some(64));
    assert!(said(&slip).contains("write `\"1Gbit/s\"`"), "{}", said(&slip));
    let broken = written("[listen.main]\nadress = 1\n");
    let broken = run(&["budget", "suggest", "-c", broken.to_str().expect("UTF-8")]);
    assert_eq!(broken.status.code(), Some(78));
    assert!(said(&broken).contains("gateway.toml:2:1"), "{}", said(&broken));
}

#[test]
fn a_running_gateway_keeps_what_it_has_when_a_reload_brings_a_budget_that_is_too_small() {
    let gateway = Gateway::start(ROUTE);
    let text = |more: &str| format!("[listen.main]\naddress = \"0.0.0.0:{}\"\n{ROUTE}{more}", gateway.port);
    gateway.write_configuration(&text(SMALL));
    let refused = gateway.cli(&["reload"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(said(&refused).contains("C082") && said(&refused).contains("81274"), "{}", said(&refused));
    // Where nothing is dropped it is a warning.
    gateway.write_configuration(&text(&SMALL.replace("[shield]\n", "[shield]\nmode = \"observe\"\n")));
    let warned = gateway.cli(&["reload"]);
    assert!(warned.status.success(), "{}", said(&warned));
    assert!(said(&warned).contains("C082"), "{}", said(&warned));
}
