//! Lists that are told in pieces, beside bans and each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::lists::Numbers;
use gateway_common::{
    ABI_VERSION,
    denylist::{DenyValue, FLAG_LIST, FOREVER},
    verdict::Reason::{self, Allowed, Clean, DeniedPrefix, DeniedSource, ObservedPrefix, ObservedSource},
};
use gateway_userspace::dataplane::{DenyEntry, Drift, Error, ListLease, Listed, Parole, clock};
use ipnet::IpNet;
use tests::{
    bpf::Object,
    kernel::{Kernel, net},
    packet::{ACK, Packet},
    stop::Stop,
};

use crate::namespace::{Sender, in_namespace, wait_for};

fn frame(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, ACK).build()
}

/// Without an end.
fn forever(id: u32) -> ListLease {
    ListLease { id, until_ns: None, observe: false }
}

/// An hour from now.
fn hour(id: u32) -> ListLease {
    ListLease { until_ns: Some(clock::monotonic_ns_after(Duration::from_secs(3600))), ..forever(id) }
}

fn commit(kernel: &mut Kernel, id: u32) -> Listed {
    loop {
        if let Some(listed) = kernel.list_commit(id).unwrap() {
            return listed;
        }
    }
}

fn tell(kernel: &mut Kernel, lease: ListLease, prefixes: &[IpNet]) -> Listed {
    kernel.list_begin(lease).unwrap();
    prefixes.chunks(8192).for_each(|piece| kernel.list_add(lease.id, piece).unwrap());
    commit(kernel, lease.id)
}

fn nets(prefixes: &[&str]) -> Vec<IpNet> {
    prefixes.iter().map(|prefix| net(prefix)).collect()
}

fn address(number: u32) -> IpNet {
    IpAddr::from(Ipv4Addr::from(0x0b00_0000 + number * 7)).into()
}

fn addresses(numbers: std::ops::Range<u32>) -> Vec<IpNet> {
    numbers.map(address).collect()
}

#[track_caller]
fn expect(kernel: &Kernel, description: &str, prefix: IpNet, reason: Reason) {
    kernel.expect(description, &frame(&prefix.addr().to_string()), reason);
}

fn dropped_by(kernel: &Kernel, id: u32) -> u64 {
    kernel.ban_counters(id).unwrap().map_or(0, |counters| counters.packets)
}

/// Entries of the four maps.
fn entries(kernel: &Kernel) -> [usize; 4] {
    kernel.rooms().map(|room| room.entries)
}

#[test]
fn a_list_of_every_kind_is_in_force_at_once_and_gone_when_it_is_told_nothing() {
    let Some(mut kernel) = Kernel::load() else { return };
    let list = [
        "192.0.2.1",
        "192.0.2.1",
        "10.0.0.0/8",
        "198.51.100.0/24",
        "2001:db8::/64",
        "2001:db8:1::/48",
        "2a00::7/128",
    ];
    let cases = [
        ("192.0.2.1", DeniedSource),
        ("192.0.2.2", Clean),
        ("10.9.9.9", DeniedPrefix),
        ("198.51.100.3", DeniedPrefix),
        ("2001:db8::5", DeniedSource),
        ("2001:db8:1:9::1", DeniedPrefix),
        // A host stands for its /64.
        ("2a00::8", DeniedSource),
        ("2a00:0:0:1::8", Clean),
    ];
    kernel.list_begin(hour(7)).unwrap();
    kernel.list_add(7, &nets(&list)).unwrap();
    for (source, reason) in cases {
        kernel.expect("before it is committed", &frame(source), reason);
    }
    assert_eq!(commit(&mut kernel, 7), Listed { entries: 6, added: 6, removed: 0, without_room: 0 });
    for (source, reason) in cases {
        kernel.expect("committed", &frame(source), reason);
    }
    assert_eq!((entries(&kernel), kernel.lists()), ([1, 2, 2, 1], vec![7]));
    assert_eq!((kernel.entries().len(), dropped_by(&kernel, 7)), (0, 12), "one slot counts for all");
    assert_eq!(kernel.verify().unwrap().drifted, []);

    assert_eq!(tell(&mut kernel, hour(7), &[]), Listed { removed: 6, ..Listed::default() });
    for (source, _) in cases {
        kernel.expect("gone", &frame(source), Clean);
    }
    assert_eq!((entries(&kernel), kernel.lists()), ([0; 4], vec![]));
    assert_eq!(kernel.send(&frame("10.9.9.9")).1.of(Reason::FilterMiss).packets, 0, "with its bits");
    assert!(matches!(kernel.list_add(7, &[]), Err(Error::NotBegun { id: 7 })));
    assert!(matches!(kernel.list_commit(7), Err(Error::NotBegun { id: 7 })));
}

