//! All that the kernel holds against what was written, piece by piece.

use std::net::{IpAddr, Ipv4Addr};

use gateway_common::{
    ABI_VERSION,
    denylist::{DenyValue, FOREVER},
};
use gateway_userspace::dataplane::{Comparison, DenyEntry, Drift, ListLease, Verified};
use ipnet::IpNet;
use tests::{
    bpf::{Object, trie_key},
    kernel::{Kernel, net},
};

/// Some hosts from this address on.
fn hosts(first: [u8; 4], count: u32) -> Vec<IpNet> {
    let first = u32::from_be_bytes(first);
    (first..first + count).map(|number| IpAddr::from(Ipv4Addr::from(number)).into()).collect()
}

#[test]
fn everything_is_compared_in_pieces_and_what_comes_and_goes_in_between_is_no_drift() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 1 << 16) else { return };
    let (banned, listed) = (hosts([10, 1, 0, 0], 10_000), hosts([10, 2, 0, 0], 10_000));
    let bans: Vec<_> = banned.iter().map(|prefix| (*prefix, DenyEntry::forever(1))).collect();
    kernel.deny_many(&bans).unwrap();
    kernel.deny(net("172.16.0.0/12"), DenyEntry::forever(2)).unwrap();
    kernel.list_begin(ListLease { id: 7, until_ns: None, observe: false }).unwrap();
    listed.chunks(5_000).for_each(|piece| kernel.list_add(7, piece).unwrap());
    // Under a ban, whose key the list does not get.
    kernel.list_add(7, &banned[..1]).unwrap();
    while kernel.list_commit(7).unwrap().is_none() {}

    let (mut comparison, mut all, mut pieces) = (Comparison::default(), Verified::default(), 0);
    while let Some(piece) = kernel.verify_next(&mut comparison).unwrap() {
        assert!(piece.entries.len() + piece.of_lists <= 2 * 4096, "a ban waits for it");
        all = all.and(piece);
        kernel.lift(banned[100 * pieces + 1]).unwrap();
        kernel.deny(hosts([10, 3, 0, 0], 100)[pieces], DenyEntry::forever(3)).unwrap();
        pieces += 1;
    }
    assert_eq!(all.drifted, []);
    assert!(pieces >= 12 && all.of_lists == 10_000 && all.filter_words > 0, "{pieces}");
    assert!((9_800..=10_200).contains(&all.entries.len()), "{}", all.entries.len());
    let whole = kernel.verify().unwrap();
    assert_eq!((whole.entries.len(), whole.of_lists, whole.drifted), (10_001, 10_000, vec![]));

    let path = kernel.options().pin_root.join(format!("v{ABI_VERSION}"));
    let [deny4, tries] = ["DENY4", "DENY_PREFIX4"].map(|name| Object::pinned(&path.join(name)).unwrap());
    for gone in [[10, 1, 0x27, 0x0f], [10, 2, 0x27, 0x0f]] {
        deny4.remove(&gone).unwrap();
    }
    deny4.write(&[10, 1, 0, 5], &[DenyValue::new(FOREVER, 9, 32)]).unwrap();
    deny4.write(&[10, 9, 0, 5], &[DenyValue::new(FOREVER, 9, 32)]).unwrap();
    tries.remove(&trie_key(12, &[172, 16, 0, 0], 12)).unwrap();
    let mut drifted = kernel.verify().unwrap().drifted;
    drifted.sort_by_key(|drift| format!("{drift:?}"));
    let expected = [
        Drift::Different(net("10.1.0.5")),
        Drift::Extra(Some(net("10.9.0.5"))),
        Drift::Missing(net("10.1.39.15")),
        Drift::Missing(net("10.2.39.15")),
        Drift::Missing(net("172.16.0.0/12")),
    ];
    assert_eq!(drifted, expected);
    let holds = ["10.1.0.5", "10.1.39.15", "172.16.0.0/12"].map(|prefix| kernel.holds(net(prefix)).unwrap());
    assert_eq!(holds, [true, false, false]);
    assert_eq!(kernel.verify().unwrap().drifted.len(), 5, "nothing was repaired");
}
