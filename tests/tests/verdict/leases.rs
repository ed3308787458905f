//! Expiry, nesting and observation: what the kernel decides by the entry itself.

use std::time::Duration;

use gateway_common::verdict::Reason::{
    Clean, DeniedPrefix, DeniedSource, ObservedPrefix, ObservedSource, OverPackets,
};
use gateway_userspace::dataplane::{Budgets, DenyEntry, clock};
use tests::{
    kernel::{Kernel, XDP_PASS, net},
    packet::{ACK, Packet},
};

const OVER: DenyEntry = DenyEntry { until_ns: Some(1), ban_id: 9, observe: false, parole: None };

fn frame(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, ACK).build()
}

#[test]
fn an_entry_whose_time_is_over_passes_without_a_sweep() {
    let Some(mut kernel) = Kernel::load() else { return };
    for (prefix, source) in
        [("192.0.2.1", "192.0.2.1"), ("10.0.0.0/8", "10.1.1.1"), ("2001:db8::/64", "2001:db8::1")]
    {
        kernel.deny(net(prefix), OVER).unwrap();
        kernel.expect(prefix, &frame(source), Clean);
        kernel.deny(net(prefix), DenyEntry::lasting(Duration::from_secs(60), 9)).unwrap();
        assert_eq!(kernel.send(&frame(source)).1.dropped().packets, 1, "{prefix} is renewed");
    }
}

#[test]
fn a_sweep_removes_what_is_over_and_nothing_else() {
    let Some(mut kernel) = Kernel::load() else { return };
    let now_ns = clock::monotonic_ns();
    let minute = DenyEntry { until_ns: Some(now_ns + 60_000_000_000), ..OVER };
    kernel.deny(net("192.0.2.1"), OVER).unwrap();
    kernel.deny(net("192.0.2.2"), minute).unwrap();
    kernel.deny(net("192.0.2.3"), DenyEntry::forever(9)).unwrap();
    kernel.deny(net("10.0.0.0/8"), OVER).unwrap();
    assert_eq!(kernel.sweep(now_ns).unwrap(), [net("10.0.0.0/8"), net("192.0.2.1")]);
    assert_eq!(kernel.sweep(now_ns).unwrap(), []);
    assert_eq!(kernel.entries().len(), 2);
    kernel.expect("swept", &frame("10.1.1.1"), Clean);
    kernel.expect("a minute left", &frame("192.0.2.2"), DeniedSource);
    assert_eq!(kernel.sweep(now_ns + 60_000_000_000).unwrap(), [net("192.0.2.2")]);
    assert_eq!(kernel.entries().len(), 1);
}

#[test]
fn an_entry_that_is_over_hides_no_shorter_prefix() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(1)).unwrap();
    for hiding in ["10.1.1.1", "10.1.1.0/24", "10.1.0.0/16", "10.0.0.0/12"] {
        kernel.deny(net(hiding), OVER).unwrap();
        kernel.expect(hiding, &frame("10.1.1.1"), DeniedPrefix);
    }
    kernel.deny(net("2001::/16"), DenyEntry::forever(1)).unwrap();
    for hiding in ["2001:db8::/64", "2001:db8::1/128", "2001:db8::/48", "2001:db8::/32"] {
        kernel.deny(net(hiding), OVER).unwrap();
        kernel.expect(hiding, &frame("2001:db8::1"), DeniedPrefix);
    }
}

#[test]
fn an_observed_entry_counts_and_passes() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(5).observed()).unwrap();
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(6).observed()).unwrap();
    for (source, reason, ban_id) in [("192.0.2.1", ObservedSource, 5), ("10.1.1.1", ObservedPrefix, 6)] {
        kernel.expect(source, &frame(source), reason);
        let counters = kernel.send(&frame(source)).1;
        assert_eq!(counters.of(Clean).packets, 1, "an observed packet goes on");
        assert_eq!(kernel.ban_counters(ban_id).unwrap().unwrap().packets, 2);
    }
}

#[test]
fn an_observed_entry_hides_no_enforced_prefix_and_no_budget() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("10.1.1.1"), DenyEntry::forever(5).observed()).unwrap();
    kernel.deny(net("10.1.0.0/16"), DenyEntry::forever(6)).unwrap();
    kernel.expect("enforced around observed", &frame("10.1.1.1"), DeniedPrefix);
    kernel.lift(net("10.1.0.0/16")).unwrap();

    kernel.set_budgets(&Budgets { packets_per_second: 1, packet_burst: 1, ..Budgets::default() }).unwrap();
    kernel.expect("first", &frame("10.1.1.1"), ObservedSource);
    kernel.expect("second", &frame("10.1.1.1"), OverPackets);
}

#[test]
fn a_program_that_observes_drops_nothing() {
    let Some(mut kernel) = Kernel::load_with(|options| options.enforce = false) else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(5)).unwrap();
    kernel.expect("observing", &frame("192.0.2.1"), ObservedSource);
    kernel.set_enforcing(true).unwrap();
    kernel.expect("enforcing", &frame("192.0.2.1"), DeniedSource);
    kernel.set_enforcing(false).unwrap();
    assert_eq!(kernel.send(&frame("192.0.2.1")).0, XDP_PASS);
}
