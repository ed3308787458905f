//! Counters per ban, events, and the check that entries are enforced.

use std::{net::IpAddr, time::Duration};

use gateway_common::{counters::BAN_SLOTS, verdict::Reason};
use gateway_userspace::dataplane::{DenyEntry, clock};
use tests::{
    kernel::{Kernel, XDP_DROP, net},
    packet::{ACK, Packet, SYN},
};

fn frame(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, ACK).build()
}

#[test]
fn a_ban_counts_what_all_its_entries_drop_and_remembers_it_after_the_end() {
    let Some(mut kernel) = Kernel::load() else { return };
    let before_ns = clock::monotonic_ns();
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.deny(net("2001:db8::/48"), DenyEntry::forever(7)).unwrap();
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, 0);
    assert_eq!(kernel.ban_counters(8).unwrap(), None);
    kernel.test_run(&frame("192.0.2.1"), 3).unwrap();
    kernel.test_run(&frame("2001:db8::1"), 2).unwrap();

    let counters = kernel.ban_counters(7).unwrap().unwrap();
    let bytes = 3 * frame("192.0.2.1").len() + 2 * frame("2001:db8::1").len();
    assert_eq!((counters.packets, counters.bytes), (5, bytes as u64));
    // The kernel's clock is coarse: it may lag by a tick.
    assert!(counters.last_ns + 20_000_000 > before_ns && counters.last_ns <= clock::monotonic_ns());

    kernel.lift(net("192.0.2.1")).unwrap();
    kernel.lift(net("2001:db8::/48")).unwrap();
    assert_eq!(kernel.ban_counters(7).unwrap(), Some(counters));

    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.test_run(&frame("192.0.2.1"), 1).unwrap();
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, 6, "a ban that returns counts on");
}

#[test]
fn a_ban_tells_how_many_of_its_packets_would_have_opened_a_connection() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.0/24"), DenyEntry::forever(7)).unwrap();
    kernel.deny(net("2001:db8::/64"), DenyEntry::forever(7)).unwrap();
    for (packet, count) in [
        (Packet::from("192.0.2.1").tcp(443, SYN), 4),
        (Packet::from("2001:db8::1").tcp(443, SYN), 2),
        (Packet::from("2001:db8::1").extension(0, 1).tcp(443, SYN), 1),
        (Packet::from("192.0.2.1").tcp(443, SYN | ACK), 8),
        (Packet::from("192.0.2.1").tcp(443, SYN).fragment(5), 16),
        (Packet::from("192.0.2.1").udp(443), 32),
    ] {
        kernel.test_run(&packet.build(), count).unwrap();
    }
    let counters = kernel.ban_counters(7).unwrap().unwrap();
    assert_eq!((counters.packets, counters.syns), (63, 7));
}

/// More bans than there are slots, one address each.
fn banned(number: u32) -> String {
    format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)
}

#[test]
fn when_slots_run_out_the_coldest_bans_hand_theirs_over_and_keep_their_sums() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 32_768) else { return };
    let cold: Vec<_> = (1..BAN_SLOTS - 1).map(|ban| (net(&banned(ban)), DenyEntry::forever(ban))).collect();
    // The first one has dropped something long ago, another one lately. The kernel's clock is coarse.
    let pause = || std::thread::sleep(Duration::from_millis(30));
    kernel.deny_many(&cold[..1]).unwrap();
    kernel.test_run(&frame(&banned(1)), 5).unwrap();
    pause();
    kernel.deny_many(&cold[1..]).unwrap();
    pause();
    kernel.test_run(&frame(&banned(900)), 3).unwrap();
    // A slot rests for a second before it is given again.
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(99_999)).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    for more in 0..500 {
        kernel.deny(net(&banned(100_000 + more)), DenyEntry::forever(100_000 + more)).unwrap();
    }
    kernel.test_run(&frame(&banned(100_499)), 2).unwrap();
    let packets = |kernel: &Kernel, ban| kernel.ban_counters(ban).unwrap().unwrap().packets;
    assert_eq!(packets(&kernel, 100_499), 2, "a new ban counts from zero");
    assert_eq!(packets(&kernel, 1), 5, "a ban without a slot keeps its sum");
    kernel.test_run(&frame(&banned(1)), 1).unwrap();
    assert_eq!(packets(&kernel, 1), 5, "and is enforced, but counts no more");
    kernel.test_run(&frame(&banned(900)), 1).unwrap();
    assert_eq!(packets(&kernel, 900), 4, "one that has dropped lately has kept its slot");
    assert_eq!(kernel.reconcile(40_000).unwrap().drifted, []);
    // Renewed, it gets a slot again, and nothing of what it had is lost.
    kernel.deny(net(&banned(1)), DenyEntry::forever(1)).unwrap();
    kernel.test_run(&frame(&banned(1)), 1).unwrap();
    assert_eq!(packets(&kernel, 1), 6);
}

#[test]
fn a_slot_is_not_given_to_another_ban_while_packets_may_be_in_flight() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.test_run(&frame("192.0.2.1"), 3).unwrap();
    kernel.lift(net("192.0.2.1")).unwrap();
    kernel.deny(net("192.0.2.2"), DenyEntry::forever(8)).unwrap();
    kernel.test_run(&frame("192.0.2.2"), 1).unwrap();
    let packets = |kernel: &Kernel, ban| kernel.ban_counters(ban).unwrap().unwrap().packets;
    assert_eq!((packets(&kernel, 7), packets(&kernel, 8)), (3, 1));
    std::thread::sleep(Duration::from_millis(1100));
    kernel.sweep(0).unwrap();
    assert_eq!(packets(&kernel, 7), 3, "what was in the slot is kept when it is freed");
    kernel.deny(net("192.0.2.3"), DenyEntry::forever(9)).unwrap();
    assert_eq!((packets(&kernel, 7), packets(&kernel, 9)), (3, 0));
}

