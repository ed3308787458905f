//! A start that finds the maps of version 1: what is in force moves, and no packet slips through.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use gateway_common::{
    ABI_VERSION,
    allowlist::AllowValue,
    counters::Count,
    maps::Spec,
    v1::{self, BanCount, DenyValue},
    verdict::Reason,
};
use gateway_userspace::dataplane::{Dataplane, DenyEntry, Error, clock};
use tests::{
    bpf::{Object, processors, trie_key},
    kernel::{Kernel, net},
    packet::{ACK, Packet},
    stop::Stop,
};

use crate::namespace::{Listener, Sender, in_namespace, index_of, wait_for};

fn frame(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, ACK).build()
}

/// Entries of the old gateway beside those that are named.
const MANY: u32 = 5000;

fn of_many(number: u32) -> [u8; 4] {
    (0x0a00_0000 + number * 7).to_be_bytes()
}

fn old(root: &Path) -> PathBuf {
    root.join(format!("v{}", v1::ABI_VERSION))
}

fn new(root: &Path) -> PathBuf {
    root.join(format!("v{ABI_VERSION}"))
}

/// The pins of version 1, with the sizes that a capacity of 8192 had.
fn plant(root: &Path, capacity: u32) {
    let old = old(root);
    std::fs::create_dir_all(&old).unwrap();
    for spec in v1::ALL {
        let max_entries = match spec.name {
            "DENY4" | "DENY6" => capacity,
            "FILTER" => 256,
            _ => spec.max_entries,
        };
        Object::map(&Spec { max_entries, ..spec }).unwrap().pin(&old.join(spec.name)).unwrap();
    }
}

fn value(until_ns: u64, ban_id: u32, bits: u32, observe: bool) -> [DenyValue; 1] {
    [DenyValue { until_ns, ban_id, flags: bits << 8 | u32::from(observe) }]
}

/// What the old gateway had in force. Returns the end of its one lease.
fn fill(root: &Path) -> u64 {
    let map = |name: &str| Object::pinned(&old(root).join(name)).unwrap();
    let until_ns = clock::monotonic_ns() + 600_000_000_000;
    let deny4 = map("DENY4");
    for number in 0..MANY {
        deny4.write(&of_many(number), &value(0, 7, 32, false)).unwrap();
    }
    deny4.write(&[192, 0, 2, 1], &value(until_ns, 8, 32, false)).unwrap();
    deny4.write(&[192, 0, 2, 2], &value(1, 9, 32, false)).unwrap();
    let network = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0];
    map("DENY6").write(&network, &value(0, 10, 64, true)).unwrap();
    let wide = trie_key(12, &[172, 16, 0, 0], 12);
    map("DENY_PREFIX4").write(&wide, &value(0, 11, 12, false)).unwrap();
    let wide = trie_key(48, &[0x20, 1, 0xd, 0xb8, 0, 1], 20);
    map("DENY_PREFIX6").write(&wide, &value(0, 11, 48, false)).unwrap();
    let apart = trie_key(16, &[172, 20, 0, 0], 12);
    map("ALLOW4").write(&apart, &[AllowValue::default()]).unwrap();
    map("ALLOW6").write(&trie_key(32, &[0x20, 1, 0xd, 0xb9], 20), &[AllowValue::default()]).unwrap();

    let mut counts = vec![Count::default(); processors()];
    counts.iter_mut().for_each(|count| *count = Count { packets: 10, bytes: 600 });
    map("COUNTERS").write(&(Reason::DeniedSource as u32).to_ne_bytes(), &counts).unwrap();
    let mut counts = vec![BanCount::default(); processors()];
    counts[0] = BanCount { packets: 3, bytes: 180, last_ns: 5 };
    map("BAN_COUNTERS").write(&8_u32.to_ne_bytes(), &counts).unwrap();
    until_ns
}

/// A program that was loaded once, for its options, and the pins of version 1 in the place of its own.
fn with_old_pins() -> Option<Kernel> {
    let mut kernel = Kernel::load_with(|options| options.deny_capacity = 8192)?;
    kernel.close();
    let root = kernel.options().pin_root.clone();
    std::fs::remove_dir_all(new(&root)).unwrap();
    plant(&root, 8192);
    Some(kernel)
}