#[test]
fn of_two_lists_the_one_that_lasts_longer_holds_what_both_have_and_the_other_one_is_next() {
    let Some(mut kernel) = Kernel::load() else { return };
    let list = nets(&["192.0.2.1", "2001:db8::/64", "10.0.0.0/8"]);
    tell(&mut kernel, hour(7), &list);
    tell(&mut kernel, forever(8), &list);
    let counts = |kernel: &Kernel| {
        for prefix in &list {
            kernel.test_run(&frame(&prefix.addr().to_string()), 1).unwrap();
        }
        [dropped_by(kernel, 7), dropped_by(kernel, 8)]
    };
    assert_eq!(counts(&kernel), [0, 3]);
    tell(&mut kernel, hour(7), &list);
    assert_eq!(counts(&kernel), [0, 6], "told again it is still the shorter one");
    assert_eq!(entries(&kernel), [1, 1, 1, 0], "a key is one entry");
    tell(&mut kernel, forever(8), &[]);
    assert_eq!(counts(&kernel), [3, 6]);
    assert_eq!(kernel.verify().unwrap().drifted, []);
    tell(&mut kernel, hour(7), &[]);
    assert_eq!(counts(&kernel), [3, 6]);
    assert_eq!(entries(&kernel), [0; 4]);
}

#[test]
fn a_ban_goes_before_a_list_which_takes_over_when_it_ends() {
    let Some(mut kernel) = Kernel::load() else { return };
    let list = nets(&["192.0.2.1", "10.0.0.0/8"]);
    tell(&mut kernel, forever(7), &list);
    for (prefix, source) in [("192.0.2.1", "192.0.2.1"), ("10.0.0.0/8", "10.1.1.1")] {
        let count = |kernel: &Kernel, id| {
            let before = dropped_by(kernel, id);
            assert_eq!(kernel.send(&frame(source)).0, tests::kernel::XDP_DROP, "{prefix}");
            dropped_by(kernel, id) - before
        };
        assert_eq!(count(&kernel, 7), 1);
        kernel.deny(net(prefix), DenyEntry::forever(5)).unwrap();
        assert_eq!(count(&kernel, 5), 1);
        tell(&mut kernel, hour(7), &list);
        assert_eq!(count(&kernel, 5), 1, "also when the list is told again");
        assert!(kernel.lift(net(prefix)).unwrap());
        assert_eq!(count(&kernel, 7), 1, "lifted");
        kernel.deny(net(prefix), DenyEntry { until_ns: Some(1), ..DenyEntry::forever(5) }).unwrap();
        assert_eq!(kernel.sweep(2).unwrap(), [net(prefix)]);
        assert_eq!(count(&kernel, 7), 1, "ended");
        // With nobody there to write the list's value when it ends, a ban must not hide a list that lasts longer.
        kernel.deny(net(prefix), DenyEntry::lasting(Duration::from_secs(60), 5)).unwrap();
        assert_eq!(count(&kernel, 7), 1, "a short ban");
        // Nor lets a list anybody through.
        let parole = Parole { from_ns: 1, every: Duration::from_secs(1) };
        kernel.deny(net(prefix), DenyEntry::forever(5).paroled(parole)).unwrap();
        assert_eq!(count(&kernel, 7), 1, "a parole");
        tell(&mut kernel, hour(7), &list);
        assert_eq!(count(&kernel, 7), 1, "a parole, told after it");
        assert!(kernel.lift(net(prefix)).unwrap());
        // What only counts does not disarm the list.
        kernel.deny_many(&[(net(prefix), DenyEntry::forever(6).observed())]).unwrap();
        assert_eq!(count(&kernel, 7), 1);
        assert!(kernel.lift(net(prefix)).unwrap());
        assert_eq!(kernel.verify().unwrap().drifted, []);
    }
    // The list goes behind a ban.
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(5)).unwrap();
    tell(&mut kernel, forever(7), &[]);
    kernel.expect("the ban stays", &frame("192.0.2.1"), DeniedSource);
    assert_eq!(entries(&kernel), [1, 0, 0, 0]);
    assert!(kernel.lift(net("192.0.2.1")).unwrap());
    kernel.expect("both are gone", &frame("192.0.2.1"), Clean);
    assert_eq!(entries(&kernel), [0; 4]);
}

