//! The abuse loop over IPv6: a client is a /64, no less and no more.

use tests::kernel::Kernel;

use crate::stage::{Stage, wait_for};

const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n\
                      [route.closed]\nmatch = \"/closed\"\nrespond = { status = 200 }\naccess = [\"deny all\"]\n";
/// curl's exit code for a timeout.
const TIMEOUT: i32 = 28;

#[test]
fn denials_of_one_address_ban_its_64_and_no_other() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::dual(184, 1, "ban = \"20 denials in 5m\"\nfor = \"10m\"", ROUTES);
    let host = &stage.hosts[0];
    let (abuser, beside, neighbour) = (host.address6(1, 2), host.address6(1, 0xbeef), host.address6(2, 2));
    for source in [abuser, beside, neighbour] {
        assert_eq!(stage.get6(0, source, "/open").status, 200, "{source}");
    }
    for denial in 1..=20 {
        assert_eq!(stage.get6(0, abuser, "/closed").status, 403, "denial {denial}");
    }
    let bans = || stage.gateway.cli_json(&["bans"])["bans"].clone();
    wait_for("the ban", || bans()[0].is_object());
    for source in [abuser, beside] {
        assert_eq!(stage.get6(0, source, "/open").exit, TIMEOUT, "{source}");
    }
    assert_eq!(stage.get6(0, neighbour, "/open").status, 200);
    assert_eq!(stage.get(0, "/open").status, 200, "nor is the host's IPv4 address");
    let ban = bans()[0].clone();
    assert_eq!(ban["prefix"], format!("{}/64", host.address6(1, 0)), "{ban}");
    assert_eq!(ban["enforced"], "kernel", "{ban}");
    assert_eq!(ban["evidence"].as_array().map(Vec::len), Some(20), "{ban}");
    assert!(ban["packets"].as_u64().is_some_and(|packets| packets >= 2), "{ban}");

    assert!(stage.gateway.cli(&["unban", &format!("{}/64", host.address6(1, 0))]).status.success());
    for source in [abuser, beside] {
        assert_eq!(stage.get6(0, source, "/open").status, 200, "{source}");
    }
}
