//! Mistakes in configuration, arguments and surroundings: the cause, the place, the way out, the exit code.

use std::path::PathBuf;
use std::process::Output;

use tests::gateway::{folder, run};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn configuration(text: &str) -> PathBuf {
    let path = folder().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    path
}

const GOOD: &str =
    "[listen.main]\naddress = \"127.0.0.1:1\"\n[route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\n";

#[test]
fn every_mistake_is_shown_in_one_run_with_its_line_and_a_hint() {
    let path = configuration(
        "[listen.main]\naddress = \"127.0.0.1:1\"\n[limit.per-user]\nrate = \"100/minute\"\nbrust = 20\nby = \"usr\"\n\
         [auth.users]\njwt = \"https://issuer.test\"\n\
         [route.a]\nmatch = \"/a\"\nto = [\"http://127.0.0.1:1\", \"127.0.0.1:2\"]\nauth = \"user\"\nlimit = \"per-usr\"\n\
         [route.b]\nmatch = \"/b\"\nto = \"http://127.0.0.1:1\"\n\
         [route.c]\nmatch = \"/b\"\nto = \"http://127.0.0.1:1\"\n[listen.other]\naddress = 5\nheader-timeout = 10\n",
    );
    let output = run(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let said = said(&output);
    for expected in [
        "gateway.toml:4:",
        "100/min",
        "gateway.toml:5:",
        "brust",
        "burst",
        "gateway.toml:6:",
        "gateway.toml:11:",
        "http://127.0.0.1:2",
        "gateway.toml:12:",
        "`users`",
        "gateway.toml:13:",
        "per-user",
        "gateway.toml:18:",
        "gateway.toml:21:",
        "gateway.toml:22:",
        "10s",
    ] {
        assert!(said.contains(expected), "`{expected}` is missing in\n{said}");
    }
}

#[test]
fn exit_codes_are_as_documented() {
    let good = configuration(GOOD);
    let good = good.to_str().unwrap();
    assert_eq!(run(&["check", good]).status.code(), Some(0));
    assert_eq!(run(&["check", "/nowhere/gateway.toml"]).status.code(), Some(78));
    assert_eq!(run(&["chekc"]).status.code(), Some(64));
    assert_eq!(run(&[]).status.code(), Some(64));
    assert_eq!(run(&["bans", "--socket", "/nowhere/admin.sock"]).status.code(), Some(69));
    assert_eq!(run(&["status", "--socket", "/nowhere/admin.sock"]).status.code(), Some(3));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["ban", "not-an-address"]).status.code(), Some(64));
}

#[test]
fn an_address_in_use_names_the_listener() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = folder();
    let f = folder.display();
    let path = folder.join("gateway.toml");
    std::fs::write(
        &path,
        format!(
            "[gateway]\nstate = \"{f}/state\"\n[admin]\nsocket = \"{f}/admin.sock\"\n{}",
            GOOD.replace(":1\"", &format!(":{port}\""))
        ),
    )
    .unwrap();
    let output = run(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("main") && said(&output).contains(&port.to_string()), "{}", said(&output));
}

#[test]
fn codes_are_explained() {
    let output = run(&["explain", "C001"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains("C001"));
    assert_eq!(run(&["explain", "C999"]).status.code(), Some(64));
}
