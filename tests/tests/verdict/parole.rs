//! Parole: one connection per interval of a source that is listed.

use std::time::{Duration, Instant};

use gateway_common::verdict::Reason::{
    Clean, DeniedPrefix, DeniedSource, ObservedSource, OverPackets, Paroled,
};
use gateway_userspace::dataplane::{Budgets, DenyEntry, Parole, clock};
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet, SYN},
};

const LONG: Duration = Duration::from_secs(3600);

fn segment(source: &str, port: u16, flags: u8) -> Vec<u8> {
    Packet::from(source).tcp(443, flags).source_port(port).build()
}

/// On parole from now on, or from later.
fn paroled(from: Duration, every: Duration) -> DenyEntry {
    DenyEntry::forever(7).paroled(Parole { from_ns: clock::monotonic_ns_after(from), every })
}

/// On parole since some time ago: the kernel's clock is coarse.
fn paroled_since_boot(every: Duration) -> DenyEntry {
    DenyEntry::forever(7).paroled(Parole { from_ns: 0, every })
}

/// Counted as paroled, and as clean, for it goes on.
#[track_caller]
fn passes(kernel: &Kernel, description: &str, frame: &[u8]) {
    let counters = kernel.send(frame).1;
    let counted = (counters.of(Paroled).packets, counters.of(Clean).packets, counters.dropped().packets);
    assert_eq!(counted, (1, 1, 0), "{description}");
}

#[test]
fn one_connection_passes_in_an_interval_and_nothing_else_does() {
    let Some(mut kernel) = Kernel::load() else { return };
    for (prefix, source, other_host) in
        [("192.0.2.1", "192.0.2.1", None), ("2001:db8::/64", "2001:db8::1", Some("2001:db8::2"))]
    {
        kernel.deny(net(prefix), paroled_since_boot(LONG)).unwrap();
        kernel.expect("no SYN was admitted yet", &segment(source, 1, ACK), DeniedSource);
        kernel.expect("SYN and ACK", &segment(source, 1, SYN | ACK), DeniedSource);
        passes(&kernel, "the first SYN", &segment(source, 1, SYN));
        passes(&kernel, "the same once more", &segment(source, 1, SYN));
        passes(&kernel, "the connection", &segment(source, 1, ACK));
        kernel.expect("another SYN", &segment(source, 2, SYN), DeniedSource);
        kernel.expect("another port", &segment(source, 2, ACK), DeniedSource);
        let port = Packet::from(source).tcp(80, ACK).source_port(1).build();
        kernel.expect("another port here", &port, DeniedSource);
        kernel.expect(
            "UDP from the same ports",
            &Packet::from(source).udp(443).source_port(1).build(),
            DeniedSource,
        );
        if let Some(other_host) = other_host {
            kernel.expect("another host with the same ports", &segment(other_host, 1, SYN), DeniedSource);
        }
        passes(&kernel, "still the connection", &segment(source, 1, ACK));
        // A parole that is written anew begins anew.
        kernel.deny(net(prefix), paroled(LONG, LONG)).unwrap();
        kernel.expect("renewed", &segment(source, 1, ACK), DeniedSource);
        kernel.lift(net(prefix)).unwrap();
    }
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, 15);
    assert_eq!(kernel.ban_counters(7).unwrap().unwrap().syns, 3);
}

