//! What around this machine must never be banned: its own addresses, the next hop of its default routes, and the
//! peer of the SSH session that the gateway was started from.
//!
//! All of the network namespace of the calling thread: addresses by `getifaddrs`, routes from `/proc/thread-self/net`. A
//! file that is missing (no IPv6, no `/proc`) yields nothing: the list is a guard beside the configured one, not a
//! promise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::exempt::Because;

/// How much of a routing table is looked at; the default route of IPv4 is its first line.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything found now.
pub fn read() -> Vec<(IpNet, Because)> {
    let file = |name: &str| read_start(&format!("/proc/thread-self/net/{name}"));
    let mut found: Vec<(IpNet, Because)> = Vec::new();
    let mut add = |addresses: &mut dyn Iterator<Item = IpAddr>, because| {
        found.extend(addresses.map(|address| (address.into(), because)));
    };
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => add(&mut interfaces.iter().map(if_addrs::Interface::ip), Because::OwnAddress),
        Err(error) => {
            tracing::warn!(%error, "cannot see this machine's own addresses, so they may be banned")
        }
    }
    add(&mut next_hops_v4(&file("route")), Because::NextHop);
    add(&mut next_hops_v6(&file("ipv6_route")), Because::NextHop);
    for variable in ["SSH_CONNECTION", "SSH_CLIENT"] {
        let peer = std::env::var(variable).ok().and_then(|value| ssh_peer(&value));
        found.extend(peer.map(|address| (address.into(), Because::SshSession)));
    }
    found
}

fn read_start(path: &str) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // What could be read before an error is still true.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Gateways of routes to 0.0.0.0/0 in `route`: numbers in the machine's byte order, as hexadecimal digits.
fn next_hops_v4(route: &str) -> impl Iterator<Item = IpAddr> {
    route.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, _, _, _, _, mask, ..] = columns[..] else { return None };
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let default = destination == "00000000" && mask == "00000000";
        (default && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    })
}

/// Next hops of routes to ::/0 in `ipv6_route`.
fn next_hops_v6(ipv6_route: &str) -> impl Iterator<Item = IpAddr> {
    ipv6_route.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [destination, length, _, _, next_hop, ..] = columns[..] else { return None };
        let default = length == "00" && hex_v6(destination)?.is_unspecified();
        let next_hop = hex_v6(next_hop)?;
        (default && !next_hop.is_unspecified()).then(|| next_hop.into())
    })
}

fn hex_v6(digits: &str) -> Option<Ipv6Addr> {
    (digits.len() == 32).then(|| u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from))?
}

/// The first word of `SSH_CONNECTION` and `SSH_CLIENT`, without a zone.
fn ssh_peer(value: &str) -> Option<IpAddr> {
    let address = value.split_whitespace().next()?.split('%').next()?;
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(addresses: impl Iterator<Item = IpAddr>) -> Vec<String> {
        addresses.map(|address| address.to_string()).collect()
    }

    #[test]
    fn the_next_hop_is_that_of_default_routes_with_a_gateway() {
        let hop = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let file = format!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
             eth0\t00000000\t{}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n\
             eth0\t{}\t{}\t0003\t0\t0\t0\t{}\t0\t0\t0\nshort\n",
            hop([192, 0, 2, 1]),
            hop([10, 0, 0, 0]),
            hop([192, 0, 2, 2]),
            hop([255, 0, 0, 0]),
        );
        assert_eq!(text(next_hops_v4(&file)), ["192.0.2.1"]);
        let zeros = "0".repeat(32);
        let file = format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0\n\
             20010db8000000000000000000000000 20 {zeros} 00 fe800000000000000000000000000002 0 0 0 0 eth0\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n"
        );
        assert_eq!(text(next_hops_v6(&file)), ["fe80::1"]);
    }

    #[test]
    fn the_ssh_peer_is_the_first_word() {
        for (value, peer) in [
            ("203.0.113.5 50022 192.0.2.7 22", Some("203.0.113.5")),
            ("fe80::1%eth0 50022 22", Some("fe80::1")),
            ("::ffff:203.0.113.5 1 2", Some("203.0.113.5")),
            ("", None),
            ("UNKNOWN 65535 65535", None),
        ] {
            assert_eq!(ssh_peer(value).map(|address| address.to_string()).as_deref(), peer, "{value}");
        }
    }

    #[test]
    fn this_machine_has_a_loopback_address_among_its_own() {
        assert!(read().contains(&("127.0.0.1".parse::<IpAddr>().unwrap().into(), Because::OwnAddress)));
    }
}