fn all_in_force(kernel: &Kernel) {
    for number in (0..MANY).step_by(499) {
        let source = std::net::Ipv4Addr::from(of_many(number)).to_string();
        kernel.expect("exact", &frame(&source), Reason::DeniedSource);
    }
    kernel.expect("a lease", &frame("192.0.2.1"), Reason::DeniedSource);
    kernel.expect("a lease that has ended", &frame("192.0.2.2"), Reason::Clean);
    kernel.expect("IPv6, observed", &frame("2001:db8::1"), Reason::ObservedSource);
    kernel.expect("a prefix", &frame("172.17.0.1"), Reason::DeniedPrefix);
    kernel.expect("allowed within it", &frame("172.20.0.1"), Reason::Allowed);
    kernel.expect("an IPv6 prefix", &frame("2001:db8:1::1"), Reason::DeniedPrefix);
    kernel.expect("not listed", &frame("203.0.113.1"), Reason::Clean);
}

#[test]
fn entries_allowlist_and_counters_move_and_the_old_pins_go() {
    let Some(mut kernel) = with_old_pins() else { return };
    let root = kernel.options().pin_root.clone();
    let until_ns = fill(&root);
    kernel.reopen();

    assert!(!old(&root).exists(), "the old pins are gone");
    assert!(!new(&root).join("next").exists());
    let entries: Vec<_> = kernel.entries().collect();
    assert_eq!(entries.len(), MANY as usize + 4, "without the one that has ended");
    let of = |prefix| entries.iter().find(|(other, _)| *other == net(prefix)).map(|(_, entry)| *entry);
    let lease = DenyEntry { until_ns: Some(until_ns), ..DenyEntry::forever(8) };
    assert_eq!(of("192.0.2.1"), Some(lease));
    assert_eq!(of("2001:db8::/64"), Some(DenyEntry::forever(10).observed()));
    assert_eq!(of("172.16.0.0/12"), Some(DenyEntry::forever(11)));
    assert_eq!(kernel.allowed().collect::<Vec<_>>(), [net("172.20.0.0/16"), net("2001:db9::/32")]);
    let denied = kernel.counters().unwrap().of(Reason::DeniedSource);
    assert_eq!((denied.packets, denied.bytes), (10 * processors() as u64, 600 * processors() as u64));
    assert_eq!(kernel.ban_counters(8).unwrap().unwrap().packets, 3);
    all_in_force(&kernel);
    assert_eq!(kernel.ban_counters(8).unwrap().unwrap().packets, 4, "goes on from there");
    assert_eq!(kernel.reconcile(10_000).unwrap().drifted, []);

    // From now on it is a start like any other.
    let (counters, entries) = (kernel.counters().unwrap(), entries.len());
    kernel.reopen();
    assert_eq!(kernel.counters().unwrap(), counters);
    assert_eq!(kernel.ban_counters(8).unwrap().unwrap().packets, 4);
    assert_eq!(kernel.entries().len(), entries);
}

#[test]
fn a_start_that_dies_on_the_way_leaves_the_old_maps_and_the_next_one_moves_them() {
    let Some(mut kernel) = with_old_pins() else { return };
    let root = kernel.options().pin_root.clone();
    fill(&root);
    let dying = Dataplane::load(kernel.options()).unwrap();
    assert_eq!(dying.is_migrating(), Some(MANY as usize + 4));
    // A process that is killed runs no destructor.
    std::mem::forget(dying);
    assert!(new(&root).join("next/DENY4").exists());
    assert!(!new(&root).join("DENY4").exists());
    assert!(v1::ALL.iter().all(|spec| old(&root).join(spec.name).exists()));
    // One that dies between two pins that come into their place.
    std::fs::rename(new(&root).join("next/SETTINGS"), new(&root).join("SETTINGS")).unwrap();
    kernel.reopen();
    assert!(!old(&root).exists());
    all_in_force(&kernel);
}