#[test]
fn a_list_that_observes_counts_and_passes() {
    let Some(mut kernel) = Kernel::load() else { return };
    let list = nets(&["192.0.2.1", "10.0.0.0/8", "2001:db8::/64"]);
    let observing = ListLease { observe: true, ..forever(7) };
    tell(&mut kernel, observing, &list);
    kernel.expect("source", &frame("192.0.2.1"), ObservedSource);
    kernel.expect("prefix", &frame("10.1.1.1"), ObservedPrefix);
    kernel.expect("IPv6", &frame("2001:db8::1"), ObservedSource);
    // One that drops goes before it although it ends sooner.
    tell(&mut kernel, hour(8), &list[..1]);
    kernel.expect("another list drops", &frame("192.0.2.1"), DeniedSource);
    tell(&mut kernel, hour(8), &[]);
    kernel.expect("not any more", &frame("192.0.2.1"), ObservedSource);
    tell(&mut kernel, forever(7), &list);
    kernel.expect("armed", &frame("10.1.1.1"), DeniedPrefix);
    kernel.expect("armed", &frame("192.0.2.1"), DeniedSource);
    kernel.expect("armed", &frame("2001:db8::1"), DeniedSource);
    tell(&mut kernel, observing, &list);
    kernel.expect("disarmed", &frame("10.1.1.1"), ObservedPrefix);
    kernel.expect("disarmed", &frame("192.0.2.1"), ObservedSource);
    kernel.expect("disarmed", &frame("2001:db8::1"), ObservedSource);
    // So with bans that are told together: what the program remembers is over.
    let ban = |observe| {
        let entry = DenyEntry::forever(9);
        [(net("192.0.2.9"), if observe { entry.observed() } else { entry })]
    };
    kernel.deny_many(&ban(false)).unwrap();
    kernel.expect("banned", &frame("192.0.2.9"), DeniedSource);
    kernel.deny_many(&ban(true)).unwrap();
    kernel.expect("only observed", &frame("192.0.2.9"), ObservedSource);
    assert_eq!(kernel.verify().unwrap().drifted, []);
}

#[test]
fn the_kernel_ends_the_lease_and_a_sweep_removes_what_is_left_in_pieces() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 1 << 17) else { return };
    let list = addresses(0..70_000);
    tell(&mut kernel, ListLease { until_ns: Some(1), ..forever(7) }, &list);
    expect(&kernel, "its lease is over", list[5], Clean);
    tell(&mut kernel, hour(8), &list[..10]);
    assert_eq!(kernel.sweep(2).unwrap(), [], "bans only");
    let left = entries(&kernel)[0];
    assert!(left > 10 && left < 70_000, "{left}");
    while entries(&kernel)[0] > 10 {
        kernel.sweep(2).unwrap();
    }
    assert_eq!(kernel.lists(), [8]);
    expect(&kernel, "of another list", list[5], DeniedSource);
    expect(&kernel, "of no other", list[10], Clean);
    assert_eq!(kernel.verify().unwrap().drifted, []);
    while !kernel.lists().is_empty() {
        kernel.sweep(u64::MAX).unwrap();
    }
    assert_eq!(entries(&kernel), [0; 4]);
}

