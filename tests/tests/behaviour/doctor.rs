//! `portcullis doctor`: what the kernel stage needs of a machine, without a gateway that runs.

use std::path::PathBuf;
use std::process::{Command, Output};

use tests::gateway::{Gateway, binary, folder, run};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn written(shield: &str) -> PathBuf {
    let path = folder().join("gateway.toml");
    let text = format!("[listen.main]\naddress = \"127.0.0.1:1\"\n[shield]\n{shield}\n");
    std::fs::write(&path, text).expect("a file in the test's folder");
    path
}

#[test]
fn an_interface_that_is_not_there_fails_and_one_that_nobody_asked_for_does_not() {
    let none = folder().join("none.toml");
    let asked_for_nothing = run(&["doctor", "-c", none.to_str().expect("UTF-8")]);
    assert_eq!(asked_for_nothing.status.code(), Some(0), "{}", said(&asked_for_nothing));
    assert!(said(&asked_for_nothing).contains("asks for no kernel stage"));

    let file = written("interface = \"no-such-if\"");
    let missing = run(&["doctor", "--json", "-c", file.to_str().expect("UTF-8")]);
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
    let json: serde_json::Value = serde_json::from_slice(&missing.stdout).expect("JSON");
    assert_eq!((&json["wanted"], &json["interfaces"][0]["exists"]), (&true.into(), &false.into()));
    let lines = json["missing"].as_array().expect("a list");
    assert!(lines.iter().any(|line| line == "there is no interface no-such-if"), "{json}");
    for feature in json["features"].as_array().expect("a list") {
        let found = feature["found"].as_str();
        assert!(["present", "missing", "unknown"].map(Some).contains(&found), "{feature}");
        assert!(feature["without"].as_str().is_some_and(|without| !without.is_empty()), "{feature}");
    }

    let file = written("interfaces = \"lo\"\nfor = 5");
    assert_eq!(run(&["doctor", "-c", file.to_str().expect("UTF-8")]).status.code(), Some(78));
}

#[test]
fn a_driver_that_cannot_do_what_is_asked_is_named() {
    // Loopback has no XDP in its driver; kernels before 6.3 do not tell.
    let file = written("interface = \"lo\"\nattach = \"native\"");
    let output = run(&["doctor", "--json", "-c", file.to_str().expect("UTF-8")]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let named = said(&output).contains("lo: its driver runs no XDP programs");
    assert_eq!(named, json["interfaces"][0]["native"] == false, "{json}");
    assert_ne!(json["interfaces"][0]["native"], true);
}

#[test]
fn without_root_the_missing_capabilities_are_named_and_nothing_else_is_claimed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let file = written("interface = \"lo\"");
    let folder = file.parent().expect("a folder");
    // The binary may stand where a stranger cannot read.
    let copy = folder.join("portcullis");
    std::fs::copy(binary(), &copy).expect("a copy");
    Command::new("chown").args(["-R", "nobody"]).arg(folder).status().expect("chown runs");
    let output = Command::new("setpriv")
        .args(["--reuid=nobody", "--clear-groups", "--bounding-set=-all"])
        .arg(&copy)
        .args(["doctor", "--json", "--config"])
        .arg(&file)
        .output()
        .expect("it runs");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let features = json["features"].as_array().expect("a list");
    let found = |name: &str| features.iter().find(|feature| feature["name"] == name).expect("it is listed");
    assert_eq!(found("capabilities")["found"], "missing");
    assert!(found("capabilities")["detail"].as_str().is_some_and(|detail| detail.contains("CAP_BPF")));
    // A refusal says nothing about the kernel.
    assert_eq!((&found("bpf(2)")["found"], &found("Linux")["found"]), (&"unknown".into(), &"present".into()));
    // 1 where something else is missing too: a binary without the program, say.
    let code = if json["missing"].as_array().map(Vec::len) == Some(1) { 77 } else { 1 };
    assert_eq!(output.status.code(), Some(code), "{json}");
    std::fs::remove_dir_all(folder).expect("the folder goes");
}

#[test]
fn of_a_gateway_that_runs_its_kernel_stage_is_told() {
    let gateway = Gateway::start("[route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\n");
    let pid = gateway.cli_json(&["status"])["pid"].to_string();
    let output = gateway.cli(&["doctor"]);
    let line = format!("the gateway that runs (pid {pid}, ");
    assert!(
        said(&output).contains(&line) && said(&output).contains("): without a kernel stage"),
        "{}",
        said(&output)
    );
    assert_eq!(gateway.cli_json(&["doctor"])["running"]["kernel"]["on"], false);
}
