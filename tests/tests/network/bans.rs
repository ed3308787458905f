//! From a denial to a drop, and back.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use gateway_userspace::dataplane::{Dataplane, DenyEntry, Options};
use ipnet::IpNet;
use tests::kernel::Kernel;

use crate::stage::Stage;

const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n\
                      [route.closed]\nmatch = \"/closed\"\nrespond = { status = 200 }\naccess = [\"deny all\"]\n";
const SOON: Duration = Duration::from_millis(700);

#[test]
fn the_denial_that_fills_the_rule_is_followed_by_silence_while_others_are_served() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(100, 2, "ban = \"20 denials in 10s\"\nfor = \"10m\"", ROUTES);
    let mut ticket = String::new();
    for denial in 1..=20 {
        let answer = stage.get(0, "/closed");
        assert_eq!(answer.status, 403, "denial {denial}");
        ticket = answer.header("x-ban-ticket").to_owned();
    }
    assert_eq!(stage.get(1, "/open").header("x-ban-ticket"), "", "who is served has none");
    std::thread::sleep(Duration::from_millis(50));
    assert!(!stage.connects(0, SOON), "the abuser's SYN after 20 denials must time out");
    assert_eq!(stage.get(0, "/closed").exit, 28, "curl's code for a timeout");
    assert_eq!(stage.get(1, "/open").status, 200, "the polite client is served");

    let bans = stage.gateway.cli_json(&["bans"]);
    let ban = &bans["bans"][0];
    assert_eq!(ban["prefix"], format!("{}/32", stage.address(0)));
    assert_eq!(ban["enforced"], "kernel");
    assert_eq!(ban["evidence"].as_array().map(Vec::len), Some(20), "{ban}");
    assert_eq!(ban["evidence"][0]["path"], "/closed");
    assert!(ban["packets"].as_u64().is_some_and(|packets| packets >= 2), "{ban}");
    let found = stage.gateway.cli_json(&["bans", "--ticket", &ticket]);
    assert_eq!(found["bans"][0]["id"], ban["id"], "the last answer's ticket finds the ban");
    assert_eq!(stage.gateway.cli_json(&["bans", "show", "1"])["bans"][0]["id"], ban["id"]);
    assert!(!stage.gateway.cli(&["bans", "--ticket", "nobody-s"]).status.success());

    let told = Instant::now();
    let line = format!("ban {} drops its first packet on CPU ", ban["id"]);
    while !stage.gateway.said().lines().any(|said| said.contains(&line) && said.contains("kernel")) {
        assert!(told.elapsed() < Duration::from_secs(5), "the log tells that the ban bites");
        std::thread::sleep(Duration::from_millis(50));
    }

    let unbanned = Instant::now();
    assert!(stage.gateway.cli(&["unban", &stage.address(0).to_string()]).status.success());
    assert!(stage.connects(0, Duration::from_secs(2)));
    println!("from the unban command to a connection: {:?}", unbanned.elapsed());
    assert_eq!(stage.get(0, "/open").status, 200);
}

#[test]
fn nineteen_denials_ban_nobody() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(105, 1, "ban = \"20 denials in 10s\"", ROUTES);
    for _ in 0..19 {
        stage.get(0, "/closed");
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(stage.connects(0, SOON));
}

#[test]
fn a_restarted_gateway_knows_its_bans_and_can_lift_them() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(115, 1, "ban = \"20 denials in 10s\"", ROUTES);
    for _ in 0..20 {
        stage.get(0, "/closed");
    }
    stage.gateway.restart();
    assert!(!stage.connects(0, SOON));
    let bans = stage.gateway.cli_json(&["bans"]);
    assert_eq!(
        bans["bans"][0]["evidence"].as_array().map(Vec::len),
        Some(20),
        "the receipt survives: {bans}"
    );
    assert!(stage.gateway.cli(&["unban", &stage.address(0).to_string()]).status.success());
    assert!(stage.connects(0, Duration::from_secs(2)));
}

#[test]
fn observe_mode_counts_and_lets_pass() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(120, 1, "mode = \"observe\"\nban = \"20 denials in 10s\"", ROUTES);
    for _ in 0..25 {
        assert_eq!(stage.get(0, "/closed").status, 403);
    }
    assert!(stage.connects(0, SOON));
    let ban = stage.gateway.cli_json(&["bans"])["bans"][0].clone();
    assert_eq!(ban["enforced"], "observed", "{ban}");
    assert!(ban["packets"].as_u64().is_some_and(|packets| packets > 0), "{ban}");
}

