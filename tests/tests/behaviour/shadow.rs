//! Bans that only count: who is marked, what is reported, and how one is armed.

use tests::curl::{Answer, curl};
use tests::gateway::Gateway;

use crate::api_keys::{KEY, keys, sha256};

const FROM: &str = "X-Forwarded-For: 203.0.113.9";

/// A gateway without a kernel stage, whose clients are told apart by what a trusted proxy says.
fn gateway() -> Gateway {
    Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.1/32\"]\n\
             [listen.main]\naddress = \"0.0.0.0:{port}\"\n{}\
             [route.open]\nmatch = \"/open\"\nrespond = {{ status = 200 }}\n\
             [route.mine]\nmatch = \"/mine\"\nrespond = {{ status = 200 }}\nauth = \"partners\"\n\
             [route.login]\nmatch = \"/login\"\nrespond = {{ status = 204 }}\nlogin = true\n",
            folder.display(),
            keys("partners", "alice", &sha256(KEY))
        )
    })
}

fn get(gateway: &Gateway, path: &str, fields: &[&str]) -> Answer {
    let mut arguments = vec!["-H", FROM];
    fields.iter().for_each(|field| arguments.extend(["-H", field]));
    let url = gateway.url(path);
    arguments.push(&url);
    curl(&arguments)
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_a_shadow_ban_would_keep_out_is_marked_and_counted_until_it_is_armed() {
    let gateway = gateway();
    assert_eq!(said(&gateway.cli(&["bans", "--shadow"])), "nothing is observed\n");
    let observed = gateway.cli(&["ban", "--observe", "203.0.113.9", "--for", "10m"]);
    assert!(observed.status.success(), "{}", said(&observed));
    assert!(said(&observed).starts_with("observing 203.0.113.9 for 10m (ban 1)"), "{}", said(&observed));
    assert_eq!(gateway.cli_json(&["bans"])["bans"][0]["enforced"], "observed");

    let key = format!("X-API-Key: {KEY}");
    for (path, fields, status) in [
        ("/open", &[][..], 200),
        ("/mine", &[&*key], 200),
        ("/mine", &[&*key], 200),
        ("/mine", &[], 401),
        ("/login", &[&*key], 204),
        ("/nowhere", &[], 404),
        ("/%zz", &[], 400),
    ] {
        assert_eq!(get(&gateway, path, fields).status, status, "{path}");
    }
    assert_eq!(curl(&[&gateway.url("/open")]).status, 200, "somebody else");

    let report = gateway.cli_json(&["bans", "--shadow"]);
    let shadow = &report["shadows"][0];
    let count = |name: &str| shadow[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"));
    assert_eq!([count("good"), count("logins"), count("refused")], [2, 1, 1], "{report}");
    // What is malformed came from the proxy as far as anybody can tell: its fields are not believed.
    assert_eq!(count("requests"), 6, "{report}");
    assert_eq!(report["total"]["requests"], 6);
    let lines = gateway.access_log_of(8);
    let marked = lines.iter().filter(|line| line["shadow.ban"] == 1).count();
    assert_eq!(marked, 6, "{lines:?}");
    let (_, metrics) = gateway.operations("/metrics");
    for line in [
        "portcullis_shadow_requests_total{outcome=\"good\"} 2",
        "portcullis_shadow_requests_total{outcome=\"login\"} 1",
        "portcullis_shadow_requests_total{outcome=\"refused\"} 1",
        "portcullis_shadow_requests_total{outcome=\"other\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    let refused = gateway.cli(&["promote", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("2 of them good and 1 at a login"), "{}", said(&refused));
    let dry = gateway.cli(&["promote", "1", "--force", "--dry-run"]);
    assert!(said(&dry).contains("would ban 203.0.113.9"), "{}", said(&dry));
    assert_eq!(get(&gateway, "/open", &[]).status, 200, "nothing has changed");
    let promoted = gateway.cli(&["promote", "1", "--force"]);
    assert!(said(&promoted).contains("undo with: portcullis unban 1"), "{}", said(&promoted));
    assert_eq!(get(&gateway, "/open", &[]).header("x-gateway-reason"), "banned");
    assert_eq!(gateway.cli(&["promote", "1"]).status.code(), Some(1), "it does not only count");
    assert_eq!(gateway.cli_json(&["bans", "--shadow"])["over"]["requests"], 7);
    assert!(gateway.cli(&["unban", "1"]).status.success());
    assert_eq!(get(&gateway, "/open", &[]).status, 200);
}

#[test]
fn the_report_survives_a_restart_and_the_ban_goes_on_counting() {
    let mut gateway = gateway();
    assert!(gateway.cli(&["ban", "--observe", "203.0.113.0/24"]).status.success());
    assert_eq!(get(&gateway, "/login", &[]).status, 204);
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.wait(), Some(0));
    gateway.restart();
    assert_eq!(get(&gateway, "/login", &[]).status, 204);
    let report = gateway.cli_json(&["bans", "--shadow"]);
    assert_eq!(
        (&report["shadows"][0]["logins"], &report["shadows"][0]["id"]),
        (&2.into(), &1.into()),
        "{report}"
    );
    let banned = gateway.cli(&["ban", "203.0.113.0/24"]);
    assert!(said(&banned).contains("replaces ban 1"), "{}", said(&banned));
    let held = gateway.cli(&["ban", "--observe", "203.0.113.0/24"]);
    assert!(!held.status.success() && said(&held).contains("portcullis unban 2"), "{}", said(&held));
}

#[test]
fn a_rule_is_armed_where_the_api_keeps_it_and_left_to_the_hand_that_wrote_it_elsewhere() {
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.1/32\"]\n\
             [listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.open]\nmatch = \"/open\"\nrespond = {{ status = 200 }}\n\
             [shield]\n\
             [ban.written]\nwhen = \"9 denials in 10s\"\nfor = \"10m\"\nmode = \"observe\"\n",
            folder.display()
        )
    });
    let set = [
        "config",
        "set",
        "ban",
        "scan",
        "--toml",
        "when = \"3 denials in 10s\"\nfor = \"10m\"\nmode = \"observe\"",
    ];
    let made = gateway.cli(&set);
    assert!(made.status.success(), "{}", said(&made));
    let written = gateway.cli(&["promote", "written"]);
    assert_eq!(written.status.code(), Some(1));
    assert!(said(&written).contains("[ban.written] stands at gateway.toml:"), "{}", said(&written));
    let unknown = gateway.cli(&["promote", "nobody"]);
    assert!(said(&unknown).contains("no rule `nobody` is in force"), "{}", said(&unknown));
    let dry = gateway.cli(&["promote", "scan", "--dry-run"]);
    assert!(dry.status.success() && said(&dry).contains("its bans would have dropped"), "{}", said(&dry));
    let managed = || std::fs::read_to_string(gateway.folder.join("conf.d/managed.toml")).unwrap();
    assert!(managed().contains("mode = \"observe\""), "nothing has changed");

    let promoted = gateway.cli(&["promote", "scan"]);
    assert!(said(&promoted).contains("undo with: portcullis config set ban scan"), "{}", said(&promoted));
    assert!(managed().contains("mode = \"enforce\""), "{}", managed());
    let again = gateway.cli(&["promote", "scan"]);
    assert!(said(&again).contains("there is nothing to promote"), "{}", said(&again));
}
