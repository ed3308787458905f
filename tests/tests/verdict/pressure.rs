//! The SYN budget rests while nothing presses, and is armed whenever nobody says so.

use std::time::{Duration, Instant};

use gateway_common::verdict::Reason::{Clean, OverPackets, OverSyns};
use gateway_userspace::dataplane::Budgets;
use tests::{
    kernel::Kernel,
    packet::{ACK, Packet, SYN},
};

/// Rates so low that next to nothing refills between two packets.
const BUDGETS: Budgets =
    Budgets { packets_per_second: 1, packet_burst: 100, syns_per_second: 1, syn_burst: 1 };

/// SYNs that differ, so that none is a repeated one.
fn syn(source: &str, number: u32) -> Vec<u8> {
    Packet::from(source).tcp(443, SYN).sequence(number).build()
}

fn load() -> Option<Kernel> {
    Kernel::load_with(|options| options.budgets = BUDGETS)
}

#[test]
fn while_it_is_calm_a_syn_is_a_packet() {
    let Some(mut kernel) = load() else { return };
    assert_eq!(kernel.armed().unwrap(), Some(true), "from the start");
    kernel.calm(Duration::from_secs(600)).unwrap();
    assert_eq!(kernel.armed().unwrap(), Some(false));
    for source in ["192.0.2.1", "2001:db8::1"] {
        (0..50).for_each(|number| kernel.expect("calm", &syn(source, number), Clean));
        // More than the rest and than what a slow machine's seconds have refilled, in one call.
        kernel.test_run(&Packet::from(source).tcp(443, ACK).build(), 1000).unwrap();
        kernel.expect("the packet budget holds", &syn(source, 50), OverPackets);
    }
}

#[test]
fn it_is_armed_at_once() {
    let Some(mut kernel) = load() else { return };
    kernel.calm(Duration::MAX).unwrap();
    (0..5).for_each(|number| kernel.expect("calm", &syn("192.0.2.1", number), Clean));
    kernel.arm().unwrap();
    assert_eq!(kernel.armed().unwrap(), Some(true));
    kernel.expect("the first that is charged", &syn("192.0.2.1", 5), Clean);
    kernel.expect("the second", &syn("192.0.2.1", 6), OverSyns);
}

#[test]
fn a_calm_that_is_not_renewed_lapses() {
    let Some(mut kernel) = load() else { return };
    kernel.calm(Duration::from_secs(600)).unwrap();
    (0..5).for_each(|number| kernel.expect("calm", &syn("192.0.2.1", number), Clean));
    let start = Instant::now();
    kernel.calm(Duration::from_secs(1)).unwrap();
    while kernel.armed().unwrap() == Some(false) {
        assert!(start.elapsed() < Duration::from_secs(60), "never armed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    kernel.expect("the first that is charged", &syn("192.0.2.1", 5), Clean);
    kernel.expect("the second", &syn("192.0.2.1", 6), OverSyns);
}

#[test]
fn without_a_syn_budget_there_is_nothing_to_arm() {
    let Some(mut kernel) = load() else { return };
    kernel.set_budgets(&Budgets { syns_per_second: 0, ..BUDGETS }).unwrap();
    assert_eq!(kernel.armed().unwrap(), None);
}

#[test]
fn the_next_process_arms_it() {
    let Some(mut kernel) = load() else { return };
    kernel.calm(Duration::MAX).unwrap();
    kernel.reopen();
    assert_eq!(kernel.armed().unwrap(), Some(true));
    kernel.expect("the first that is charged", &syn("192.0.2.1", 0), Clean);
    kernel.expect("the second", &syn("192.0.2.1", 1), OverSyns);
}
