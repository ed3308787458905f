//! Another capacity at the next start: the maps are replaced, and what is in force moves with them.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use gateway_common::{ABI_VERSION, verdict::Reason};
use gateway_userspace::dataplane::{Budgets, Dataplane, DenyEntry, Error, ListLease};
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet},
    stop::Stop,
};

use crate::namespace::{Sender, in_namespace, wait_for};

fn frame(source: &str) -> Vec<u8> {
    Packet::from(source).tcp(443, ACK).build()
}

/// Enough for more filter lines than the least.
const ENTRIES: u32 = 3000;

fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + number * 7).to_string()
}

fn filled(change: impl FnOnce(&mut gateway_userspace::dataplane::Options)) -> Option<Kernel> {
    let mut kernel = Kernel::load_with(change)?;
    let entries: Vec<_> = (0..ENTRIES).map(|number| (net(&address(number)), DenyEntry::forever(7))).collect();
    kernel.deny_many(&entries).unwrap();
    kernel.deny(net("2001:db8::/64"), DenyEntry::lasting(Duration::from_secs(600), 8)).unwrap();
    kernel.deny(net("172.16.0.0/12"), DenyEntry::forever(9)).unwrap();
    kernel.deny(net("192.0.2.0/28"), DenyEntry::forever(9)).unwrap();
    kernel.allow(net("198.51.100.0/24")).unwrap();
    Some(kernel)
}

fn all_in_force(kernel: &Kernel, what: &str) {
    for number in (0..ENTRIES).step_by(97) {
        kernel.expect(what, &frame(&address(number)), Reason::DeniedSource);
    }
    kernel.expect(what, &frame("2001:db8::1"), Reason::DeniedSource);
    kernel.expect(what, &frame("172.20.1.1"), Reason::DeniedPrefix);
    kernel.expect(what, &frame("192.0.2.3"), Reason::DeniedPrefix);
    kernel.expect(what, &frame("203.0.113.1"), Reason::Clean);
}

#[test]
fn entries_counters_allowlist_and_budgets_move_to_a_larger_and_a_smaller_capacity() {
    let budgets = Budgets { packets_per_second: 1, packet_burst: 500, ..Budgets::default() };
    let Some(mut kernel) = filled(|options| options.budgets = budgets) else { return };
    kernel.test_run(&frame("203.0.113.9"), 600).unwrap();
    kernel.test_run(&frame(&address(0)), 5).unwrap();
    let entries: Vec<_> = kernel.entries().collect();
    for capacity in [65_536, 3000, 1 << 20, 4096] {
        let counters = kernel.counters().unwrap();
        let of_ban = kernel.ban_counters(7).unwrap().unwrap().packets;
        kernel.reopen_with(|options| options.deny_capacity = capacity).unwrap();
        assert!(!kernel.is_resizing());
        assert_eq!(kernel.counters().unwrap(), counters, "{capacity}");
        assert_eq!(kernel.ban_counters(7).unwrap().unwrap().packets, of_ban, "{capacity}");
        assert_eq!(kernel.entries().collect::<Vec<_>>(), entries, "{capacity}");
        assert_eq!(kernel.allowed().collect::<Vec<_>>(), [net("198.51.100.0/24")]);
        all_in_force(&kernel, &format!("capacity {capacity}"));
        // A fresh budget would let all 100 through; a spent one has refilled one packet per second since.
        let before = kernel.counters().unwrap();
        kernel.test_run(&frame("203.0.113.9"), 100).unwrap();
        let over = kernel.counters().unwrap().since(&before).of(Reason::OverPackets).packets;
        assert!(over > 50, "a spent budget stays spent: {over}");
        assert_eq!(kernel.reconcile(4096).unwrap().drifted, []);
    }
    // The new size is the one that holds.
    let room = 4096 - ENTRIES;
    let more = |number: u32| net(&std::net::Ipv4Addr::from(0x0b00_0000 + number).to_string());
    let used = |kernel: &Kernel| kernel.rooms().map(|room| (room.entries, room.is_full()));
    assert_eq!(used(&kernel), [(ENTRIES as usize, false), (1, false), (2, false), (0, false)]);
    (0..room).for_each(|number| kernel.deny(more(number), DenyEntry::forever(1)).unwrap());
    assert_eq!(used(&kernel)[0], (4096, true));
    assert!(matches!(
        kernel.deny(more(room), DenyEntry::forever(1)),
        Err(Error::Full { capacity: 4096, .. })
    ));
    kernel.lift(more(0)).unwrap();
    assert_eq!(used(&kernel)[0], (4095, false));
}