#[test]
fn nobody_is_admitted_before_parole_begins_and_the_next_one_after_an_interval() {
    let Some(mut kernel) = Kernel::load() else { return };
    let (source, start) = ("192.0.2.1", Instant::now());
    let (from, every) = (Duration::from_secs(1), Duration::from_secs(2));
    kernel.deny(net(source), paroled(from, every)).unwrap();
    kernel.expect("too early", &segment(source, 1, SYN), DeniedSource);
    assert!(start.elapsed() < from, "too slow to tell");
    // Whatever the machine does meanwhile: each SYN comes from a port of its own, so what passes was admitted.
    let mut admitted = Vec::new();
    for port in 2.. {
        if kernel.send(&segment(source, port, SYN)).1.of(Paroled).packets == 1 {
            admitted.push((port, start.elapsed()));
        }
        if admitted.len() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let [(first, at), (second, next)] = admitted[..] else { panic!("{admitted:?}") };
    // A tick of the coarse clock is 10 ms at most.
    assert!(at + Duration::from_millis(10) >= from, "{at:?}");
    assert!(next >= at.max(from), "{next:?}");
    let left = kernel.entries().next().unwrap().1.parole.unwrap();
    assert_eq!(left.every, every);
    passes(&kernel, "the second", &segment(source, second, ACK));
    kernel.expect("the first has had its time", &segment(source, first, ACK), DeniedSource);
}

#[test]
fn prefixes_observed_entries_and_an_observing_program_have_none() {
    let Some(mut kernel) = Kernel::load() else { return };
    let entry = paroled_since_boot(LONG);
    kernel.deny(net("10.0.0.0/8"), entry).unwrap();
    kernel.deny(net("2001:db8::/48"), entry).unwrap();
    kernel.expect("prefix", &segment("10.1.1.1", 1, SYN), DeniedPrefix);
    kernel.expect("prefix, IPv6", &segment("2001:db8::1", 1, SYN), DeniedPrefix);
    kernel.deny(net("192.0.2.1"), entry.observed()).unwrap();
    kernel.expect("observed", &segment("192.0.2.1", 1, SYN), ObservedSource);
    assert_eq!(kernel.counters().unwrap().of(Paroled).packets, 0);
    kernel.deny(net("192.0.2.1"), entry).unwrap();
    kernel.set_enforcing(false).unwrap();
    kernel.expect("observing", &segment("192.0.2.1", 1, SYN), ObservedSource);
    assert_eq!(kernel.counters().unwrap().of(Paroled).packets, 0);
}

#[test]
fn a_wider_ban_is_not_lifted_by_it_and_the_end_of_the_lease_is_the_end() {
    let Some(mut kernel) = Kernel::load() else { return };
    for (source, exact, wider) in
        [("192.0.2.1", "192.0.2.1", "192.0.2.0/24"), ("2001:db8::1", "2001:db8::/64", "2001:db8::/48")]
    {
        kernel.deny(net(wider), DenyEntry::forever(8)).unwrap();
        kernel.deny(net(exact), paroled_since_boot(LONG)).unwrap();
        kernel.expect("SYN", &segment(source, 1, SYN), DeniedSource);
        kernel.expect("the connection", &segment(source, 1, ACK), DeniedSource);
        kernel.deny(net(wider), DenyEntry::forever(8).observed()).unwrap();
        passes(&kernel, "the wider one observes", &segment(source, 1, ACK));
        kernel.lift(net(wider)).unwrap();
        kernel.deny(net(exact), DenyEntry { until_ns: Some(1), ..paroled_since_boot(LONG) }).unwrap();
        kernel.expect("over", &segment(source, 9, ACK), Clean);
    }
}

#[test]
fn what_is_on_parole_is_charged_to_its_budget() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), paroled_since_boot(LONG)).unwrap();
    kernel.set_budgets(&Budgets { packets_per_second: 1, packet_burst: 2, ..Budgets::default() }).unwrap();
    passes(&kernel, "SYN", &segment("192.0.2.1", 1, SYN));
    passes(&kernel, "second", &segment("192.0.2.1", 1, ACK));
    kernel.expect("third", &segment("192.0.2.1", 1, ACK), OverPackets);
}

#[test]
fn parole_outlives_the_process_and_a_repair_with_what_the_kernel_has_written() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), paroled_since_boot(LONG)).unwrap();
    passes(&kernel, "SYN", &segment("192.0.2.1", 1, SYN));
    assert_eq!(kernel.reconcile(10).unwrap().drifted, [], "what the program writes is no drift");
    kernel.reopen();
    passes(&kernel, "after the start", &segment("192.0.2.1", 1, ACK));
    kernel.expect("another", &segment("192.0.2.1", 2, SYN), DeniedSource);
    // An entry whose flags are written anew keeps its parole.
    kernel.allow(net("192.0.2.1")).unwrap();
    kernel.disallow(net("192.0.2.1")).unwrap();
    passes(&kernel, "after a change of the allowlist", &segment("192.0.2.1", 1, ACK));
    kernel.expect("another", &segment("192.0.2.1", 2, SYN), DeniedSource);
    assert_eq!(
        kernel.probe(&segment("192.0.2.1", 1, ACK)).unwrap(),
        DeniedSource,
        "the probe asks for the entry"
    );
}

#[test]
fn paroled_frames_cut_at_every_length_never_stop_the_program() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), paroled_since_boot(Duration::from_millis(1))).unwrap();
    kernel.deny(net("2001:db8::/64"), paroled_since_boot(Duration::from_millis(1))).unwrap();
    for frame in [
        segment("192.0.2.1", 1, SYN),
        segment("2001:db8::1", 1, SYN),
        Packet::from("192.0.2.1").tcp(443, SYN).options(10).tagged(0x8100).build(),
        Packet::from("2001:db8::1").tcp(443, SYN).extension(0, 3).extension(60, 1).build(),
    ] {
        for length in 14..=frame.len() {
            kernel.test_run(&frame[..length], 1).unwrap();
        }
    }
    assert!(kernel.counters().unwrap().of(Paroled).packets >= 4);
}
