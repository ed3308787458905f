//! What is never dropped.

use std::time::{Duration, Instant};

use gateway_common::verdict::Reason::{self, DeniedPrefix, ExemptPort, ExemptProtocol};
use gateway_userspace::dataplane::{Budgets, DenyEntry};
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet, SYN},
};

const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

fn cases() -> Vec<(&'static str, Packet, Reason)> {
    let v4 = || Packet::from(V4);
    let v6 = || Packet::from(V6);
    vec![
        ("destination unreachable", v4().icmp(3), ExemptProtocol),
        ("source quench", v4().icmp(4), ExemptProtocol),
        ("echo request", v4().icmp(8), DeniedPrefix),
        ("time exceeded", v4().icmp(11), DeniedPrefix),
        ("unreachable behind options", v4().options(10).icmp(3), ExemptProtocol),
        ("unreachable, later fragment", v4().icmp(3).fragment(1), DeniedPrefix),
        ("packet too big", v6().icmp(2), ExemptProtocol),
        ("router solicitation", v6().icmp(133).hop_limit(255), ExemptProtocol),
        ("router advertisement", v6().icmp(134).hop_limit(255), ExemptProtocol),
        ("neighbour solicitation", v6().icmp(135).hop_limit(255), ExemptProtocol),
        ("neighbour advertisement", v6().icmp(136).hop_limit(255), ExemptProtocol),
        ("redirect", v6().icmp(137).hop_limit(255), ExemptProtocol),
        ("neighbour solicitation from beyond the link", v6().icmp(135).hop_limit(254), DeniedPrefix),
        ("echo request, IPv6", v6().icmp(128), DeniedPrefix),
        ("one before", v6().icmp(132), DeniedPrefix),
        ("one after", v6().icmp(138), DeniedPrefix),
        ("packet too big behind extensions", v6().extension(0, 1).extension(60, 5).icmp(2), ExemptProtocol),
        ("behind five extensions", (0..5).fold(v6(), |p, _| p.extension(60, 1)).icmp(2), ExemptProtocol),
        ("behind too many extensions", (0..6).fold(v6(), |p, _| p.extension(60, 1)).icmp(2), DeniedPrefix),
        ("first fragment, IPv6", v6().icmp(2).fragment(0), ExemptProtocol),
        ("later fragment, IPv6", v6().icmp(2).fragment(1), DeniedPrefix),
        ("DHCP to the server", v4().udp(67), ExemptProtocol),
        ("DHCP to the client", v4().udp(68), ExemptProtocol),
        ("DHCPv6 to the client", v6().udp(546), ExemptProtocol),
        ("DHCPv6 to the server", v6().udp(547), ExemptProtocol),
        ("DHCP's port over TCP", v4().tcp(67, ACK), DeniedPrefix),
        ("DHCP's port over IPv6", v6().udp(67), DeniedPrefix),
        ("another UDP port", v4().udp(53), DeniedPrefix),
        ("management", v4().tcp(22, SYN), ExemptPort),
        ("management, IPv6", v6().tcp(22, ACK), ExemptPort),
        ("management behind a tag", v4().tcp(22, SYN).tagged(0x8100), ExemptPort),
        ("management over UDP", v4().udp(51820), ExemptPort),
        ("management, later fragment", v4().tcp(22, ACK).fragment(3), DeniedPrefix),
        ("port 0, which unused slots hold", v4().tcp(0, ACK), DeniedPrefix),
        ("the service itself", v4().tcp(443, ACK), DeniedPrefix),
    ]
}

fn load() -> Option<Kernel> {
    Kernel::load_with(|options| options.management_ports = vec![22, 51820])
}

#[test]
fn exempt_packets_of_listed_sources_pass() {
    let Some(mut kernel) = load() else { return };
    kernel.deny(net("0.0.0.0/0"), DenyEntry::forever(1)).unwrap();
    kernel.deny(net("::/0"), DenyEntry::forever(1)).unwrap();
    for (description, packet, expected) in cases() {
        kernel.expect(description, &packet.build(), expected);
    }
}

#[test]
fn exempt_packets_of_sources_over_budget_pass() {
    let Some(mut kernel) = load() else { return };
    kernel.set_budgets(&Budgets { packets_per_second: 1, packet_burst: 1, ..Budgets::default() }).unwrap();
    let others = [V4, V6].map(|source| Packet::from(source).tcp(443, ACK).build());
    let exhaust = |kernel: &mut Kernel| {
        for frame in &others {
            kernel.test_run(frame, 3).unwrap();
            kernel.expect("over budget", frame, Reason::OverPackets);
        }
        Instant::now()
    };
    let mut exhausted = exhaust(&mut kernel);
    for (description, packet, expected) in cases() {
        // After a second there is room for a packet again, and a slow machine needs longer for all cases.
        if exhausted.elapsed() > Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(1100));
            exhausted = exhaust(&mut kernel);
        }
        let expected = if expected == DeniedPrefix { Reason::OverPackets } else { expected };
        kernel.expect(description, &packet.build(), expected);
    }
}

#[test]
fn exemptions_survive_frames_cut_at_every_length() {
    let Some(mut kernel) = load() else { return };
    kernel.deny(net("0.0.0.0/0"), DenyEntry::forever(1)).unwrap();
    kernel.deny(net("::/0"), DenyEntry::forever(1)).unwrap();
    for (description, packet, _) in cases() {
        let frame = packet.build();
        for length in 14..frame.len() {
            kernel.test_run(&frame[..length], 1).unwrap_or_else(|error| panic!("{description}: {error}"));
        }
    }
}

#[test]
fn more_management_ports_than_there_is_room_for_are_refused() {
    let Some(kernel) = load() else { return };
    let mut options = kernel.options().clone();
    options.management_ports = (1..=9).collect();
    let error = gateway_userspace::dataplane::Dataplane::open(&options).err().expect("nine ports");
    assert!(error.to_string().contains("room for 8"), "{error}");
}
