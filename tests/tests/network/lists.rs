//! Lists that are written for nft and ipset, taken by those, and read from what they print.

use std::fs;
use std::process::{Command, Stdio};

use std::time::Duration;

use gateway_userspace::demo::network::Host;
use tests::gateway::{binary, folder};
use tests::kernel::Kernel;

use crate::stage::Stage;

const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n";
const SOON: Duration = Duration::from_millis(700);

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

#[test]
fn who_is_on_a_list_is_dropped_by_the_kernel_over_a_crash_and_until_the_list_ends() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(60, 2, "", ROUTES);
    assert!(stage.connects(0, SOON) && stage.connects(1, SOON));
    let file = folder().join("bots.txt");
    let import = |stage: &Stage, listed: &str, more: &[&str]| {
        fs::write(&file, listed).expect("a file can be written");
        let path = file.display().to_string();
        let output = stage.gateway.cli(&[&["deny", "import", &path, "--as", "bots"][..], more].concat());
        assert!(output.status.success(), "{output:?}");
    };
    import(&stage, &format!("{}\n203.0.113.0/24\n2001:db8::/64\n", stage.address(0)), &[]);
    assert!(!stage.connects(0, SOON), "it is dropped");
    assert!(stage.connects(1, SOON));
    let list = |stage: &Stage| stage.gateway.cli_json(&["deny", "list"])["lists"][0].clone();
    let told = list(&stage);
    assert_eq!((&told["entries"], &told["without_room"]), (&3.into(), &0.into()), "{told}");
    assert!(told["packets"].as_u64().is_some_and(|packets| packets > 0), "{told}");
    assert_eq!(stage.gateway.cli(&["bans", "--verify"]).status.code(), Some(0));

    stage.gateway.kill();
    assert!(!stage.connects(0, SOON), "with nobody there");
    stage.gateway.restart();
    assert!(!stage.connects(0, SOON));
    assert_eq!(list(&stage)["id"], told["id"], "the same list");
    assert_eq!(stage.gateway.cli(&["bans", "--verify"]).status.code(), Some(0));

    // A ban goes before the list, and the list is there when it ends.
    let address = stage.address(0).to_string();
    assert!(stage.gateway.cli(&["ban", &address, "--for", "10m"]).status.success());
    assert!(stage.gateway.cli(&["unban", &address]).status.success());
    assert!(!stage.connects(0, SOON), "the list still has it");

    import(&stage, &format!("{}\n", stage.address(1)), &["--for", "8s"]);
    assert!(stage.connects(0, SOON), "it is not on the list any more");
    let out = stage.connects(1, SOON);
    std::thread::sleep(Duration::from_secs(9));
    assert!(stage.connects(1, SOON) && !out, "its time is over");
    import(&stage, &address, &["--observe"]);
    assert!(stage.connects(0, SOON), "it is only counted");
    import(&stage, &address, &[]);
    assert!(!stage.connects(0, SOON));
    assert!(stage.gateway.cli(&["deny", "remove", "bots"]).status.success());
    assert!(stage.connects(0, SOON));
    assert_eq!(stage.gateway.cli(&["bans", "--verify"]).status.code(), Some(0));
}
