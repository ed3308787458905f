//! The last third of a ban, over real packets.

use std::time::{Duration, Instant};

use gateway_userspace::demo::network::Host;
use tests::curl::curl_by;
use tests::gateway::Gateway;
use tests::kernel::Kernel;

/// Parole in the last six seconds of eighteen, once a second.
const SHIELD: &str = "ban = \"20 denials in 10s\"\nfor = \"18s\"\nparole = \"1s\"";
const BEGINS: Duration = Duration::from_secs(12);
const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n\
                      [route.closed]\nmatch = \"/closed\"\nrespond = { status = 200 }\naccess = [\"deny all\"]\n";

#[test]
fn without_a_kernel_stage_one_request_comes_through_and_is_judged() {
    if Kernel::load().is_none() {
        return;
    }
    let host = Host::new("pt196", 196).expect("a client host can be made");
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
