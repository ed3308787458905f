//! Bans that only count, over real packets: what is reported is what the same ban drops when it is armed.

use std::net::{SocketAddr, UdpSocket};

use tests::kernel::Kernel;

use crate::stage::Stage;

const KEY: &str = "k-0123456789abcdef0123456789abcdef";
/// SHA-256 of [`KEY`].
const DIGEST: &str = "2c7e395a07517c03b9fb8d47e12f67ed5e477676bb4ba24076fc422fa6a3f804";
/// Datagrams of one burst, and the bytes of each as the kernel counts them: Ethernet, IPv4, UDP and four of their own.
const BURST: u64 = 50;
const DATAGRAM_BYTES: u64 = 14 + 20 + 8 + 4;

/// Sends a burst that nobody answers but with ICMP.
fn burst(stage: &Stage) {
    let target = SocketAddr::from((stage.hosts[0].gateway, 9));
    stage.hosts[0]
        .run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            // The first one may find the answer to the one before: an error, and it is not sent then.
            (0..BURST).for_each(|_| while socket.send_to(b"ping", target).is_err() {});
        })
        .unwrap();
}

/// Packets and bytes of ban 1.
fn counted(stage: &Stage) -> (u64, u64) {
    let ban = stage.gateway.cli_json(&["bans", "1"])["bans"][0].clone();
    (ban["packets"].as_u64().unwrap(), ban["bytes"].as_u64().unwrap())
}

#[test]
fn a_known_mix_under_a_shadow_ban_is_the_report_and_the_armed_ban_drops_the_same_packets() {
    if Kernel::load().is_none() {
        return;
    }
    let routes = format!(
        "[auth.partners]\napi-key = [\"header:X-API-Key\"]\nkeys.alice = \"sha256:{DIGEST}\"\n\
         [route.open]\nmatch = \"/open\"\nrespond = {{ status = 200 }}\n\
         [route.mine]\nmatch = \"/mine\"\nrespond = {{ status = 200 }}\nauth = \"partners\"\n\
         [route.login]\nmatch = \"/login\"\nrespond = {{ status = 204 }}\nlogin = true\n"
    );
    let stage = Stage::new(222, 1, "", &routes);
    let address = stage.address(0).to_string();
    assert!(stage.gateway.cli(&["ban", "--observe", &address]).status.success());
    let key = ["-H", &format!("X-API-Key: {KEY}")];
    for (count, arguments, path, status) in
        [(3, &key[..], "/mine", 200), (1, &[], "/login", 204), (4, &[], "/mine", 401), (2, &[], "/open", 200)]
    {
        for _ in 0..count {
            assert_eq!(stage.get_with(0, arguments, path).status, status, "{path}");
        }
    }
    let report = stage.gateway.cli_json(&["bans", "--shadow"])["shadows"][0].clone();
    let requests = ["requests", "good", "logins", "refused"].map(|name| report[name].as_u64());
    assert_eq!(requests, [Some(10), Some(3), Some(1), Some(4)], "{report}");
    // Each connection has a SYN, an ACK, a request and a FIN at least.
    assert!(report["packets"].as_u64().is_some_and(|packets| packets >= 40), "{report}");

    let before = counted(&stage);
    burst(&stage);
    let observed = counted(&stage);
    assert_eq!(observed, (before.0 + BURST, before.1 + BURST * DATAGRAM_BYTES), "passed and counted");
    assert_eq!(stage.gateway.cli_json(&["bans", "--shadow"])["shadows"][0]["packets"], observed.0);
    assert_eq!(stage.gateway.cli(&["promote", "1"]).status.code(), Some(1), "it would have done harm");
    assert!(stage.gateway.cli(&["promote", "1", "--force"]).status.success());
    burst(&stage);
    assert_eq!(counted(&stage), (observed.0 + BURST, observed.1 + BURST * DATAGRAM_BYTES), "dropped");
    assert_eq!(stage.get(0, "/open").exit, 28, "curl's code for a timeout");
    let over = stage.gateway.cli_json(&["bans", "--shadow"])["over"].clone();
    assert_eq!(over["packets"], observed.0, "what it drops now is no shadow's any more: {over}");
}
