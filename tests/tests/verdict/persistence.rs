//! What outlives the process, and what is refused when it comes back.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use gateway_common::{
    ABI_VERSION,
    allowlist::AllowValue,
    denylist::{DenyValue, FLAG_APART, FLAG_OBSERVE, FOREVER},
    filter::{Line, WIDE_WORDS},
    settings::{MODE_OBSERVE, Settings},
    verdict::Reason,
};
use gateway_userspace::dataplane::{Budgets, Dataplane, DenyEntry, Drift, Error, Parole, clock};
use tests::{
    bpf::{Object, trie_key},
    kernel::{Kernel, XDP_DROP, net},
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

    map(&kernel, "DENY4").remove(&[192, 0, 2, 7]).unwrap();
    assert_eq!(kernel.probe(&frame("192.0.2.7")).unwrap(), Reason::Clean);
    // In samples: the rounds go on where the last one ended.
    let drifted: Vec<_> = (0..5).flat_map(|_| kernel.reconcile(5).unwrap().drifted).collect();
    assert_eq!(drifted, [Drift::Missing(net("192.0.2.7"))]);
    kernel.expect("repaired", &frame("192.0.2.7"), Reason::DeniedSource);
}

#[test]
fn what_the_program_remembers_is_over_with_a_change_and_within_a_second_without_one() {
    let Some(mut kernel) = Kernel::load() else { return };
    for (prefix, source) in [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2::/64", "2001:db8:1:2::7")].repeat(2) {
        let (prefix, frame) = (net(prefix), frame(source));
        kernel.deny(prefix, DenyEntry::forever(1)).unwrap();
        for _ in 0..3 {
            kernel.expect("listed", &frame, Reason::DeniedSource);
        }
        kernel.allow(prefix).unwrap();
        kernel.expect("allowed since", &frame, Reason::Allowed);
        kernel.disallow(prefix).unwrap();
        kernel.expect("no longer", &frame, Reason::DeniedSource);
        // In its place, so that the filter says the same.
        kernel.deny(prefix, DenyEntry::forever(2).observed()).unwrap();
        kernel.expect("observed", &frame, Reason::ObservedSource);
        kernel.lift(prefix).unwrap();
        kernel.expect("lifted", &frame, Reason::Clean);
    }
    // Nobody tells the program of this.
    let frame = frame("192.0.2.1");
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
    kernel.expect("listed", &frame, Reason::DeniedSource);
    map(&kernel, "DENY4").remove(&[192, 0, 2, 1]).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while kernel.test_run(&frame, 1).unwrap().0 == XDP_DROP {
        assert!(Instant::now() < end, "an entry that is gone drops for ever");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A map behind the back of its owner.
fn map(kernel: &Kernel, name: &str) -> Object {
    Object::pinned(&kernel.options().pin_root.join(format!("v{ABI_VERSION}")).join(name)).unwrap()
}

/// Everything is read in one round.
fn drifted(kernel: &mut Kernel) -> Vec<Drift> {
    kernel.reconcile(10_000).unwrap().drifted
}

#[test]
fn entries_that_something_else_has_written_are_removed() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(1)).unwrap();
    let ghost = |bits| [DenyValue::new(FOREVER, 7, bits)];
    map(&kernel, "DENY4").write(&[192, 0, 2, 99], &ghost(32)).unwrap();
    map(&kernel, "DENY6").write(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 1], &ghost(64)).unwrap();
    // In the filter of 10.0.0.0/8, so that it drops; and a host in a trie, where no host of ours is.
    map(&kernel, "DENY_PREFIX4").write(&trie_key(16, &[10, 1, 0, 0], 12), &ghost(16)).unwrap();
    map(&kernel, "DENY_PREFIX4").write(&trie_key(32, &[10, 1, 0, 1], 12), &ghost(32)).unwrap();
    map(&kernel, "DENY_PREFIX6").write(&trie_key(48, &[0x20, 1, 0xd, 0xb8], 20), &ghost(48)).unwrap();
    // In slices, each of one map: the rounds go on where the last one ended.
    let mut found: Vec<_> = (0..4).flat_map(|_| drifted(&mut kernel)).collect();
    let extra = |prefix| Drift::Extra(Some(net(prefix)));
    let expected = [
        extra("10.1.0.0/16"),
        extra("10.1.0.1/32"),
        extra("192.0.2.99"),
        extra("2001:db8:0:1::/64"),
        extra("2001:db8::/48"),
    ];
    found.sort_by_key(|drift| format!("{drift:?}"));
    assert_eq!(found, expected);
    let gone = map(&kernel, "DENY4").read::<DenyValue>(&[192, 0, 2, 99]).unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
    kernel.expect("ours", &frame("192.0.2.1"), Reason::DeniedSource);
    kernel.expect("ours", &frame("10.1.0.1"), Reason::DeniedPrefix);
    assert_eq!((0..4).flat_map(|_| drifted(&mut kernel)).collect::<Vec<_>>(), []);
}

