//! Every kind of packet from a banned, an over-budget and a clean source: built by scapy, sent over a veth pair, and told by
//! tcpdump on both sides. What arrives is what must arrive, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tests::capture::{Capture, Frame};
use tests::kernel::Kernel;

use crate::stage::Stage;

/// What arrives whoever sends it: what a link cannot live without, what the operator comes back by, and what has no source
/// that could be read.
const ESSENTIAL: &[&str] = &[
    "an unknown type",
    "lldp",
    "spanning tree",
    "ipv4 arp reply",
    "ipv4 arp request",
    "ipv4 cut after ethernet",
    "ipv4 cut before the source",
    "ipv4 cut icmp fragmentation needed",
    "ipv4 cut within a tagged header",
    "ipv4 cut within the header",
    "ipv4 dhcp discover",
    "ipv4 dhcp reply",
    "ipv4 dhcp request",
    "ipv4 first fragment icmp fragmentation needed",
    "ipv4 icmp fragmentation needed",
    "ipv4 icmp source quench",
    "ipv4 icmp unreachable",
    "ipv4 options time stamp icmp fragmentation needed",
    "ipv4 qinq dhcp request",
    "ipv4 tcp to a management port",
    "ipv4 three tags udp",
    "ipv4 udp to a management port",
    "ipv4 vlan arp",
    "ipv4 vlan icmp fragmentation needed",
    "ipv6 chain icmp packet too big",
    "ipv6 chain tcp to a management port",
    "ipv6 cut before the source",
    "ipv6 cut icmp packet too big",
    "ipv6 cut within the header",
    "ipv6 destination neighbour solicitation",
    "ipv6 dhcp reply",
    "ipv6 dhcp solicit",
    "ipv6 duplicate address detection",
    "ipv6 first fragment icmp packet too big",
    "ipv6 hop-by-hop icmp packet too big",
    "ipv6 icmp packet too big",
    "ipv6 link-local dhcp solicit",
    "ipv6 link-local listener report",
    "ipv6 link-local neighbour advertisement",
    "ipv6 link-local router advertisement",
    "ipv6 neighbour advertisement",
    "ipv6 neighbour solicitation",
    "ipv6 qinq chain icmp packet too big",
    "ipv6 redirect",
    "ipv6 router advertisement",
    "ipv6 router solicitation",
    "ipv6 tcp to a management port",
    "ipv6 vlan icmp packet too big",
    "ipv6 vlan neighbour solicitation",
];

/// What arrives from the clean source alone.
const ORDINARY: &[&str] = &[
    "ipv4 another protocol",
    "ipv4 cut after a tagged header",
    "ipv4 cut after the flags",
    "ipv4 cut after the header",
    "ipv4 cut within the transport header",
    "ipv4 first fragment udp",
    "ipv4 icmp echo",
    "ipv4 icmp redirect",
    "ipv4 icmp time exceeded",
    "ipv4 later fragment icmp",
    "ipv4 later fragment udp",
    "ipv4 later fragment udp that looks like dhcp",
    "ipv4 options nop",
    "ipv4 options record route",
    "ipv4 priority tag udp",
    "ipv4 qinq tcp",
    "ipv4 tcp ack",
    "ipv4 tcp rst",
    "ipv4 tcp syn",
    "ipv4 two tags of 802.1q udp",
    "ipv4 udp",
    "ipv4 udp from a port of dhcp",
    "ipv4 vlan options udp",
    "ipv4 vlan tcp",
    "ipv6 another protocol",
    "ipv6 authentication tcp",
    "ipv6 chain first fragment udp",
    "ipv6 chain tcp",
    "ipv6 cut after an extension header",
    "ipv6 cut after the header",
    "ipv6 cut within an extension header",
    "ipv6 destination udp",
    "ipv6 first fragment udp",
    "ipv6 hop-by-hop tcp",
    "ipv6 icmp echo",
    "ipv6 icmp time exceeded",
    "ipv6 icmp unreachable",
    "ipv6 later fragment icmp",
    "ipv6 later fragment udp",
    "ipv6 listener report",
    "ipv6 neighbour advertisement from beyond the link",
    "ipv6 neighbour solicitation from beyond the link",
    "ipv6 no next header",
    "ipv6 qinq hop-by-hop tcp",
    "ipv6 router advertisement from beyond the link",
    "ipv6 router solicitation from beyond the link",
    "ipv6 routing tcp",
    "ipv6 tcp ack",
    "ipv6 tcp syn",
    "ipv6 udp",
    "ipv6 vlan tcp",
];