#[test]
fn what_is_allowed_inside_a_list_passes() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.allow(net("10.1.0.0/16")).unwrap();
    let list = nets(&["10.0.0.0/8", "10.1.2.3", "192.0.2.1", "2001:db8::/64", "2001:db8::/32"]);
    tell(&mut kernel, forever(7), &list);
    kernel.expect("allowed before", &frame("10.1.2.3"), Allowed);
    kernel.expect("beside", &frame("10.2.2.3"), DeniedPrefix);
    for (allowed, source, otherwise) in [
        ("192.0.0.0/16", "192.0.2.1", DeniedSource),
        ("192.0.2.1", "192.0.2.1", DeniedSource),
        ("10.7.7.7", "10.7.7.7", DeniedPrefix),
        ("2001:db8::9/128", "2001:db8::9", DeniedSource),
        ("2001:db8:5::/48", "2001:db8:5::1", DeniedPrefix),
    ] {
        kernel.allow(net(allowed)).unwrap();
        kernel.expect(allowed, &frame(source), Allowed);
        assert_eq!(kernel.verify().unwrap().drifted, [], "{allowed}");
        kernel.disallow(net(allowed)).unwrap();
        kernel.expect("not any more", &frame(source), otherwise);
        assert_eq!(kernel.verify().unwrap().drifted, [], "{allowed}");
    }
}

#[test]
fn the_next_process_takes_the_lists_over() {
    let Some(mut kernel) = Kernel::load() else { return };
    let list = [addresses(0..3000), nets(&["10.0.0.0/8", "2001:db8::/64"])].concat();
    tell(&mut kernel, hour(7), &list);
    tell(&mut kernel, ListLease { observe: true, ..forever(8) }, &nets(&["192.0.2.1", "2a00::/32"]));
    kernel.deny(net("192.0.2.2"), DenyEntry::forever(5)).unwrap();
    kernel.test_run(&frame("10.1.1.1"), 3).unwrap();
    let before = entries(&kernel);

    kernel.reopen();

    assert_eq!((kernel.lists(), entries(&kernel)), (vec![7, 8], before));
    assert_eq!(
        kernel.entries().map(|(prefix, _)| prefix).collect::<Vec<_>>(),
        [net("192.0.2.2")],
        "bans only"
    );
    expect(&kernel, "exact", address(2999), DeniedSource);
    kernel.expect("prefix", &frame("10.1.1.1"), DeniedPrefix);
    kernel.expect("observed", &frame("2a00::1"), ObservedPrefix);
    assert_eq!(dropped_by(&kernel, 7), 5, "its counters go on");
    let round = kernel.reconcile(10_000).unwrap();
    assert_eq!((round.checked, round.drifted), (3005, vec![]));

    // Told again, it is the same list.
    let listed = tell(&mut kernel, forever(7), &list[1000..]);
    assert_eq!(listed, Listed { entries: 2002, added: 0, removed: 1000, without_room: 0 });
    expect(&kernel, "gone", address(999), Clean);
    expect(&kernel, "kept", address(1000), DeniedSource);
    tell(&mut kernel, forever(7), &[]);
    tell(&mut kernel, forever(8), &[]);
    assert_eq!(entries(&kernel), [1, 0, 0, 0]);
}

#[test]
fn a_process_that_dies_while_it_tells_a_list_leaves_both_and_the_next_one_tells_it_again() {
    let Some(mut kernel) = Kernel::load() else { return };
    tell(&mut kernel, hour(7), &addresses(0..2000));
    kernel.list_begin(forever(7)).unwrap();
    kernel.list_add(7, &addresses(1500..2500)).unwrap();

    kernel.reopen();

    assert_eq!((kernel.lists(), entries(&kernel)[0]), (vec![7], 2500));
    for number in [0, 1499, 1500, 1999, 2000, 2499] {
        expect(&kernel, "either lease", address(number), DeniedSource);
    }
    assert_eq!(kernel.verify().unwrap().drifted, []);
    let listed = tell(&mut kernel, hour(7), &addresses(1500..2501));
    assert_eq!(listed, Listed { entries: 1001, added: 1, removed: 1500, without_room: 0 });
    expect(&kernel, "gone", address(1499), Clean);
    assert_eq!(entries(&kernel)[0], 1001);

    // It breaks off without dying.
    for _ in 0..3 {
        kernel.list_begin(hour(7)).unwrap();
        kernel.list_add(7, &addresses(2400..3000)).unwrap();
    }
    assert_eq!(entries(&kernel)[0], 1500);
    let listed = tell(&mut kernel, forever(7), &addresses(1500..1600));
    assert_eq!((listed.entries, entries(&kernel)[0]), (100, 100));
    assert_eq!(kernel.verify().unwrap().drifted, []);
}

