//! Bans of another program: fail2ban finds the abuser in a log, the kernel drops it.

use std::time::{Duration, Instant};

use tests::fail2ban::Fail2ban;
use tests::kernel::Kernel;

use crate::stage::Stage;

const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n";
const SOON: Duration = Duration::from_millis(700);
/// fail2ban looks at its logs each second.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ban of an address in force, if there is one.
fn ban(stage: &Stage, address: &str) -> Option<serde_json::Value> {
    let bans = stage.gateway.cli_json(&["bans"]);
    let prefix = format!("{address}/32");
    bans["bans"].as_array()?.iter().find(|ban| ban["prefix"] == *prefix).cloned()
}

/// The same, once it is there.
fn banned(stage: &Stage, fail2ban: &Fail2ban, address: &str) -> serde_json::Value {
    let mut found = None;
    wait(fail2ban, &format!("a ban of {address}"), || {
        found = ban(stage, address);
        found.is_some()
    });
    found.expect("it was waited for")
}

fn wait(fail2ban: &Fail2ban, what: &str, mut is_there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for: {what}\n{}", fail2ban.said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_fail2ban_bans_is_dropped_until_it_unbans() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(210, 2, "", ROUTES);
    let jails = [
        ("login", "maxretry = 3\nfindtime = 10m\nbantime = 10m"),
        ("scan", "maxretry = 1\nbantime = -1"),
        ("again", "maxretry = 1\nbantime = 2\nbantime.increment = true\nbantime.multipliers = 1 100"),
    ];
    let fail2ban = Fail2ban::start(&stage.gateway, &jails);
    let (abuser, polite) = (stage.address(0).to_string(), stage.address(1).to_string());

    fail2ban.failed("login", &abuser, 3);
    fail2ban.failed("login", &polite, 2);
    let found = banned(&stage, &fail2ban, &abuser);
    assert_eq!(
        (&found["reason"], &found["enforced"]),
        (&"fail2ban login".into(), &"kernel".into()),
        "{found}"
    );
    assert!(found["left_s"].as_u64().is_some_and(|left| (500..=600).contains(&left)), "{found}");
    assert!(!stage.connects(0, SOON));
    assert_eq!(stage.get(1, "/open").status, 200, "two failures of three");

    assert!(fail2ban.client(&["set", "login", "unbanip", &abuser]).is_some());
    assert_eq!(ban(&stage, &abuser), None);
    assert!(stage.connects(0, Duration::from_secs(2)));

    // What an operator has banned since is no business of fail2ban's.
    fail2ban.failed("login", &abuser, 3);
    banned(&stage, &fail2ban, &abuser);
    let reason = ["ban", &*abuser, "--reason", "mine"];
    assert!(stage.gateway.cli(&reason).status.success());
    assert!(fail2ban.client(&["set", "login", "unbanip", &abuser]).is_some());
    assert_eq!(ban(&stage, &abuser).expect("it stays")["reason"], "mine");
    assert!(stage.gateway.cli(&["unban", &abuser]).status.success());

    // For ever, and lifted by an operator before fail2ban does.
    fail2ban.failed("scan", &abuser, 1);
    let found = banned(&stage, &fail2ban, &abuser);
    assert_eq!(
        (&found["until"], &found["reason"]),
        (&serde_json::Value::Null, &"fail2ban scan".into()),
        "{found}"
    );
    assert!(stage.gateway.cli(&["unban", &abuser]).status.success());
    assert!(fail2ban.client(&["set", "scan", "unbanip", &abuser]).is_some());

    // Who comes back is banned for longer, which fail2ban finds out only after the ban.
    fail2ban.failed("again", &abuser, 1);
    banned(&stage, &fail2ban, &abuser);
    wait(&fail2ban, "the first ban is over", || ban(&stage, &abuser).is_none());
    fail2ban.failed("again", &abuser, 1);
    wait(&fail2ban, "the second ban is longer", || {
        ban(&stage, &abuser).is_some_and(|ban| ban["left_s"].as_u64() > Some(100))
    });
    let said = fail2ban.said();
    assert!(!said.contains("ERROR") && !said.contains("CRITICAL"), "{said}");
}

#[test]
fn what_the_gateway_refuses_is_in_fail2ban_s_log_and_what_it_cannot_hear_is_said_again() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(212, 2, "never = [\"198.18.213.0/24\"]", ROUTES);
    let fail2ban = Fail2ban::start(&stage.gateway, &[("login", "maxretry = 1\nbantime = 10m")]);
    let (abuser, spared) = (stage.address(0).to_string(), stage.address(1).to_string());
    let says = |text: &str| wait(&fail2ban, text, || fail2ban.said().contains(text));
    fail2ban.failed("login", &spared, 1);
    says("is never banned");
    assert_eq!(ban(&stage, &spared), None);

    stage.gateway.kill();
    fail2ban.failed("login", &abuser, 1);
    says(&format!("Ban {abuser}"));
    stage.gateway.restart();
    banned(&stage, &fail2ban, &abuser);
    assert!(!stage.connects(0, SOON));
}