/// The first bytes of the Ethernet source of scapy's frames; a number of two bytes follows.
const MARK: [u8; 4] = [0x02, 0x0b, 0x0c, 0x00];

#[test]
fn what_must_arrive_arrives_and_nothing_else_in_native_mode() {
    send_the_matrix(180, "native");
}

#[test]
fn what_must_arrive_arrives_and_nothing_else_in_generic_mode() {
    send_the_matrix(181, "generic");
}

fn send_the_matrix(net: u8, mode: &str) {
    if Kernel::load().is_none() {
        return;
    }
    let shield = format!("attach = {mode:?}\npackets = \"1/s\"\npacket-burst = 64\n");
    let stage = Stage::new(net, 1, &shield, "");
    let status = stage.gateway.cli_json(&["status"]);
    assert_eq!(status["kernel"]["attachments"][0]["mode"], mode, "{status}");
    let host = &stage.hosts[0];
    for banned in [host.address.to_string(), format!("2001:db8:{net:x}:2::/64")] {
        assert!(stage.gateway.cli(&["ban", &banned, "--for", "10m"]).status.success(), "{banned}");
    }
    let (mut sent, mut passed) = (Capture::within(host, ""), Capture::here(&host.interface, ""));
    let told = matrix(&host.name, net);
    let must_arrive = |(source, kind): &(String, String)| source == "clean" || ESSENTIAL.contains(&&**kind);
    let due = told.values().filter(|frame| must_arrive(frame)).count();
    // What must not arrive gets some time too.
    let waiting = Instant::now();
    while numbered(passed.frames()).len() < due && waiting.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(200));
    let (sent, passed) = (numbered(sent.frames()), numbered(passed.frames()));

    let mut wrong = Vec::new();
    for (number, frame @ (source, kind)) in &told {
        let was_sent = sent.get(number).unwrap_or_else(|| panic!("{source} {kind} was not sent"));
        match (passed.get(number), must_arrive(frame)) {
            (Some(_), false) => wrong.push(format!("{source} {kind}: arrived")),
            (None, true) => wrong.push(format!("{source} {kind}: did not arrive")),
            (Some(bytes), true) if bytes != was_sent => wrong.push(format!("{source} {kind}: was changed")),
            _ => {}
        }
    }
    println!("{mode}: {} frames sent, {due} had to arrive", told.len());
    assert!(wrong.is_empty(), "{mode}: {wrong:#?}");
    let kinds: BTreeSet<&str> = told.values().map(|(_, kind)| &**kind).collect();
    assert_eq!(
        kinds,
        ESSENTIAL.iter().chain(ORDINARY).copied().collect(),
        "scapy sends the kinds of the table"
    );
}

/// Has scapy send the matrix from within a host; source and kind of each frame by its number.
fn matrix(host: &str, net: u8) -> BTreeMap<u16, (String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new("ip")
        .args(["netns", "exec", host, &format!("{root}/.tools/python/bin/python3")])
        .args([&format!("{root}/tests/peers/matrix.py"), &format!("{host}1"), &net.to_string()])
        .output()
        .expect("Python runs; `cargo xtask test` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let number = parts.next()?.parse().ok()?;
        Some((number, (parts.next()?.to_owned(), parts.next()?.to_owned())))
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|told| line(told).unwrap_or_else(|| panic!("{told}"))).collect()
}

/// Scapy's frames by their numbers; 0 are those that only spend a budget.
fn numbered(frames: Vec<Frame>) -> BTreeMap<u16, Vec<u8>> {
    let mut numbered = BTreeMap::new();
    for frame in frames {
        let Some((MARK, number)) = frame.bytes.get(6..12).map(|source| {
            let (mark, number) = source.split_at(4);
            (mark.try_into().unwrap_or_default(), u16::from_be_bytes([number[0], number[1]]))
        }) else {
            continue;
        };
        if number != 0 {
            let twice = numbered.insert(number, frame.bytes);
            assert!(twice.is_none(), "frame {number} came twice");
        }
    }
    numbered
}