#[test]
fn a_prefix_ban_and_an_allowed_host_within_it() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(124, 2, "", ROUTES);
    let gateway = &stage.gateway;
    // The gateway's own addresses lie within it, so it takes force, and they stay reachable.
    assert_eq!(gateway.cli(&["ban", "198.18.124.0/23", "--for", "1m"]).status.code(), Some(1));
    assert!(gateway.cli(&["ban", "198.18.124.0/23", "--for", "1m", "--force"]).status.success());
    assert!(!stage.connects(0, SOON));
    assert!(!stage.connects(1, SOON));
    assert!(gateway.cli(&["allow", &stage.address(1).to_string()]).status.success());
    assert!(stage.connects(1, Duration::from_secs(2)));
    assert!(!stage.connects(0, SOON));
    assert!(gateway.cli(&["unban", "198.18.124.0/23"]).status.success());
    assert!(stage.connects(0, Duration::from_secs(2)));
}

#[test]
fn a_ban_that_would_lock_the_operator_out_is_refused() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(128, 1, "never = [\"198.18.128.0/24\"]\nban = \"20 denials in 10s\"", ROUTES);
    let refused = stage.gateway.cli(&["ban", &stage.address(0).to_string()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("never"),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    for wide in ["0.0.0.0/0", "127.0.0.1", "198.18.128.1"] {
        assert_eq!(stage.gateway.cli(&["ban", wide]).status.code(), Some(1), "{wide}");
    }
    for _ in 0..25 {
        assert_eq!(stage.get(0, "/closed").status, 403, "refused at layer 7, never banned");
    }
}

#[test]
fn the_packet_budget_sheds_and_never_bans() {
    if Kernel::load().is_none() {
        return;
    }
    let stage =
        Stage::new(132, 1, "packets = \"20/s\"\npacket-burst = 40\nban = \"20 denials in 10s\"", ROUTES);
    let host = &stage.hosts[0];
    let target = std::net::SocketAddr::from((host.gateway, 9));
    host.run(move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..8_000 {
            let _ = socket.send_to(b"x", target);
        }
    })
    .unwrap();
    let (_, metrics) = stage.gateway.operations("/metrics");
    let dropped: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("portcullis_xdp_packets_total{") && line.contains("over_packets"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(dropped >= 4_000.0, "{metrics}");
    assert!(metrics.contains("portcullis_xdp_bytes_total{verdict=\"over_packets\"}"), "{metrics}");
    let drift: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("portcullis_bans_drift{kind=")).collect();
    assert!(drift.len() == 6 && drift.iter().all(|line| line.ends_with(" 0")), "{metrics}");
    let asked = Instant::now();
    let shed = loop {
        let top = stage.gateway.cli_json(&["top"]);
        if let Some(shed) = top["shed"].as_array().and_then(|shed| shed.first()) {
            break shed.clone();
        }
        assert!(asked.elapsed() < Duration::from_secs(5), "top names the source over budget: {top}");
    };
    assert_eq!(shed["source"], format!("{}/32", stage.address(0)));
    assert_eq!(shed["reason"], "over_packets");
    let estimated = shed["packets_estimated"].as_f64().unwrap_or_default();
    // One in 1024 is sampled on each CPU, the first included.
    assert!((estimated - dropped).abs() <= 4.0 * 1024.0, "{estimated} of {dropped}");
    assert_eq!(stage.gateway.cli_json(&["bans"])["bans"].as_array().map(Vec::len), Some(0));
    std::thread::sleep(Duration::from_secs(3));
    assert!(stage.connects(0, Duration::from_secs(2)), "the budget fills again");
}

