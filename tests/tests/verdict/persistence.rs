//! What outlives the process, and what is refused when it comes back.

use std::{path::Path, process::Command, time::Duration};

use gateway_common::{ABI_VERSION, verdict::Reason};
use gateway_userspace::dataplane::{Budgets, Dataplane, DenyEntry, Error, clock};
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet},
};

fn frame(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, ACK).build()
}

#[test]
fn entries_counters_and_budgets_outlive_the_process() {
    let budgets = Budgets { packets_per_second: 1, packet_burst: 50, ..Budgets::default() };
    let Some(mut kernel) = Kernel::load_with(|options| options.budgets = budgets) else { return };
    let until_ns = clock::monotonic_ns() + 60_000_000_000;
    let lease = DenyEntry { until_ns: Some(until_ns), ..DenyEntry::forever(7) };
    kernel.deny(net("192.0.2.1"), lease).unwrap();
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(8).observed()).unwrap();
    kernel.deny(net("2001:db8::/64"), DenyEntry::forever(9)).unwrap();
    kernel.deny(net("2001:db8:1::/48"), DenyEntry::forever(9)).unwrap();
    kernel.allow(net("198.51.100.0/24")).unwrap();
    kernel.allow(net("2001:db8:9::/48")).unwrap();
    kernel.test_run(&frame("192.0.2.1"), 5).unwrap();
    kernel.test_run(&frame("203.0.113.1"), 100).unwrap();
    let (entries, counters) = (kernel.entries().collect::<Vec<_>>(), kernel.counters().unwrap());

    kernel.reopen();

    assert_eq!(kernel.entries().collect::<Vec<_>>(), entries);
    assert_eq!(kernel.allowed().collect::<Vec<_>>(), [net("198.51.100.0/24"), net("2001:db8:9::/48")]);
    assert_eq!(kernel.counters().unwrap(), counters);
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, 5);
    kernel.expect("exact", &frame("192.0.2.1"), Reason::DeniedSource);
    kernel.expect("observed", &frame("10.1.1.1"), Reason::ObservedPrefix);
    kernel.expect("IPv6", &frame("2001:db8::1"), Reason::DeniedSource);
    // A fresh budget would let all 40 through; a spent one has refilled one packet per second since.
    let before = kernel.counters().unwrap();
    kernel.test_run(&frame("203.0.113.1"), 40).unwrap();
    assert!(kernel.counters().unwrap().since(&before).of(Reason::OverPackets).packets > 10);

    // What was rebuilt can be taken back, and its bits with it.
    for (prefix, _) in &entries {
        assert!(kernel.lift(*prefix).unwrap());
    }
    assert_eq!(kernel.probe(&frame("192.0.2.1")).unwrap(), Reason::Clean);
    assert_eq!(kernel.probe(&frame("10.1.1.1")).unwrap(), Reason::Clean);
    assert_eq!(kernel.sweep(until_ns).unwrap(), []);
}

#[test]
fn a_lease_that_ended_while_nobody_was_there_is_swept() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::lasting(Duration::from_secs(1), 7)).unwrap();
    kernel.reopen();
    let later = clock::monotonic_ns() + 2_000_000_000;
    assert_eq!(kernel.sweep(later).unwrap(), [net("192.0.2.1")]);
}

#[test]
fn a_foreign_map_under_our_name_is_refused() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.close();
    let pin = kernel.options().pin_root.join(format!("v{ABI_VERSION}/DENY4"));
    for (kind, key, value, what) in
        [("array", "4", "40", "type"), ("hash", "8", "40", "key size"), ("hash", "4", "16", "value size")]
    {
        std::fs::remove_file(&pin).unwrap();
        if !bpftool_makes(&pin, kind, key, value) {
            tests::privilege::skip("a_foreign_map_under_our_name_is_refused", "there is no bpftool");
            return;
        }
        match Dataplane::open(kernel.options()) {
            Err(Error::PinMismatch { what: found, .. }) => assert_eq!(found, what),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("a {kind} with {key} and {value} was taken"),
        }
    }
    std::fs::remove_file(&pin).unwrap();
}

fn bpftool_makes(pin: &Path, kind: &str, key: &str, value: &str) -> bool {
    Command::new("bpftool")
        .args(["map", "create"])
        .arg(pin)
        .args(["type", kind, "key", key, "value", value, "entries", "4096", "name", "DENY4"])
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn drift_is_found_and_repaired() {
    let Some(mut kernel) = Kernel::load() else { return };
    for number in 0..20 {
        kernel.deny(net(&format!("192.0.2.{number}")), DenyEntry::forever(1)).unwrap();
    }
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(1)).unwrap();
    kernel.deny(net("203.0.113.1"), DenyEntry { until_ns: Some(1), ..DenyEntry::forever(1) }).unwrap();
    let round = kernel.reconcile(100).unwrap();
    assert_eq!((round.checked, round.drifted.len()), (21, 0), "the ended lease is not asked about");

    let pin = kernel.options().pin_root.join(format!("v{ABI_VERSION}/DENY4"));
    let deleted = Command::new("bpftool")
        .args(["map", "delete", "pinned"])
        .arg(pin)
        .args(["key", "192", "0", "2", "7"])
        .status();
    if !deleted.is_ok_and(|status| status.success()) {
        tests::privilege::skip("drift_is_found_and_repaired", "there is no bpftool");
        return;
    }
    assert_eq!(kernel.probe(&frame("192.0.2.7")).unwrap(), Reason::Clean);
    // In samples: the rounds go on where the last one ended.
    let drifted: Vec<_> = (0..5).flat_map(|_| kernel.reconcile(5).unwrap().drifted).collect();
    assert_eq!(drifted, [net("192.0.2.7")]);
    kernel.expect("repaired", &frame("192.0.2.7"), Reason::DeniedSource);
}

#[test]
fn removing_the_maps_leaves_nothing_behind() {
    let Some(mut kernel) = Kernel::load() else { return };
    let root = kernel.options().pin_root.clone();
    assert!(root.exists());
    kernel.detach(true).unwrap();
    assert!(!root.exists());
}
