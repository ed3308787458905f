//! The SYN budget rests while nothing presses, and is armed whenever nobody says so.

use std::time::{Duration, Instant};

use gateway_common::verdict::Reason::{Clean, OverPackets, OverSyns};
use gateway_userspace::dataplane::Budgets;
use tests::{
    kernel::Kernel,
    packet::{ACK, Packet, SYN},
};

/// Rates so low that nothing refills while a test runs.
const BUDGETS: Budgets =
    Budgets { packets_per_second: 1, packet_burst: 1000, syns_per_second: 1, syn_burst: 1 };

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
    assert!(kernel.armed().unwrap(), "from the start");
    kernel.calm(Duration::from_secs(600)).unwrap();
    assert!(!kernel.armed().unwrap());
    for source in ["192.0.2.1", "2001:db8::1"] {
        (0..1000).for_each(|number| kernel.expect("calm", &syn(source, number), Clean));
        kernel.test_run(&Packet::from(source).tcp(443, ACK).build(), 10).unwrap();
        kernel.expect("the packet budget holds", &syn(source, 1000), OverPackets);
    }
}

#[test]
fn it_is_armed_at_once() {
    let Some(mut kernel) = load() else { return };
    kernel.calm(Duration::MAX).unwrap();
    (0..5).for_each(|number| kernel.expect("calm", &syn("192.0.2.1", number), Clean));
    kernel.arm().unwrap();
    assert!(kernel.armed().unwrap());
    kernel.expect("the first that is charged", &syn("192.0.2.1", 5), Clean);
    kernel.expect("the second", &syn("192.0.2.1", 6), OverSyns);
}

#[test]
fn a_calm_that_is_not_renewed_lapses() {
    let Some(mut kernel) = load() else { return };
    let start = Instant::now();
    kernel.calm(Duration::from_secs(1)).unwrap();
    (0..5).for_each(|number| kernel.expect("calm", &syn("192.0.2.1", number), Clean));
    assert!(start.elapsed() < Duration::from_secs(1), "too slow to tell");
    kernel.calm(Duration::from_secs(1)).unwrap();
    while !kernel.armed().unwrap() {
        assert!(start.elapsed() < Duration::from_secs(60), "never armed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    kernel.expect("the first that is charged", &syn("192.0.2.1", 5), Clean);
    kernel.expect("the second", &syn("192.0.2.1", 6), OverSyns);
}

#[test]
fn the_next_process_arms_it() {
    let Some(mut kernel) = load() else { return };
    kernel.calm(Duration::MAX).unwrap();
    kernel.reopen();
    assert!(kernel.armed().unwrap());
    kernel.expect("the first that is charged", &syn("192.0.2.1", 0), Clean);
    kernel.expect("the second", &syn("192.0.2.1", 1), OverSyns);
}