#[test]
fn what_a_list_is_told_twice_it_has_once() {
    let Some(mut kernel) = Kernel::load() else { return };
    for (had, lease) in [(0, hour(7)), (3000, forever(7))] {
        kernel.list_begin(lease).unwrap();
        kernel.list_add(7, &[addresses(0..2000), addresses(1000..2000)].concat()).unwrap();
        kernel.list_add(7, &addresses(500..3000)).unwrap();
        let listed = commit(&mut kernel, 7);
        assert_eq!(listed, Listed { entries: 3000, added: 3000 - had, removed: 0, without_room: 0 });
        assert_eq!(entries(&kernel)[0], 3000);
        assert_eq!(kernel.verify().unwrap().drifted, []);
    }
    assert_eq!(tell(&mut kernel, hour(7), &[]).removed, 3000);
    assert_eq!(entries(&kernel)[0], 0);
    assert_eq!(kernel.verify().unwrap().drifted, [], "the filter too");
}

#[test]
fn lists_leave_room_for_bans() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 4096) else { return };
    let listed = tell(&mut kernel, hour(7), &addresses(0..4000));
    assert_eq!(listed, Listed { entries: 3072, added: 3072, removed: 0, without_room: 928 });
    assert_eq!(entries(&kernel)[0], 3072);
    expect(&kernel, "went in", address(3071), DeniedSource);
    expect(&kernel, "did not", address(3072), Clean);
    for number in 3500..4524 {
        kernel.deny(address(number), DenyEntry::forever(1)).unwrap();
    }
    assert!(matches!(kernel.deny(address(5000), DenyEntry::forever(1)), Err(Error::Full { .. })));
    // Of the same list nothing is lost although there is no room at all.
    let listed = tell(&mut kernel, forever(7), &addresses(0..3072));
    assert_eq!(listed, Listed { entries: 3072, ..Listed::default() });
    // Nor of another list that the room is enough for when the first is gone.
    for number in 3500..4524 {
        assert!(kernel.lift(address(number)).unwrap());
    }
    let listed = tell(&mut kernel, hour(7), &addresses(3000..6000));
    assert_eq!(listed, Listed { entries: 3000, added: 2928, removed: 3000, without_room: 0 });
    expect(&kernel, "the last", address(5999), DeniedSource);
    assert_eq!(kernel.verify().unwrap().drifted, []);
    kernel.reopen();
    assert_eq!(entries(&kernel)[0], 3000, "the maps hold what the mirror held");
}

#[test]
fn what_something_else_does_to_entries_of_lists_is_put_right() {
    let Some(mut kernel) = Kernel::load() else { return };
    tell(&mut kernel, forever(7), &addresses(0..100));
    let map = Object::pinned(&kernel.options().pin_root.join(format!("v{ABI_VERSION}/DENY4"))).unwrap();
    let key = |number: u32| match address(number).addr() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => unreachable!("addresses are of IPv4"),
    };
    map.remove(&key(5)).unwrap();
    map.write(&key(200), &[DenyValue::new(FOREVER, 7, 32).with(FLAG_LIST, true)]).unwrap();
    map.write(&key(6), &[DenyValue::new(FOREVER, 9, 32)]).unwrap();
    let drifted = (0..4).flat_map(|_| kernel.reconcile(10_000).unwrap().drifted);
    let drifted: BTreeSet<String> = drifted.map(|drift| drift.to_string()).collect();
    let expected =
        [Drift::Missing(address(5)), Drift::Extra(Some(address(200))), Drift::Different(address(6))];
    assert_eq!(drifted, expected.iter().map(Drift::to_string).collect());
    expect(&kernel, "there again", address(5), DeniedSource);

    // A key that is gone does not keep the others from going.
    map.remove(&key(50)).unwrap();
    assert_eq!(tell(&mut kernel, forever(7), &[]).removed, 100);
    kernel.reopen();
    assert_eq!(entries(&kernel), [0; 4]);
}