#[test]
fn values_that_something_else_has_changed_are_written_again_but_not_what_the_program_writes() {
    let Some(mut kernel) = Kernel::load() else { return };
    let parole = Parole { from_ns: 1, every: Duration::from_secs(60) };
    kernel.deny(net("192.0.2.1"), DenyEntry::lasting(Duration::from_secs(600), 1).paroled(parole)).unwrap();
    kernel.deny(net("192.0.2.2"), DenyEntry::forever(2)).unwrap();
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(3)).unwrap();
    let (first, second, trie) = ([192, 0, 2, 1], [192, 0, 2, 2], trie_key(8, &[10], 12));
    let deny4 = map(&kernel, "DENY4");
    let ours: DenyValue = deny4.read(&first).unwrap();
    assert_eq!(ours.parole_ns, 1);
    let moved = DenyValue { parole_ns: 99, admitted: 1 << 32, ..ours };
    deny4.write(&first, &[moved]).unwrap();
    for _ in 0..4 {
        assert_eq!(drifted(&mut kernel), [], "the program moves a parole on");
    }
    assert_eq!(deny4.read::<DenyValue>(&first).unwrap(), moved);
    let too_late_ns = clock::monotonic_ns() + 3_600_000_000_000;
    deny4.write(&first, &[DenyValue { parole_ns: too_late_ns, ..moved }]).unwrap();
    let found: Vec<_> = (0..4).flat_map(|_| drifted(&mut kernel)).collect();
    assert_eq!(found, [Drift::Different(net("192.0.2.1"))], "further than an interval");
    assert_eq!(deny4.read::<DenyValue>(&first).unwrap(), ours);

    let other: DenyValue = deny4.read(&second).unwrap();
    let changes = [
        DenyValue { until_ns: 1, ..other },
        DenyValue { ban_id: 77, ..other },
        DenyValue { slot: 0, ..other },
        other.with(FLAG_OBSERVE, true),
        other.with(FLAG_APART, false),
        DenyValue { parole_ns: 5, ..other },
    ];
    for change in changes {
        assert_ne!(change, other);
        deny4.write(&second, &[change]).unwrap();
        let found: Vec<_> = (0..4).flat_map(|_| drifted(&mut kernel)).collect();
        assert_eq!(found, [Drift::Different(net("192.0.2.2"))], "{change:?}");
        assert_eq!(deny4.read::<DenyValue>(&second).unwrap(), other);
    }
    let prefixes = map(&kernel, "DENY_PREFIX4");
    let ours: DenyValue = prefixes.read(&trie).unwrap();
    prefixes.write(&trie, &[DenyValue { until_ns: 1, ..ours }]).unwrap();
    assert_eq!(drifted(&mut kernel), [Drift::Different(net("10.0.0.0/8"))]);
    kernel.expect("as it was", &frame("10.1.1.1"), Reason::DeniedPrefix);
}

#[test]
fn the_allowlist_the_settings_and_the_filter_are_put_right() {
    let Some(mut kernel) = Kernel::load() else { return };
    for number in 0..200 {
        kernel.deny(net(&format!("192.0.2.{number}")), DenyEntry::forever(1)).unwrap();
    }
    kernel.deny(net("10.0.0.0/8"), DenyEntry::forever(1)).unwrap();
    kernel.allow(net("198.51.100.0/24")).unwrap();
    kernel.allow(net("2001:db8::/32")).unwrap();
    let allow4 = map(&kernel, "ALLOW4");
    allow4.write(&trie_key(24, &[192, 0, 2], 12), &[AllowValue::default()]).unwrap();
    allow4.remove(&trie_key(24, &[198, 51, 100], 12)).unwrap();
    map(&kernel, "ALLOW6").remove(&trie_key(32, &[0x20, 1, 0xd, 0xb8], 20)).unwrap();
    let allow = |prefix| Drift::Allow(net(prefix));
    let expected = [allow("192.0.2.0/24"), allow("198.51.100.0/24"), allow("2001:db8::/32")];
    assert_eq!(drifted(&mut kernel), expected);
    let there = allow4.read::<AllowValue>(&trie_key(32, &[198, 51, 100, 7], 12));
    assert!(there.is_ok(), "{there:?}");
    assert!(allow4.read::<AllowValue>(&trie_key(32, &[192, 0, 2, 7], 12)).is_err());

    let (settings, slot) = (map(&kernel, "SETTINGS"), 0_u32.to_ne_bytes());
    let ours: Settings = settings.read(&slot).unwrap();
    for change in [Settings { mode: MODE_OBSERVE, ..ours }, Settings { filter_mask: 0, ..ours }] {
        settings.write(&slot, &[change]).unwrap();
        assert_eq!(drifted(&mut kernel), [Drift::Settings]);
        assert_eq!(settings.read::<Settings>(&slot).unwrap(), ours);
    }

    // One line, the one bit that says "some address of 10.0.0.0/8", and all words that say nothing.
    let filter = map(&kernel, "FILTER");
    let lines = ours.filter_mask + 1;
    let (line, full) = (0..lines)
        .map(|line| (line, filter.read::<Line>(&line.to_ne_bytes()).unwrap()))
        .find(|(_, line)| *line != Line::default())
        .unwrap();
    filter.write(&line.to_ne_bytes(), &[Line::default()]).unwrap();
    let words = full.words.iter().filter(|word| **word != 0).count();
    assert_eq!(drifted(&mut kernel), [Drift::Filter(words)]);
    assert_eq!(filter.read::<Line>(&line.to_ne_bytes()).unwrap(), full);
    let wide = map(&kernel, "WIDE");
    let (word, bits) = (0..WIDE_WORDS)
        .map(|word| (word, wide.read::<u64>(&word.to_ne_bytes()).unwrap()))
        .find(|(_, bits)| *bits != 0)
        .unwrap();
    wide.write(&word.to_ne_bytes(), &[0_u64]).unwrap();
    assert!(matches!(drifted(&mut kernel)[..], [Drift::Filter(1..)]));
    assert_eq!(wide.read::<u64>(&word.to_ne_bytes()).unwrap(), bits);
    assert_eq!(drifted(&mut kernel), []);
    kernel.expect("as it was", &frame("10.1.1.1"), Reason::DeniedPrefix);
}

#[test]
fn removing_the_maps_leaves_nothing_behind() {
    let Some(mut kernel) = Kernel::load() else { return };
    let root = kernel.options().pin_root.clone();
    assert!(root.exists());
    kernel.detach(true).unwrap();
    assert!(!root.exists());
}