#[test]
fn lists_move_to_another_capacity() {
    let Some(mut kernel) = Kernel::load() else { return };
    let list: Vec<_> = (0..1000).map(|number| net(&address(number))).collect();
    let list = [list, vec![net("2001:db8::/64"), net("172.16.0.0/12")]].concat();
    kernel.list_begin(ListLease { id: 7, until_ns: None, observe: false }).unwrap();
    kernel.list_add(7, &list).unwrap();
    while kernel.list_commit(7).unwrap().is_none() {}
    for capacity in [65_536, 2000] {
        kernel.reopen_with(|options| options.deny_capacity = capacity).unwrap();
        assert_eq!(kernel.lists(), [7], "{capacity}");
        kernel.expect("the last", &frame(&address(999)), Reason::DeniedSource);
        kernel.expect("IPv6", &frame("2001:db8::1"), Reason::DeniedSource);
        kernel.expect("prefix", &frame("172.20.1.1"), Reason::DeniedPrefix);
        assert_eq!(kernel.rooms().map(|room| room.entries), [1000, 1, 1, 0], "{capacity}");
        assert_eq!(kernel.reconcile(4096).unwrap().drifted, []);
    }
}

#[test]
fn a_capacity_below_what_is_in_force_names_the_numbers_and_touches_nothing() {
    let Some(mut kernel) = filled(|_| {}) else { return };
    let error = kernel.reopen_with(|options| options.deny_capacity = 1024).unwrap_err();
    assert!(matches!(error, Error::Capacity { capacity: 1024, addresses: 3000, networks: 1, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("1024") && text.contains("3000 or more"), "{text}");
    kernel.reopen_with(|options| options.deny_capacity = 4096).unwrap();
    all_in_force(&kernel, "after the refusal");
}

#[test]
fn what_has_ended_does_not_count_against_a_smaller_capacity() {
    let Some(mut kernel) = Kernel::load() else { return };
    for number in 0..2000 {
        let entry = DenyEntry {
            until_ns: Some(1 + u64::from(number % 2) * (u64::MAX >> 1)),
            ..DenyEntry::forever(1)
        };
        kernel.deny(net(&address(number)), entry).unwrap();
    }
    kernel.reopen_with(|options| options.deny_capacity = 1024).unwrap();
    assert_eq!(kernel.entries().len(), 1000);
    kernel.expect("still running", &frame(&address(1)), Reason::DeniedSource);
}

#[test]
fn a_start_that_dies_on_the_way_leaves_everything_to_the_next() {
    let Some(mut kernel) = filled(|_| {}) else { return };
    kernel.close();
    let mut options = kernel.options().clone();
    options.deny_capacity = 100_000;
    let dying = Dataplane::load(&options).unwrap();
    assert!(dying.is_resizing());
    // A process that is killed runs no destructor.
    std::mem::forget(dying);
    let next = options.pin_root.join(format!("v{ABI_VERSION}/next"));
    assert!(next.join("DENY4").exists());
    kernel.reopen();
    assert!(!next.exists());
    all_in_force(&kernel, "with the old capacity");
    kernel.reopen_with(|options| options.deny_capacity = 100_000).unwrap();
    assert!(!next.exists());
    all_in_force(&kernel, "with the new one");
}

#[test]
fn not_one_packet_of_a_banned_source_passes_while_the_maps_are_replaced() {
    in_namespace(|| {
        let mut kernel = filled(|options| options.interfaces = vec!["in0".into()]).expect("asked before");
        let stop = AtomicBool::new(false);
        let sent = AtomicU64::new(0);
        thread::scope(|scope| {
            // The namespace belongs to the thread that made it, and to those that it starts.
            scope.spawn(|| {
                let banned = [frame(&address(0)), frame(&address(ENTRIES - 1)), frame("2001:db8::1")];
                let sender = Sender::on("out0");
                while !stop.load(Relaxed) {
                    banned.iter().for_each(|frame| sender.send(frame));
                    sent.fetch_add(banned.len() as u64, Relaxed);
                }
            });
            // Also when an assertion below fails: the scope waits for the flood.
            let _stop = Stop(&stop);
            for capacity in [65_536, 3000, 200_000, 4096, 8192] {
                let before = sent.load(Relaxed);
                kernel.reopen_with(|options| options.deny_capacity = capacity).unwrap();
                wait_for(|| sent.load(Relaxed) > before + 300);
            }
        });
        let sent = sent.load(Relaxed);
        // A pair that is flooded loses frames before the program sees them.
        let counters = kernel.counters().unwrap();
        let dropped = counters.of(Reason::DeniedSource).packets;
        println!("{dropped} of {sent} frames were dropped by the program");
        assert!(dropped > 1000, "{dropped} of {sent}");
        assert_eq!(counters.of(Reason::Clean).packets, 0, "of {sent}");
    });
}