#[test]
fn a_long_list_is_told_again_and_again() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 1 << 18) else { return };
    let scattered = |numbers: std::ops::Range<u32>| -> Vec<IpNet> {
        let addresses = numbers.map(|number| Ipv4Addr::from(number.wrapping_mul(0x9e37_79b1)));
        addresses.map(|address| IpAddr::from(address).into()).collect()
    };
    let networks = |numbers: std::ops::Range<u32>| -> Vec<IpNet> {
        let addresses = numbers.map(|number| u128::from(0x2001_0db8_0000_0000 | u64::from(number)) << 64);
        addresses.map(|address| IpNet::new(Ipv6Addr::from(address).into(), 64).unwrap()).collect()
    };
    let list = |from: u32| [scattered(from..from + 80_000), networks(from..from + 20_000)].concat();
    let mut had = BTreeSet::new();
    for from in [0, 5_000, 60_000] {
        let list = list(from);
        let now = BTreeSet::from_iter(list.iter().copied());
        let listed = tell(&mut kernel, hour(7), &list);
        let (added, removed) = (now.difference(&had).count(), had.difference(&now).count());
        assert_eq!(listed, Listed { entries: 100_000, added, removed, without_room: 0 });
        for prefix in list.iter().step_by(991) {
            expect(&kernel, "told", *prefix, DeniedSource);
        }
        for prefix in had.difference(&now).step_by(491) {
            expect(&kernel, "not told again", *prefix, Clean);
        }
        assert_eq!(entries(&kernel), [80_000, 20_000, 0, 0]);
        had = now;
    }
    assert_eq!(kernel.verify().unwrap().drifted, []);
    kernel.reopen();
    assert_eq!(entries(&kernel), [80_000, 20_000, 0, 0]);
    assert_eq!(tell(&mut kernel, hour(7), &[]).removed, 100_000);
    assert_eq!(entries(&kernel), [0; 4]);
}

#[test]
fn not_one_packet_of_a_source_that_stays_passes_while_its_list_is_told_again() {
    in_namespace(|| {
        let mut kernel = Kernel::load_with(|options| {
            options.interfaces = vec!["in0".into()];
            options.deny_capacity = 1 << 16;
        })
        .expect("asked before");
        let kept = nets(&["192.0.2.1", "10.0.0.0/8", "2001:db8::/64"]);
        let list = |from: u32| [kept.clone(), addresses(from..from + 10_000)].concat();
        tell(&mut kernel, hour(7), &list(0));
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            // The namespace belongs to the thread that made it, and to those that it starts.
            scope.spawn(|| {
                let frames = [frame("192.0.2.1"), frame("10.1.1.1"), frame("2001:db8::1")];
                let sender = Sender::on("out0");
                while !stop.load(Relaxed) {
                    frames.iter().for_each(|frame| sender.send(frame));
                    sent.fetch_add(frames.len() as u64, Relaxed);
                }
            });
            // Also when an assertion below fails: the scope waits for the flood.
            let _stop = Stop(&stop);
            for round in 1..8 {
                let before = sent.load(Relaxed);
                tell(&mut kernel, if round % 2 == 0 { hour(7) } else { forever(7) }, &list(round * 5000));
                // The other one takes over what both have, and back.
                tell(&mut kernel, hour(8), &kept);
                tell(&mut kernel, hour(8), &[]);
                wait_for(|| sent.load(Relaxed) > before + 300);
            }
        });
        let sent = sent.load(Relaxed);
        let counters = kernel.counters().unwrap();
        let dropped = counters.dropped().packets;
        println!("{dropped} of {sent} frames were dropped by the program");
        assert!(dropped > 1000, "{dropped} of {sent}");
        assert_eq!(
            (counters.of(Clean).packets, counters.of(Reason::FilterMiss).packets),
            (0, 0),
            "of {sent}"
        );
    });
}

/// What a list has, whether it drops, and what it is being told.
#[derive(Default)]
struct Told {
    held: BTreeMap<IpNet, bool>,
    telling: Option<(bool, BTreeMap<IpNet, bool>)>,
}

