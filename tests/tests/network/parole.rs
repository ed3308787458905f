//! The last third of a ban, over real packets: who behaves is back within an interval, who does not gets one connection
//! and a longer ban.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use gateway_userspace::demo::network::Host;
use tests::curl::curl_by;
use tests::gateway::Gateway;
use tests::kernel::Kernel;

use crate::stage::Stage;

/// Parole in the last six seconds of eighteen, once a second.
const SHIELD: &str = "ban = \"20 denials in 10s\"\nfor = \"18s\"\nparole = \"1s\"";
const BEGINS: Duration = Duration::from_secs(12);
const WINDOW_S: usize = 6;
const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n\
                      [route.closed]\nmatch = \"/closed\"\nrespond = { status = 200 }\naccess = [\"deny all\"]\n";

/// Gets a host banned, and says when that began at the earliest.
fn banned(stage: &Stage, host: usize) -> Instant {
    let start = Instant::now();
    for denial in 1..=20 {
        assert_eq!(stage.get(host, "/closed").status, 403, "denial {denial}");
    }
    let asked = Instant::now();
    while stage.connects(host, Duration::from_millis(300)) {
        assert!(asked.elapsed() < Duration::from_secs(10), "banned by now");
    }
    start
}

/// The last instant at which a ban is in force for certain: its time is told in whole seconds, and it began after the denials.
fn last_of(stage: &Stage, host: usize) -> Instant {
    let asked = Instant::now();
    let ban = ban_of(stage, host);
    let left_s = ban["left_s"].as_u64().unwrap_or_else(|| panic!("it ends: {ban}"));
    asked + Duration::from_secs(left_s.saturating_sub(1))
}

fn ban_of(stage: &Stage, host: usize) -> serde_json::Value {
    let bans = stage.gateway.cli_json(&["bans", "--ended"]);
    let target = stage.address(host).to_string();
    let found = bans["bans"].as_array().unwrap().iter().find(|ban| ban["target"] == target.as_str());
    found.unwrap_or_else(|| panic!("no ban of {target} in {bans}")).clone()
}

#[test]
fn a_client_that_has_recovered_is_back_and_an_abuser_gets_one_connection_and_a_longer_ban() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(216, 2, SHIELD, ROUTES);
    let (recovered, abuser) = (0, 1);
    let starts = [banned(&stage, recovered), banned(&stage, abuser)];
    let parole = ban_of(&stage, recovered)["parole"].clone();
    assert_eq!(parole["every_s"], 1, "{parole}");

    // The first answer each of them gets, and when.
    let first = |host: usize, path: &str| loop {
        let answer = stage.get(host, path);
        if answer.exit == 0 {
            return (answer, starts[host].elapsed());
        }
        assert!(starts[host].elapsed() < Duration::from_secs(60), "nobody came through");
    };
    let (good, after) = first(recovered, "/open");
    assert!(good.status == 200 && after >= BEGINS, "{} after {after:?}", good.status);
    let (bad, after) = first(abuser, "/closed");
    assert!(bad.status == 403 && after >= BEGINS, "{} after {after:?}", bad.status);
    assert_eq!(bad.header("connection"), "close", "the visit is over");

    let released = Instant::now();
    while ban_of(&stage, recovered)["state"] != "paroled" {
        assert!(released.elapsed() < Duration::from_secs(5), "{}", ban_of(&stage, recovered));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(stage.get(recovered, "/open").status, 200, "and again at once");
    let ban = ban_of(&stage, abuser);
    assert_eq!((&ban["state"], &ban["offence"]), (&"active".into(), &2.into()), "{ban}");
    assert!(ban["renewed"].is_string() && ban["left_s"].as_u64().is_some_and(|left| left > 18), "{ban}");
    assert!(!stage.connects(abuser, Duration::from_secs(3)), "an interval later nobody comes through");
    let (_, metrics) = stage.gateway.operations("/metrics");
    for line in [
        "portcullis_paroles_total{outcome=\"released\"} 1",
        "portcullis_paroles_total{outcome=\"renewed\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn who_only_knocks_gets_one_connection_through_in_each_interval() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(218, 1, SHIELD, ROUTES);
    banned(&stage, 0);
    let last = last_of(&stage, 0);
    let target = SocketAddr::from((stage.hosts[0].gateway, stage.gateway.port));
    let through = stage.hosts[0]
        .run(move || {
            let mut through = 0;
            while Instant::now() < last {
                through +=
                    usize::from(TcpStream::connect_timeout(&target, Duration::from_millis(100)).is_ok());
            }
            through
        })
        .unwrap();
    assert!((1..=WINDOW_S + 1).contains(&through), "{through} connections in {WINDOW_S} intervals");
}

#[test]
fn by_a_management_port_one_connection_comes_through_in_each_interval_too() {
    if Kernel::load().is_none() {
        return;
    }
    const MANAGEMENT: u16 = 18_240;
    let shield = format!("{SHIELD}\nmanagement-ports = [22, {MANAGEMENT}]");
    let rest = format!(
        "[listen.management]\naddress = \"0.0.0.0:{MANAGEMENT}\"\n{ROUTES}\
         [route.gone]\nmatch = \"/gone\"\nrespond = {{ status = 410 }}\n"
    );
    let stage = Stage::new(240, 1, &shield, &rest);
    banned(&stage, 0);
    let last = last_of(&stage, 0);
    let host = &stage.hosts[0];
    let url = format!("http://{}:{MANAGEMENT}/gone", host.gateway);
    let (mut through, mut refused) = (0, 0);
    // What is answered with 410 neither behaves nor not.
    while Instant::now() < last {
        let mut command = std::process::Command::new("ip");
        match curl_by(command.args(["netns", "exec", &host.name, "curl"]), &[&url]).status {
            410 => through += 1,
            403 => refused += 1,
            other => panic!("{other}"),
        }
    }
    // The first may come half an interval early, and the last one is answered when the ban is over.
    assert!((1..=WINDOW_S + 3).contains(&through), "{through} connections in {WINDOW_S} intervals");
    assert!(refused > through, "{refused} were refused");
}

#[test]
fn without_a_kernel_stage_one_request_comes_through_and_is_judged() {
    if Kernel::load().is_none() {
        return;
    }
    let host = Host::new("pt219", 219).expect("a client host can be made");
    let gateway = Gateway::start(&format!("[shield]\n{SHIELD}\n{ROUTES}"));
    let get = |path: &str| {
        let url = format!("http://{}:{}{path}", host.gateway, gateway.port);
        curl_by(std::process::Command::new("ip").args(["netns", "exec", &host.name, "curl"]), &[&url])
    };
    let start = Instant::now();
    let asked = loop {
        let answer = get("/closed");
        if answer.header("x-gateway-reason") == "banned" {
            break answer;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{}", answer.status);
    };
    assert_eq!(asked.status, 403);
    while get("/open").status == 403 {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() >= BEGINS, "{:?}", start.elapsed());
    let asked = Instant::now();
    while gateway.cli_json(&["bans", "--ended"])["bans"][0]["state"] != "paroled" {
        assert!(asked.elapsed() < Duration::from_secs(5), "{}", gateway.cli_json(&["bans", "--ended"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(get("/open").status, 200);
}
