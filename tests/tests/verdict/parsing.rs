//! Frames of every shape: what is understood is judged, what is not passes.

use gateway_common::verdict::Reason::{self, Clean, DeniedPrefix, LinkLocal, NotIp, Truncated};
use gateway_userspace::dataplane::{Budgets, DenyEntry};
use tests::{
    kernel::{Kernel, XDP_DROP, XDP_PASS, net},
    packet::{ACK, Packet, SYN, arp},
};

fn all_denied() -> Option<Kernel> {
    let mut kernel = Kernel::load()?;
    kernel.deny(net("0.0.0.0/0"), DenyEntry::forever(1)).unwrap();
    kernel.deny(net("::/0"), DenyEntry::forever(1)).unwrap();
    Some(kernel)
}

#[test]
fn sources_are_found_behind_tags_options_extensions_and_in_fragments() {
    let Some(kernel) = all_denied() else { return };
    let v4 = || Packet::from("192.0.2.1").tcp(443, ACK);
    let v6 = || Packet::from("2001:db8::1").tcp(443, ACK);
    let cases: Vec<(&str, Packet, Reason)> = vec![
        ("IPv4", v4(), DeniedPrefix),
        ("IPv6", v6(), DeniedPrefix),
        ("VLAN", v4().tagged(0x8100), DeniedPrefix),
        ("VLAN, IPv6", v6().tagged(0x8100), DeniedPrefix),
        ("provider tag", v4().tagged(0x88a8), DeniedPrefix),
        ("QinQ", v4().tagged(0x8100).tagged(0x88a8), DeniedPrefix),
        ("QinQ, IPv6", v6().tagged(0x8100).tagged(0x8100), DeniedPrefix),
        ("three tags", v4().tagged(0x8100).tagged(0x8100).tagged(0x88a8), NotIp),
        ("longest options", v4().options(10), DeniedPrefix),
        ("first fragment", v4().fragment(0), DeniedPrefix),
        ("later fragment", v4().fragment(100), DeniedPrefix),
        ("later fragment, IPv6", v6().fragment(100), DeniedPrefix),
        ("extension headers", v6().extension(0, 1).extension(43, 3).extension(60, 2), DeniedPrefix),
        (
            "more extensions than are walked",
            (0..9).fold(v6(), |packet, _| packet.extension(60, 1)),
            DeniedPrefix,
        ),
        ("another protocol", Packet::from("192.0.2.1"), DeniedPrefix),
        ("link-local", Packet::from("fe80::1").tcp(443, ACK), LinkLocal),
        ("duplicate address detection", Packet::from("::").icmp(135), LinkLocal),
    ];
    for (description, packet, expected) in cases {
        kernel.expect(description, &packet.build(), expected);
    }
    kernel.expect("ARP", &arp(), NotIp);
    let mut llc = vec![0; 60];
    llc[12..14].copy_from_slice(&[0, 38]);
    kernel.expect("802.3 length instead of a type", &llc, NotIp);
}

#[test]
fn frames_cut_at_every_length_pass_until_the_source_is_complete() {
    let Some(kernel) = all_denied() else { return };
    for (packet, header_end) in [
        (Packet::from("192.0.2.1").tcp(443, ACK), 34),
        (Packet::from("192.0.2.1").tcp(443, ACK).tagged(0x8100), 38),
        (Packet::from("192.0.2.1").tcp(443, ACK).options(10), 34),
        (Packet::from("2001:db8::1").tcp(443, ACK), 54),
        (Packet::from("2001:db8::1").tcp(443, ACK).tagged(0x8100).tagged(0x88a8), 62),
        (Packet::from("2001:db8::1").extension(0, 4).tcp(443, ACK), 54),
    ] {
        let frame = packet.build();
        // The kernel does not run a program on less than an Ethernet header.
        for length in 14..=frame.len() {
            let expected = if length < header_end { Truncated } else { DeniedPrefix };
            kernel.expect(&format!("{length} of {}", frame.len()), &frame[..length], expected);
        }
    }
}

#[test]
fn random_frames_never_stop_the_program() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("0.0.0.0/1"), DenyEntry::forever(1)).unwrap();
    kernel.deny(net("::/1"), DenyEntry::forever(1)).unwrap();
    kernel
        .set_budgets(&Budgets { packets_per_second: 10, syns_per_second: 10, ..Budgets::default() })
        .unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let before = kernel.counters().unwrap();
    let rounds = 20_000;
    for round in 0..rounds {
        let mut frame: Vec<u8> = (0..14 + random() % 120).map(|_| random() as u8).collect();
        // Half of them look like IP, or nearly all would end at the first branch.
        let ether_type: Option<[u8; 2]> = match round % 6 {
            0 => Some([0x08, 0x00]),
            1 => Some([0x86, 0xdd]),
            2 => Some([0x81, 0x00]),
            _ => None,
        };
        if let Some(ether_type) = ether_type {
            frame[12..14].copy_from_slice(&ether_type);
        }
        let (action, _) = kernel.test_run(&frame, 1).unwrap();
        assert!(matches!(action, XDP_DROP | XDP_PASS), "{action} for {frame:02x?}");
    }
    let counted = kernel.counters().unwrap().since(&before);
    let verdicts: u64 =
        counted.iter().filter(|(reason, _)| !reason.is_beside()).map(|(_, tally)| tally.packets).sum();
    assert_eq!(verdicts, rounds, "every packet is counted once");
    assert!(counted.dropped().packets > 0 && counted.of(Clean).packets > 0);
}

#[test]
fn a_syn_behind_the_longest_options_is_a_syn() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.set_budgets(&Budgets { syns_per_second: 1, syn_burst: 1, ..Budgets::default() }).unwrap();
    for words in [0, 1, 10] {
        let source = format!("192.0.2.{words}");
        let frame = Packet::from(&source).options(words).tcp(443, SYN).build();
        kernel.expect("first", &frame, Clean);
        kernel.expect("second", &frame, Reason::OverSyns);
    }
}

#[test]
fn a_syn_behind_extension_headers_is_a_syn() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.set_budgets(&Budgets { syns_per_second: 1, syn_burst: 1, ..Budgets::default() }).unwrap();
    let syn = |source: &str| Packet::from(source).tcp(443, SYN);
    for packet in [
        syn("2001:db8:0:1::1").extension(0, 1),
        syn("2001:db8:0:2::1").extension(60, 3).extension(43, 2),
        syn("2001:db8:0:3::1").fragment(0),
    ] {
        kernel.expect("first", &packet.build(), Clean);
        kernel.expect("second", &packet.build(), Reason::OverSyns);
    }
    let later = syn("2001:db8:0:4::1").fragment(9).build();
    (0..3).for_each(|_| kernel.expect("a later fragment", &later, Clean));
}