#[test]
fn whatever_bans_and_lists_do_in_any_order_what_one_of_them_drops_is_dropped() {
    let Some(mut kernel) = Kernel::load() else { return };
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let address = |numbers: &mut Numbers| match numbers.below(2) {
        0 => IpAddr::from(Ipv4Addr::from(0x0a00_0000 | numbers.below(8) as u32)),
        _ => IpAddr::from(Ipv6Addr::from(u128::from(0x2001_0db8_0000_0000 | numbers.below(4)) << 64)),
    };
    let prefix = |numbers: &mut Numbers| {
        let address = address(numbers);
        let bits = match address {
            IpAddr::V4(_) => [8, 29, 30, 32, 32, 32][numbers.below(6) as usize],
            IpAddr::V6(_) => [32, 62, 63, 64, 64, 64][numbers.below(6) as usize],
        };
        IpNet::new(address, bits).expect("bits of the family").trunc()
    };
    let mut bans: BTreeMap<IpNet, bool> = BTreeMap::new();
    let mut allowed = BTreeSet::new();
    let mut lists: [Told; 3] = Default::default();
    for step in 0..3000 {
        let at = prefix(&mut numbers);
        let drops = numbers.below(4) > 0;
        let which = numbers.below(3) as usize;
        let (id, list) = (which as u32 + 10, &mut lists[which]);
        match numbers.below(12) {
            0 | 1 => {
                let ban = DenyEntry { observe: !drops, ..DenyEntry::forever(1) };
                kernel.deny(at, ban).unwrap();
                bans.insert(at, drops);
            }
            2 => {
                assert_eq!(kernel.lift(at).unwrap(), bans.remove(&at).is_some());
            }
            3 => {
                kernel.allow(at).unwrap();
                allowed.insert(at);
            }
            4 | 5 => {
                kernel.disallow(at).unwrap();
                allowed.remove(&at);
            }
            6 | 7 if list.telling.is_none() => {
                let lease = if numbers.below(2) == 0 { forever(id) } else { hour(id) };
                kernel.list_begin(ListLease { observe: !drops, ..lease }).unwrap();
                list.telling = Some((drops, BTreeMap::new()));
            }
            6 => {
                let Some((_, told)) = list.telling.take() else { continue };
                let had: BTreeSet<IpNet> = list.held.keys().copied().collect();
                let has: BTreeSet<IpNet> = told.keys().copied().collect();
                let expected = Listed {
                    entries: has.len(),
                    added: has.difference(&had).count(),
                    removed: had.difference(&has).count(),
                    without_room: 0,
                };
                assert_eq!(commit(&mut kernel, id), expected, "step {step}");
                list.held = told;
            }
            _ => {
                let Some((drops, told)) = &mut list.telling else { continue };
                let piece = [at, prefix(&mut numbers)];
                kernel.list_add(id, &piece).unwrap();
                told.extend(piece.map(|prefix| (prefix, *drops)));
            }
        }
        for _ in 0..3 {
            let source = address(&mut numbers);
            let all = lists
                .iter()
                .flat_map(|list| list.held.iter().chain(list.telling.iter().flat_map(|(_, told)| told)));
            let mut covering = all.chain(&bans).filter(|(prefix, _)| prefix.contains(&source));
            let is_allowed = allowed.iter().any(|prefix| prefix.contains(&source));
            let expected = covering.any(|(_, drops)| *drops) && !is_allowed;
            let (_, counters) = kernel.send(&frame(&source.to_string()));
            assert_eq!(counters.dropped().packets == 1, expected, "{source} at step {step}");
        }
        if step % 50 == 0 {
            assert_eq!(kernel.verify().unwrap().drifted, [], "step {step}");
        }
    }
    for id in 10..13 {
        tell(&mut kernel, forever(id), &[]);
    }
    for prefix in bans.into_keys() {
        assert!(kernel.lift(prefix).unwrap());
    }
    assert_eq!(entries(&kernel), [0; 4]);
    kernel.reopen();
    assert_eq!((entries(&kernel), kernel.lists()), ([0; 4], vec![]), "the maps hold what the mirror held");
}