#[test]
fn counters_that_cannot_be_read_once_more_cost_no_pin_of_a_map_in_use() {
    let Some(mut kernel) = with_old_pins() else { return };
    let root = kernel.options().pin_root.clone();
    fill(&root);
    let mut migrating = Dataplane::load(kernel.options()).unwrap();
    let pin = old(&root).join("COUNTERS");
    std::fs::remove_file(&pin).unwrap();
    let unreadable = Spec { flags: 0, max_entries: 1, ..v1::DENY4 };
    Object::map(&unreadable).unwrap().pin(&pin).unwrap();
    migrating.attach().unwrap();
    assert!(gateway_common::maps::ALL.iter().all(|spec| new(&root).join(spec.name).exists()));
    assert!(!old(&root).exists());
    let denied = migrating.counters().unwrap().of(Reason::DeniedSource).packets;
    assert_eq!(denied, 10 * processors() as u64, "what was read before");
    assert_eq!(migrating.ban_counters(8).unwrap().unwrap().packets, 3);
    drop(migrating);
    kernel.reopen();
    all_in_force(&kernel);
}

#[test]
fn a_foreign_map_under_an_old_name_is_refused_and_so_is_too_little_room() {
    let Some(mut kernel) = with_old_pins() else { return };
    let root = kernel.options().pin_root.clone();
    fill(&root);
    let too_small = kernel.reopen_with(|options| options.deny_capacity = 1024).unwrap_err();
    assert!(matches!(too_small, Error::Capacity { capacity: 1024, addresses: 5001, .. }), "{too_small}");
    for (spec, what) in [
        (Spec { value_bytes: 40, ..v1::DENY4 }, "value size"),
        (Spec { key_bytes: 8, ..v1::DENY4 }, "key size"),
        (Spec { flags: 0, ..v1::DENY4 }, "flags"),
        (Spec { key_bytes: 4, flags: 0, kind: gateway_common::maps::Kind::Array, ..v1::DENY4 }, "type"),
    ] {
        let pin = old(&root).join("DENY4");
        std::fs::remove_file(&pin).unwrap();
        Object::map(&Spec { max_entries: 64, ..spec }).unwrap().pin(&pin).unwrap();
        match kernel.reopen_with(|options| options.deny_capacity = 8192) {
            Err(Error::PinMismatch { what: found, path, .. }) => assert_eq!((found, path), (what, pin)),
            Err(error) => panic!("{error}"),
            Ok(()) => panic!("a map with another {what} was taken"),
        }
    }
    assert!(v1::ALL.iter().all(|spec| old(&root).join(spec.name).exists()), "nothing was touched");
    assert!(!new(&root).join("DENY4").exists());
}

#[test]
fn not_one_packet_of_a_banned_source_passes_the_switch_from_the_old_program() {
    in_namespace(|| {
        let mut kernel = with_old_pins().expect("asked before");
        let root = kernel.options().pin_root.clone();
        fill(&root);
        let old_program = Object::dropping_all_on(index_of("in0")).unwrap();
        old_program.pin(&root.join("links/native/in0")).unwrap();
        drop(old_program);

        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut listener = Listener::on("in0");
        thread::scope(|scope| {
            // The namespace belongs to the thread that made it, and to those that it starts.
            scope.spawn(|| {
                let banned = [frame("10.0.0.0"), frame("192.0.2.1"), frame("172.17.0.1")];
                let sender = Sender::on("out0");
                while !stop.load(Relaxed) {
                    banned.iter().for_each(|frame| sender.send(frame));
                    sent.fetch_add(banned.len() as u64, Relaxed);
                    thread::sleep(Duration::from_micros(20));
                }
            });
            // Also when an assertion below fails: the scope waits for the flood.
            let _stop = Stop(&stop);
            wait_for(|| sent.load(Relaxed) > 300);
            kernel.reopen_with(|options| options.interfaces = vec!["in0".into()]).unwrap();
            wait_for(|| kernel.counters().unwrap().of(Reason::DeniedPrefix).packets > 300);
        });
        Sender::on("out0").send(&frame("203.0.113.1"));
        assert_eq!(listener.sources_until("203.0.113.1"), ["203.0.113.1"], "of {}", sent.load(Relaxed));
        assert_eq!(kernel.counters().unwrap().of(Reason::Clean).packets, 1);
        assert!(!old(&root).exists());
    });
}