#[test]
fn an_interface_that_goes_away_is_told_by_readyz_and_the_metrics_until_it_is_back() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(140, 2, "", ROUTES);
    let lost = &stage.hosts[1];
    let interface = lost.interface.as_str();
    let ip = |command: &str| {
        let status = std::process::Command::new("ip").args(command.split(' ')).status();
        assert!(status.is_ok_and(|status| status.success()), "ip {command}");
    };
    let becomes = |code: u16, ready: &str, metric: &str| {
        let asked = Instant::now();
        loop {
            let (status, text) = stage.gateway.operations("/readyz?verbose");
            let (_, metrics) = stage.gateway.operations("/metrics");
            if status == code && text.contains(ready) && metrics.contains(metric) {
                return;
            }
            assert!(asked.elapsed() < Duration::from_secs(5), "{status} {text}\n{metrics}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let attached = format!("portcullis_xdp_attached{{interface=\"{interface}\",mode=\"native\"}} 1");
    becomes(200, "[+] kernel: attached", &attached);
    ip(&format!("link del {interface}"));
    let gone = format!("portcullis_xdp_attached{{interface=\"{interface}\",mode=\"none\"}} 0");
    becomes(503, &format!("[-] kernel: lost: {interface}: the interface is gone"), &gone);
    let status = stage.gateway.cli_json(&["status"]);
    assert_eq!(status["kernel"]["lost"][0]["interface"], interface, "{status}");
    assert_eq!(status["kernel"]["attachments"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(stage.get(0, "/open").status, 200, "the other one is served and guarded");
    ip(&format!("link add {interface} type veth peer name {}1 netns {}", lost.name, lost.name));
    becomes(200, "[+] kernel: attached", &attached);
}

#[test]
fn a_gateway_without_shield_says_what_an_earlier_one_left_and_how_to_take_it_off() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(136, 1, "", ROUTES);
    stage.gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(stage.gateway.wait(), Some(0));
    let way_out = format!("rm -r {}", stage.pins);
    assert_eq!(stage.gateway.said().matches(&way_out).count(), 1, "{}", stage.gateway.said());
    let port = stage.gateway.port;
    stage.gateway.write_configuration(&format!(
        "[listen.main]\naddress = \"0.0.0.0:{port}\"\n[shield]\ninterfaces = []\npins = {:?}\n{ROUTES}",
        stage.pins
    ));
    stage.gateway.restart();
    assert_eq!(stage.gateway.said().matches(&way_out).count(), 2, "{}", stage.gateway.said());
    std::fs::remove_dir_all(&stage.pins).unwrap();
    stage.gateway.restart();
    assert_eq!(stage.gateway.said().matches(&way_out).count(), 2, "nothing is left");
}

#[test]
fn what_has_no_room_in_the_kernel_is_refused_by_the_gateway_and_readyz_says_so() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(146, 1, "capacity = 1024", ROUTES);
    stage.gateway.kill();
    let options = Options { pin_root: stage.pins.clone().into(), deny_capacity: 1024, ..Options::default() };
    let mut dataplane = Dataplane::load(&options).unwrap();
    let other = |number: u32| IpNet::from(IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number)));
    let entries: Vec<_> = (0..1024).map(|number| (other(number), DenyEntry::forever(number + 1))).collect();
    dataplane.deny_many(&entries).unwrap();
    drop(dataplane);
    stage.gateway.restart();

    let full = "[+] kernel: degraded: attached: ";
    let (status, text) = stage.gateway.operations("/readyz?verbose");
    assert!(
        status == 200 && text.contains(full) && text.contains("IPv4 addresses (1024)"),
        "{status} {text}"
    );
    let (_, metrics) = stage.gateway.operations("/metrics");
    assert!(metrics.contains("portcullis_denylist_entries{family=\"ipv4\"} 1024"), "{metrics}");
    assert!(metrics.contains("portcullis_denylist_capacity{family=\"ipv6\"} 1024"), "{metrics}");
    let shown = stage.gateway.cli_json(&["status"]);
    assert_eq!(shown["kernel"]["full"][0], "IPv4 addresses (1024)", "{shown}");

    let address = stage.address(0).to_string();
    let banned = stage.gateway.cli(&["ban", &address, "--for", "10m"]);
    let said = String::from_utf8_lossy(&banned.stdout).into_owned();
    assert!(banned.status.success() && said.contains("refused by the gateway only"), "{said}");
    assert_eq!(stage.get(0, "/open").status, 403);
    for number in 0..2 {
        assert!(stage.gateway.cli(&["unban", &other(number).to_string()]).status.success());
    }
    let asked = Instant::now();
    while stage.connects(0, SOON) || stage.gateway.operations("/readyz?verbose").1.contains("degraded") {
        assert!(asked.elapsed() < Duration::from_secs(10), "the ban does not move into the kernel");
    }
}