#[test]
fn replacing_an_entry_moves_it_to_the_other_ban() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(8)).unwrap();
    kernel.test_run(&frame("192.0.2.1"), 2).unwrap();
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, 0);
    assert_eq!(kernel.ban_counters(8).unwrap().unwrap().packets, 2);
    assert_eq!(kernel.entries().len(), 1);
}

#[test]
fn the_first_drop_of_a_ban_is_an_event_and_later_ones_are_sampled() {
    let Some(mut kernel) = Kernel::load_with(|options| options.event_sample_shift = 4) else { return };
    // The very first drop of a reason is one too: take it out of the way.
    kernel.deny(net("203.0.113.1"), DenyEntry::forever(1)).unwrap();
    kernel.test_run(&frame("203.0.113.1"), 1).unwrap();
    kernel.drain_events(100);

    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.test_run(&frame("192.0.2.1"), 1).unwrap();
    let events = kernel.drain_events(100);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].source, "192.0.2.1".parse::<IpAddr>().unwrap());
    assert_eq!((events[0].reason, events[0].ban_id), (Reason::DeniedSource, 7));
    assert_eq!(events[0].bytes as usize, frame("192.0.2.1").len());

    kernel.test_run(&frame("192.0.2.1"), 1_600).unwrap();
    let sampled = kernel.drain_events(1_000).len();
    // Per CPU, and the test may move from one to another.
    assert!((99..=110).contains(&sampled), "{sampled}");
    assert_eq!(kernel.drain_events(10), []);
}

#[test]
fn the_first_drop_of_a_ban_is_told_in_words_and_no_other_packet_is() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.deny(net("2001:db8::/48"), DenyEntry::forever(4_000_000_000)).unwrap();
    kernel.deny(net("192.0.2.9"), DenyEntry::forever(9).observed()).unwrap();
    kernel.test_run(&frame("192.0.2.9"), 3).unwrap();
    kernel.test_run(&frame("192.0.2.2"), 3).unwrap();
    assert_eq!(kernel.drain_diagnostics(), [""; 0], "nothing was dropped yet");

    kernel.test_run(&frame("192.0.2.1"), 1_000).unwrap();
    kernel.test_run(&frame("2001:db8::1"), 1_000).unwrap();
    let mut lines = kernel.drain_diagnostics();
    // Once per CPU, and the test may move from one to another.
    lines.dedup_by_key(|line| line.split(" on CPU ").next().map(str::to_owned));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("ban 7 drops its first packet on CPU "), "{lines:?}");
    assert!(lines[0].ends_with(", from 192.0.2.1"), "{lines:?}");
    assert!(lines[1].starts_with("ban 4000000000 drops its first packet on CPU "), "{lines:?}");
    assert!(lines[1].ends_with(", from 2001:db8::1"), "{lines:?}");
}

#[test]
fn a_full_ring_of_words_loses_words_and_no_verdict() {
    let Some(mut kernel) = Kernel::load() else { return };
    for ban in 1..=2_000_u32 {
        let source = format!("10.1.{}.{}", ban / 250, ban % 250);
        kernel.deny(net(&source), DenyEntry::forever(ban)).unwrap();
        assert_eq!(kernel.test_run(&frame(&source), 1).unwrap().0, XDP_DROP);
    }
    let told = kernel.drain_diagnostics().len();
    assert!((400..2_000).contains(&told), "{told}");
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(5_000)).unwrap();
    kernel.test_run(&frame("192.0.2.1"), 1).unwrap();
    assert_eq!(kernel.drain_diagnostics().len(), 1, "there is room again");
}

#[test]
fn a_program_that_takes_over_tells_in_words_too() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.reopen();
    kernel.test_run(&frame("192.0.2.1"), 1).unwrap();
    assert_eq!(kernel.drain_diagnostics().len(), 1);
}

#[test]
fn a_flood_of_events_loses_events_and_no_verdict() {
    let Some(mut kernel) = Kernel::load_with(|options| options.event_sample_shift = 0) else { return };
    kernel.deny(net("2001:db8::/64"), DenyEntry::forever(7)).unwrap();
    kernel.test_run(&frame("2001:db8::1"), 50_000).unwrap();
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, 50_000);
    let events = kernel.drain_events(usize::MAX);
    assert!((1_000..50_000).contains(&events.len()), "{}", events.len());
    assert!(events.iter().all(|event| event.source == "2001:db8::1".parse::<IpAddr>().unwrap()));
}

#[test]
fn the_probe_tells_what_is_listed_and_counts_nothing() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(7)).unwrap();
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(7).observed()).unwrap();
    let before = kernel.counters().unwrap();
    assert_eq!(kernel.probe(&frame("192.0.2.1")).unwrap(), Reason::DeniedSource);
    assert_eq!(kernel.probe(&frame("10.1.1.1")).unwrap(), Reason::ObservedPrefix);
    assert_eq!(kernel.probe(&frame("192.0.2.2")).unwrap(), Reason::Clean);
    assert_eq!(kernel.counters().unwrap(), before);
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, 0);
}
