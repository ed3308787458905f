//! Many clients behind one address, one of them an abuser.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use tests::curl::{Answer, curl_by};
use tests::kernel::Kernel;
use tests::router::Router;

use crate::stage::Stage;

/// A gateway, and clients whom it sees under one address. Those with a key have `[auth.keys]`, member 0 has none.
pub struct Crowd {
    router: Router,
    /// The gateway; its only host is the router.
    pub stage: Stage,
}

impl Crowd {
    /// `count` members behind the router 198.18.`net`.2.
    pub fn new(net: u8, count: u8, shield: &str, rest: &str) -> Crowd {
        let mut keys = String::from("[auth.keys]\napi-key = [\"header:X-API-Key\"]\n");
        for member in 1..count {
            keys.push_str(&format!("keys.member-{member} = \"sha256:{}\"\n", sha256(&key(member))));
        }
        let stage = Stage::new(net, 1, shield, &format!("{keys}{rest}"));
        Crowd { router: Router::behind(&stage.hosts[0], count), stage }
    }

    /// `GET path` by curl from a member, with its key unless it is member 0.
    pub fn get(&self, member: u8, path: &str) -> Answer {
        let url = format!("http://{}:{}{path}", self.stage.hosts[0].gateway, self.stage.gateway.port);
        let (address, field) =
            (self.router.address(member).to_string(), format!("X-API-Key: {}", key(member)));
        let arguments = ["--interface", &address, &url, "-H", &field];
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.router.inside, "curl", "--connect-timeout", "1"]);
        curl_by(&mut command, if member == 0 { &arguments[..3] } else { &arguments })
    }
}

fn key(member: u8) -> String {
    format!("k-{member:032}")
}

fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_crowd_that_is_never_banned_is_served_while_its_abuser_is_refused() {
    if Kernel::load().is_none() {
        return;
    }
    const MEMBERS: u8 = 50;
    let crowd = Crowd::new(
        186,
        MEMBERS,
        "ban = \"20 denials in 5m\"\nnever = [\"198.18.186.2\"]",
        "[limit.slow]\nrate = \"1/h\"\nby = \"address\"\n\
         [route.keyed]\nmatch = \"/keyed\"\nrespond = { status = 200 }\nauth = \"keys\"\n\
         [route.closed]\nmatch = \"/closed\"\nrespond = { status = 200 }\naccess = [\"deny all\"]\n\
         [route.slow]\nmatch = \"/slow\"\nrespond = { status = 200 }\nlimit = \"slow\"\n",
    );
    let gateway = &crowd.stage.gateway;
    assert_eq!(crowd.get(0, "/slow").status, 200, "what the limit lets pass");
    thread::scope(|scope| {
        let abuser = scope.spawn(|| {
            for (path, status) in [("/closed", 403), ("/slow", 429), ("/keyed", 401)].repeat(12) {
                assert_eq!(crowd.get(0, path).status, status, "{path}");
            }
        });
        for member in 1..MEMBERS {
            assert_eq!(crowd.get(member, "/keyed").status, 200, "member {member}");
        }
        abuser.join().expect("the abuser is refused, and never dropped");
    });
    for member in [1, MEMBERS - 1] {
        assert_eq!(crowd.get(member, "/keyed").status, 200, "member {member} afterwards");
    }

    let requests = 1 + 36 + usize::from(MEMBERS - 1) + 2;
    let lines = gateway.access_log_of(requests);
    assert_eq!(lines.len(), requests);
    let address = crowd.stage.address(0).to_string();
    assert!(lines.iter().all(|line| line["client.address"] == *address), "the gateway sees one address");
    let bans = gateway.cli_json(&["bans", "--ended"]);
    assert_eq!(bans["bans"].as_array().map(Vec::len), Some(0), "{bans}");
    let (_, metrics) = gateway.operations("/metrics");
    for verdict in ["denied_source", "denied_prefix", "over_packets", "over_syns"] {
        assert!(
            metrics.contains(&format!("portcullis_xdp_packets_total{{verdict=\"{verdict}\"}} 0\n")),
            "{metrics}"
        );
    }
}

#[test]
fn the_key_of_one_abuser_is_refused_and_forty_nine_others_behind_its_address_are_served() {
    if Kernel::load().is_none() {
        return;
    }
    const ABUSER: u8 = 50;
    let mut crowd = Crowd::new(
        187,
        ABUSER + 1,
        "ban = \"20 denials in 5m\"",
        "[limit.each]\nrate = \"5/h\"\n\
         [route.api]\nmatch = \"/api\"\nrespond = { status = 200 }\nauth = \"keys\"\nlimit = \"each\"\n",
    );
    let served = |crowd: &Crowd| {
        for member in 1..ABUSER {
            assert_eq!(crowd.get(member, "/api").status, 200, "member {member}");
        }
    };
    served(&crowd);
    for request in 0..5 + 20 {
        let status = if request < 5 { 200 } else { 429 };
        assert_eq!(crowd.get(ABUSER, "/api").status, status, "request {request}");
    }
    until(403, || crowd.get(ABUSER, "/api").status);
    served(&crowd);
    let bans = crowd.stage.gateway.cli_json(&["bans"]);
    let ban = &bans["bans"][0];
    assert_eq!(ban["target"], "client keys/member-50", "{ban}");
    assert_eq!((&ban["enforced"], &ban["others"]["good"]), (&"gateway".into(), &49.into()), "{ban}");
    let entries = |crowd: &Crowd| crowd.stage.gateway.cli_json(&["status"])["kernel"]["entries"].clone();
    assert_eq!(entries(&crowd), 0);

    let address = crowd.stage.address(0).to_string();
    let refused = crowd.stage.gateway.cli(&["ban", &address]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let cut = "would cut 50 good clients: keys/member-1, keys/member-10 and 48 more";
    assert!(!refused.status.success() && said.contains(cut), "{said}");
    let found = crowd.stage.gateway.cli_json(&["offender", "keys/member-50"]);
    assert_eq!(
        (&found["sources"][0], &found["bans"][0]["id"]),
        (&format!("{address}/32").into(), &ban["id"])
    );

    // What `unban` prints bans the client again, word for word.
    let lifted = crowd.stage.gateway.cli_json(&["unban", "1"]);
    let undo = lifted["undo"].as_str().expect("one ban was lifted").to_owned();
    assert!(undo.starts_with("portcullis ban --client keys/member-50 --for "), "{undo}");
    let words: Vec<&str> = undo.split(' ').skip(1).collect();
    assert!(crowd.stage.gateway.cli(&words).status.success(), "{undo}");
    assert_eq!(crowd.get(ABUSER, "/api").status, 403);
    assert!(crowd.stage.gateway.cli(&["unban", "2"]).status.success());

    // A restart forgets who was there. Then the abuser is alone, and the kernel is the tool that cuts nobody else.
    crowd.stage.gateway.restart();
    until(429, || crowd.get(ABUSER, "/api").status);
    for _ in 0..19 {
        assert_eq!(crowd.get(ABUSER, "/api").status, 429);
    }
    let asked = Instant::now();
    while entries(&crowd) != 1 {
        assert!(asked.elapsed() < Duration::from_secs(5), "the address is banned");
    }
    assert!(!crowd.stage.connects(0, Duration::from_millis(700)), "a SYN of the address must time out");
    assert_eq!(crowd.get(1, "/api").exit, 28, "curl's code for a timeout");
}

/// The keeper decides after the answer has gone.
fn until(status: u16, ask: impl Fn() -> u16) {
    let asked = Instant::now();
    while ask() != status {
        assert!(asked.elapsed() < Duration::from_secs(10), "there is no {status}");
    }
}
