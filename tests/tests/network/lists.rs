//! Lists that are written for nft and ipset, taken by those, and read from what they print.

use std::fs;
use std::process::{Command, Stdio};

use gateway_userspace::demo::network::Host;
use tests::gateway::{binary, folder};
use tests::kernel::Kernel;

/// With a /0, hosts within networks, neighbours, and times that the format must carry.
const LIST: &str = r#"{"new":[
    {"type":"ban","scope":"Range","value":"0.0.0.0/0","duration":"1h"},
    {"type":"ban","scope":"Ip","value":"192.0.2.7","duration":"600h"},
    {"type":"ban","scope":"Ip","value":"2001:db8::7","duration":"876000h"},
    {"type":"ban","scope":"Ip","value":"2001:db8::8"},
    {"type":"ban","scope":"Range","value":"2001:db8:1::/48","duration":"90.5s"}
]}"#;

/// Runs a command with `input`; its standard output.
fn run(command: &mut Command, input: &str) -> String {
    let file = folder().join("input");
    fs::write(&file, input).expect("a file can be written");
    let command = command.stdin(Stdio::from(fs::File::open(file).expect("it is there")));
    let output = command.output().expect("it runs; `cargo xtask test` installs it");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn convert(list: &str, to: &str) -> String {
    run(Command::new(binary()).args(["deny", "convert", "-", "--to", to]), list)
}

/// Prefixes in order, each with its hours, rounded up.
fn entries(list: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&convert(list, "json")).expect("JSON");
    let entry = |entry: &serde_json::Value| {
        let seconds = entry["duration"].as_str().map(|text| text.trim_end_matches('s').parse::<f64>());
        let hours = seconds.map(|seconds| (seconds.expect("seconds") / 3600.0).ceil());
        format!("{} {}", entry["value"].as_str().unwrap_or("?"), hours.unwrap_or(0.0))
    };
    json["new"].as_array().expect("decisions").iter().map(entry).collect()
}

#[test]
fn nft_and_ipset_take_what_is_written_for_them_and_print_it_again() {
    if Kernel::load().is_none() {
        return;
    }
    let host = Host::new("ptlists", 214).expect("a namespace can be made");
    let within = |command: &[&str], input: &str| {
        run(Command::new("ip").args(["netns", "exec", &host.name]).args(command), input)
    };
    within(&["nft", "-f", "-"], &convert(LIST, "nft"));
    let expected = ["0.0.0.0/0 1", "2001:db8::7 876000", "2001:db8::8 0", "2001:db8:1::/48 1"];
    assert_eq!(entries(&within(&["nft", "list", "ruleset"], "")), expected);
    assert_eq!(entries(&within(&["nft", "-j", "list", "ruleset"], "")), expected);

    within(&["ipset", "restore"], &convert(LIST, "ipset"));
    let expected = [
        "0.0.0.0/1 1",
        "128.0.0.0/1 1",
        "192.0.2.7 597",
        "2001:db8::7 597",
        "2001:db8::8 0",
        "2001:db8:1::/48 1",
    ];
    assert_eq!(entries(&within(&["ipset", "save"], "")), expected);
}
