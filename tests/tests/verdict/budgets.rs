//! Packet budgets: what is charged to whom.

use gateway_common::verdict::Reason::{Allowed, Clean, DeniedSource, ObservedPackets, OverPackets, OverSyns};
use gateway_userspace::dataplane::{Budgets, DenyEntry};
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet, SYN},
};

/// Rates so low that nothing refills while a test runs.
const BUDGETS: Budgets =
    Budgets { packets_per_second: 1, packet_burst: 600, syns_per_second: 1, syn_burst: 60 };

fn with(budgets: &Budgets) -> Option<Kernel> {
    Kernel::load_with(|options| options.budgets = budgets.clone())
}

fn ack(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, ACK).build()
}

fn syn(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, SYN).build()
}

/// Sends `count` frames and tells how many were dropped.
fn dropped(kernel: &Kernel, frame: &[u8], count: u32) -> u64 {
    let before = kernel.counters().unwrap();
    kernel.test_run(frame, count).unwrap();
    kernel.counters().unwrap().since(&before).dropped().packets
}

#[test]
fn a_source_gets_its_burst_and_no_more() {
    let Some(kernel) = with(&BUDGETS) else { return };
    for source in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(dropped(&kernel, &ack(source), 600), 0, "{source}");
        // One second may have refilled one packet.
        assert!((98..=100).contains(&dropped(&kernel, &ack(source), 100)), "{source}");
        kernel.expect(source, &ack(source), OverPackets);
    }
    kernel.expect("another source", &ack("192.0.2.2"), Clean);
    kernel.expect("another /64", &ack("2001:db8:0:1::1"), Clean);
    kernel.expect("the same /64", &ack("2001:db8::2"), OverPackets);
}

#[test]
fn syns_are_charged_apart() {
    let Some(kernel) = with(&BUDGETS) else { return };
    for source in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(dropped(&kernel, &syn(source), 60), 0);
        kernel.test_run(&syn(source), 10).unwrap();
        // Another one, which cannot be known from a second before.
        let other = Packet::from(source).tcp(443, SYN).sequence(7).build();
        kernel.expect("SYN", &other, OverSyns);
        kernel.expect("no SYN", &ack(source), Clean);
        kernel.expect("SYN and ACK", &Packet::from(source).tcp(443, SYN | ACK).build(), Clean);
    }
}

#[test]
fn without_a_syn_budget_a_syn_is_a_packet() {
    let Some(kernel) = with(&Budgets { syns_per_second: 0, ..BUDGETS }) else { return };
    assert_eq!(dropped(&kernel, &syn("192.0.2.1"), 600), 0);
    kernel.test_run(&syn("192.0.2.1"), 10).unwrap();
    kernel.expect("SYN", &syn("192.0.2.1"), OverPackets);
}

#[test]
fn a_rate_of_zero_limits_nothing() {
    let Some(mut kernel) = with(&Budgets::default()) else { return };
    assert_eq!(dropped(&kernel, &ack("192.0.2.1"), 100_000), 0);
    kernel.set_budgets(&Budgets { packets_per_second: 1, ..Budgets::default() }).unwrap();
    assert!(dropped(&kernel, &ack("192.0.2.1"), 100) > 90);
    kernel.set_budgets(&Budgets::default()).unwrap();
    assert_eq!(dropped(&kernel, &ack("192.0.2.1"), 1_000), 0);
}

#[test]
fn allowed_sources_are_not_held_to_a_budget() {
    let Some(mut kernel) = with(&Budgets { packet_burst: 1, ..BUDGETS }) else { return };
    kernel.allow(net("192.0.2.0/24")).unwrap();
    kernel.test_run(&ack("192.0.2.1"), 10).unwrap();
    kernel.expect("allowed", &ack("192.0.2.1"), Allowed);
}

#[test]
fn a_listed_source_is_denied_and_not_charged() {
    let Some(mut kernel) = with(&Budgets { packet_burst: 1, ..BUDGETS }) else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
    assert_eq!(dropped(&kernel, &ack("192.0.2.1"), 100), 100);
    kernel.lift(net("192.0.2.1")).unwrap();
    kernel.expect("the first after the ban", &ack("192.0.2.1"), Clean);
}

#[test]
fn an_observed_budget_counts_and_passes() {
    let Some(mut kernel) = with(&Budgets { packet_burst: 1, ..BUDGETS }) else { return };
    kernel.set_enforcing(false).unwrap();
    kernel.test_run(&ack("192.0.2.1"), 10).unwrap();
    kernel.expect("over, observed", &ack("192.0.2.1"), ObservedPackets);
    kernel.set_enforcing(true).unwrap();
    kernel.expect("over, enforced", &ack("192.0.2.1"), OverPackets);
}

#[test]
fn sources_over_budget_do_not_cost_the_others_theirs() {
    let Some(kernel) = with(&Budgets { packet_burst: 20, ..BUDGETS }) else { return };
    for number in 0..100 {
        kernel.test_run(&ack(&format!("198.51.{number}.1")), 30).unwrap();
    }
    // With 100 sources over budget, one innocent in 80 000 shares all four cells with them. The key is drawn
    // anew for each test: one unlucky source in 2000 has a chance of 1 in 40, three of 1 in 400 000.
    let innocent = |number: u32| ack(&format!("10.0.{}.{}", number / 250, number % 250));
    let unlucky = (0..2_000).filter(|number| dropped(&kernel, &innocent(*number), 1) > 0).count();
    assert!(unlucky <= 2, "{unlucky}");
}

#[test]
fn a_denied_source_is_named_even_when_its_budget_is_spent() {
    let Some(mut kernel) = with(&Budgets { packet_burst: 1, ..BUDGETS }) else { return };
    kernel.test_run(&ack("192.0.2.1"), 10).unwrap();
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
    kernel.expect("denied first", &ack("192.0.2.1"), DeniedSource);
}
