//! Lists of which only what differs is told.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gateway_common::verdict::Reason::{Clean, DeniedPrefix, DeniedSource};
use gateway_userspace::dataplane::{DenyEntry, ListLease, Listed, clock};
use ipnet::IpNet;
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet},
};

fn lease(id: u32, seconds: u64) -> ListLease {
    let until_ns = Some(clock::monotonic_ns_after(Duration::from_secs(seconds)));
    ListLease { id, until_ns, observe: false }
}

fn nets(prefixes: &[&str]) -> Vec<IpNet> {
    prefixes.iter().map(|prefix| net(prefix)).collect()
}

fn tell(kernel: &mut Kernel, lease: ListLease, prefixes: &[IpNet]) {
    kernel.list_begin(lease).unwrap();
    kernel.list_add(lease.id, prefixes).unwrap();
    while kernel.list_commit(lease.id).unwrap().is_none() {}
}

/// Whether a packet from each is dropped.
fn drops(kernel: &Kernel, sources: &[&str]) -> Vec<bool> {
    let verdict = |source: &&str| {
        let (_, counters) = kernel.send(&Packet::from(source).tcp(443, ACK).build());
        let count = |reason| counters.of(reason).packets;
        assert_eq!(count(Clean) + count(DeniedSource) + count(DeniedPrefix), 1, "{source}");
        count(Clean) == 0
    };
    sources.iter().map(verdict).collect()
}

#[test]
fn what_goes_and_comes_is_written_and_the_rest_stays() {
    let Some(mut kernel) = Kernel::load() else { return };
    let list = ["192.0.2.1", "192.0.2.2", "10.0.0.0/8", "2001:db8::/64", "2001:db8:1::/48"];
    tell(&mut kernel, lease(7, 3600), &nets(&list));
    let sources =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "10.9.9.9", "198.51.100.1", "2001:db8::5", "2001:db8:1::1"];
    assert_eq!(drops(&kernel, &sources), [true, true, false, true, false, true, true]);
    let (gone, new) =
        (["192.0.2.1", "10.0.0.0/8", "2001:db8::/64", "192.0.2.9"], ["192.0.2.3", "198.51.100.0/24"]);
    let listed = kernel.list_change(lease(7, 60), &nets(&gone), &nets(&new)).unwrap();
    assert_eq!(listed, Listed { entries: 4, added: 2, removed: 3, without_room: 0 });
    assert_eq!(drops(&kernel, &sources), [false, true, true, false, true, false, true]);
    let again = kernel.list_change(lease(7, 60), &nets(&gone), &nets(&new)).unwrap();
    assert_eq!(again, Listed { entries: 4, ..Listed::default() }, "twice is as good as once");
    assert!(kernel.reconcile(100).unwrap().drifted.is_empty());

    // What came holds as long as the rest.
    kernel.sweep(clock::monotonic_ns_after(Duration::from_secs(1800))).unwrap();
    assert_eq!(drops(&kernel, &sources), [false, true, true, false, true, false, true]);
    let all = nets(&["192.0.2.2", "192.0.2.3", "198.51.100.0/24", "2001:db8:1::/48"]);
    let emptied = kernel.list_change(lease(7, 60), &all, &[]).unwrap();
    assert_eq!(emptied, Listed { removed: 4, ..Listed::default() });
    assert!(kernel.lists().is_empty());
    assert_eq!(drops(&kernel, &sources), [false; 7]);
    let filled = kernel.list_change(lease(7, 60), &[], &nets(&["192.0.2.1"])).unwrap();
    assert_eq!(filled, Listed { entries: 1, added: 1, ..Listed::default() });
    assert_eq!(drops(&kernel, &sources[..2]), [true, false]);
    kernel.reopen();
    let taken_over = kernel.list_change(lease(7, 60), &nets(&["192.0.2.1"]), &nets(&["192.0.2.2"])).unwrap();
    assert_eq!(taken_over, Listed { entries: 1, added: 1, removed: 1, without_room: 0 });
    assert_eq!(drops(&kernel, &sources[..2]), [false, true]);
}

#[test]
fn whoever_else_has_a_prefix_holds_it_when_it_leaves_a_list() {
    let Some(mut kernel) = Kernel::load() else { return };
    tell(&mut kernel, lease(7, 3600), &nets(&["192.0.2.1", "192.0.2.2"]));
    tell(&mut kernel, lease(8, 1800), &nets(&["192.0.2.1"]));
    kernel.deny(net("192.0.2.2"), DenyEntry::lasting(Duration::from_secs(60), 1)).unwrap();
    let gone = nets(&["192.0.2.1", "192.0.2.2"]);
    let listed = kernel.list_change(lease(7, 60), &gone, &[]).unwrap();
    assert_eq!(listed.removed, 2);
    assert_eq!(drops(&kernel, &["192.0.2.1", "192.0.2.2"]), [true, true], "another list, and a ban");
    assert!(kernel.reconcile(100).unwrap().drifted.is_empty());
    kernel.list_change(lease(8, 60), &gone, &[]).unwrap();
    kernel.lift(net("192.0.2.2")).unwrap();
    assert_eq!(drops(&kernel, &["192.0.2.1", "192.0.2.2"]), [false, false]);
}

#[test]
fn what_comes_without_room_is_left_out_and_what_goes_makes_room() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 2048) else { return };
    let address = |number: u32| IpNet::from(IpAddr::from(Ipv4Addr::from(0x0b00_0000 + number)));
    // Half of so small a map is for bans.
    let list: Vec<IpNet> = (0..1024).map(address).collect();
    tell(&mut kernel, lease(7, 3600), &list);
    let full = kernel.list_change(lease(7, 60), &[], &[address(2000)]).unwrap();
    assert_eq!(full, Listed { entries: 1024, added: 0, removed: 0, without_room: 1 });
    let changed = kernel.list_change(lease(7, 60), &[address(5)], &[address(2000)]).unwrap();
    assert_eq!(changed, Listed { entries: 1024, added: 1, removed: 1, without_room: 0 });
    assert_eq!(drops(&kernel, &["11.0.0.5", "11.0.7.208"]), [false, true]);
}
