//! Deny and allow entries of every length.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Command,
};

use gateway_common::{
    ABI_VERSION,
    verdict::Reason::{self, Allowed, Clean, DeniedPrefix, DeniedSource},
};
use gateway_userspace::dataplane::{DenyEntry, Drift, Error};
use ipnet::IpNet;
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet},
};

/// Deny entries, a source, and what becomes of it.
struct Case {
    description: &'static str,
    denied: &'static [&'static str],
    source: &'static str,
    expected: Reason,
}

const CASES: &[Case] = &[
    Case { description: "nothing listed", denied: &[], source: "192.0.2.1", expected: Clean },
    Case {
        description: "the address itself",
        denied: &["192.0.2.1"],
        source: "192.0.2.1",
        expected: DeniedSource,
    },
    Case { description: "its neighbour", denied: &["192.0.2.1"], source: "192.0.2.2", expected: Clean },
    Case {
        description: "/31, inside",
        denied: &["192.0.2.0/31"],
        source: "192.0.2.1",
        expected: DeniedPrefix,
    },
    Case { description: "/31, next to it", denied: &["192.0.2.0/31"], source: "192.0.2.2", expected: Clean },
    Case {
        description: "/25, last",
        denied: &["192.0.2.0/25"],
        source: "192.0.2.127",
        expected: DeniedPrefix,
    },
    Case {
        description: "/25, other half",
        denied: &["192.0.2.0/25"],
        source: "192.0.2.128",
        expected: Clean,
    },
    Case {
        description: "/24, inside",
        denied: &["192.0.2.0/24"],
        source: "192.0.2.200",
        expected: DeniedPrefix,
    },
    Case { description: "/24, next", denied: &["192.0.2.0/24"], source: "192.0.3.0", expected: Clean },
    Case {
        description: "/20, inside",
        denied: &["10.16.16.0/20"],
        source: "10.16.31.255",
        expected: DeniedPrefix,
    },
    Case { description: "/20, next", denied: &["10.16.16.0/20"], source: "10.16.32.0", expected: Clean },
    Case {
        description: "/16, inside",
        denied: &["10.16.0.0/16"],
        source: "10.16.255.1",
        expected: DeniedPrefix,
    },
    Case { description: "/16, next", denied: &["10.16.0.0/16"], source: "10.17.0.0", expected: Clean },
    Case {
        description: "/12, last /16",
        denied: &["10.16.0.0/12"],
        source: "10.31.9.9",
        expected: DeniedPrefix,
    },
    Case { description: "/8, inside", denied: &["10.0.0.0/8"], source: "10.200.1.1", expected: DeniedPrefix },
    Case { description: "/8, next", denied: &["10.0.0.0/8"], source: "11.0.0.0", expected: Clean },
    Case { description: "everything", denied: &["0.0.0.0/0"], source: "203.0.113.9", expected: DeniedPrefix },
    Case {
        description: "the address beats the prefix around it",
        denied: &["192.0.2.0/24", "192.0.2.1"],
        source: "192.0.2.1",
        expected: DeniedSource,
    },
    Case {
        description: "v6 /64, inside",
        denied: &["2001:db8:1:2::/64"],
        source: "2001:db8:1:2:a:b:c:d",
        expected: DeniedSource,
    },
    Case {
        description: "v6 /64, next",
        denied: &["2001:db8:1:2::/64"],
        source: "2001:db8:1:3::1",
        expected: Clean,
    },
    Case {
        description: "v6 /128",
        denied: &["2001:db8:1:2::5/128"],
        source: "2001:db8:1:2::5",
        expected: DeniedPrefix,
    },
    Case {
        description: "v6 /128, same /64",
        denied: &["2001:db8:1:2::5/128"],
        source: "2001:db8:1:2::6",
        expected: Clean,
    },
    Case {
        description: "v6 /96, inside",
        denied: &["2001:db8:1:2:3:4::/96"],
        source: "2001:db8:1:2:3:4:9:9",
        expected: DeniedPrefix,
    },
    Case {
        description: "v6 /56, inside",
        denied: &["2001:db8:1:ff00::/56"],
        source: "2001:db8:1:ffee::1",
        expected: DeniedPrefix,
    },
    Case {
        description: "v6 /56, next",
        denied: &["2001:db8:1:ff00::/56"],
        source: "2001:db8:1:fe00::1",
        expected: Clean,
    },
    Case {
        description: "v6 /48, inside",
        denied: &["2001:db8:1::/48"],
        source: "2001:db8:1:9::1",
        expected: DeniedPrefix,
    },
    Case {
        description: "v6 /48, next",
        denied: &["2001:db8:1::/48"],
        source: "2001:db8:2:9::1",
        expected: Clean,
    },
    Case {
        description: "v6 /40, inside",
        denied: &["2001:db8:100::/40"],
        source: "2001:db8:1ff:9::1",
        expected: DeniedPrefix,
    },
    Case {
        description: "v6 /32, inside",
        denied: &["2001:db8::/32"],
        source: "2001:db8:9:9::1",
        expected: DeniedPrefix,
    },
    Case { description: "v6 /32, next", denied: &["2001:db8::/32"], source: "2001:db9::1", expected: Clean },
    Case {
        description: "v6 /20, inside",
        denied: &["2001:1000::/20"],
        source: "2001:1abc::1",
        expected: DeniedPrefix,
    },
    Case { description: "v6 /8, inside", denied: &["2600::/8"], source: "26ff::1", expected: DeniedPrefix },
    Case { description: "v6 everything", denied: &["::/0"], source: "2a00::1", expected: DeniedPrefix },
    Case {
        description: "an IPv4 entry and an IPv6 source",
        denied: &["0.0.0.0/0"],
        source: "2a00::1",
        expected: Clean,
    },
    Case {
        description: "an IPv6 entry and an IPv4 source",
        denied: &["::/0"],
        source: "192.0.2.1",
        expected: Clean,
    },
    Case {
        description: "an IPv4-mapped entry",
        denied: &["::ffff:192.0.2.1/128"],
        source: "192.0.2.1",
        expected: DeniedSource,
    },
];

#[test]
fn entries_of_every_length_deny_what_they_cover_and_nothing_else() {
    let Some(mut kernel) = Kernel::load() else { return };
    for case in CASES {
        for prefix in case.denied {
            kernel.deny(net(prefix), DenyEntry::forever(1)).unwrap();
        }
        kernel.expect(case.description, &Packet::from(case.source).tcp(443, ACK).build(), case.expected);
        for prefix in case.denied {
            assert!(kernel.lift(net(prefix)).unwrap(), "{}", case.description);
        }
        kernel.expect(case.description, &Packet::from(case.source).tcp(443, ACK).build(), Clean);
    }
    assert_eq!(kernel.entries().len(), 0);
}

#[test]
fn the_allowlist_beats_every_deny_entry() {
    let Some(mut kernel) = Kernel::load() else { return };
    for prefix in ["192.0.2.1", "192.0.2.0/24", "10.0.0.0/8", "2001:db8::/64", "2001:db8::/32"] {
        kernel.deny(net(prefix), DenyEntry::forever(1)).unwrap();
    }
    for (allowed, source) in [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.0.0/16", "192.0.2.1"),
        ("10.9.0.0/16", "10.9.1.1"),
        ("2001:db8::/64", "2001:db8::1"),
        ("2001:db8::7/128", "2001:db8::7"),
        ("2001:db8:5::/48", "2001:db8:5::1"),
    ] {
        let frame = Packet::from(source).tcp(443, ACK).build();
        kernel.allow(net(allowed)).unwrap();
        kernel.expect(source, &frame, Allowed);
        assert!(kernel.disallow(net(allowed)).unwrap());
        assert!(!kernel.disallow(net(allowed)).unwrap());
        assert!(kernel.send(&frame).1.dropped().packets == 1, "{source} is denied again");
    }
    assert_eq!(kernel.allowed().count(), 0);
}

#[test]
fn removing_an_entry_clears_only_its_own_bits() {
    let Some(mut kernel) = Kernel::load() else { return };
    // Pairs that share a wide bit, a line, a pattern, or a range of wide bits.
    for (kept, removed, source) in [
        ("10.1.0.0/20", "10.1.16.0/20", "10.1.3.3"),
        ("10.1.0.0/16", "10.0.0.0/8", "10.1.3.3"),
        ("10.0.0.0/8", "10.1.0.0/16", "10.1.3.3"),
        ("192.0.2.0/25", "192.0.2.128/25", "192.0.2.3"),
        ("192.0.2.0/24", "192.0.2.0/28", "192.0.2.3"),
        ("192.0.2.7", "192.0.2.8", "192.0.2.7"),
        ("2001:db8:1::/40", "2001:db8:200::/40", "2001:db8:1::3"),
        ("2001:db8::/32", "2001:db8::/29", "2001:db8:1::3"),
        ("2001:db8::5/128", "2001:db8::6/128", "2001:db8::5"),
        ("2001:db8::/64", "2001:db8::6/128", "2001:db8::5"),
    ] {
        kernel.deny(net(kept), DenyEntry::forever(1)).unwrap();
        kernel.deny(net(removed), DenyEntry::forever(2)).unwrap();
        kernel.lift(net(removed)).unwrap();
        let (action, counters) = kernel.send(&Packet::from(source).tcp(443, ACK).build());
        assert_eq!((action, counters.dropped().packets), (1, 1), "{kept} after {removed} is gone");
        kernel.lift(net(kept)).unwrap();
        // With both gone the filter is empty again: not even a miss.
        kernel.expect(source, &Packet::from(source).tcp(443, ACK).build(), Clean);
        assert_eq!(kernel.send(&Packet::from(source).build()).1.of(Reason::FilterMiss).packets, 0);
    }
}

#[test]
fn a_growing_and_shrinking_list_never_loses_an_entry() {
    let Some(mut kernel) = Kernel::load() else { return };
    let address = |number: u32| std::net::Ipv4Addr::from(0x0b00_0000 + number.wrapping_mul(0x0001_0003));
    // 64 lines hold 2048 entries before the filter grows.
    for number in 0..4096 {
        kernel.deny(net(&address(number).to_string()), DenyEntry::forever(1)).unwrap();
    }
    for number in (0..4096).step_by(7) {
        let frame = Packet::from(&address(number).to_string()).tcp(443, ACK).build();
        kernel.expect("full", &frame, DeniedSource);
    }
    for number in (0..4096).filter(|number| number % 7 != 0) {
        kernel.lift(net(&address(number).to_string())).unwrap();
    }
    for number in 0..4096 {
        let frame = Packet::from(&address(number).to_string()).tcp(443, ACK).build();
        kernel.expect("thinned", &frame, if number % 7 == 0 { DeniedSource } else { Clean });
    }
}

#[test]
fn a_full_list_says_so_and_keeps_what_it_has() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 8) else { return };
    for number in 0..8 {
        kernel.deny(net(&format!("192.0.2.{number}")), DenyEntry::forever(1)).unwrap();
    }
    let error = kernel.deny(net("192.0.2.99"), DenyEntry::forever(1)).unwrap_err();
    assert!(error.to_string().contains("room for 8"), "{error}");
    assert_eq!(kernel.entries().len(), 8);
    kernel.expect("old entry", &Packet::from("192.0.2.3").tcp(443, ACK).build(), DeniedSource);
    kernel.lift(net("192.0.2.3")).unwrap();
    kernel.deny(net("192.0.2.99"), DenyEntry::forever(1)).unwrap();
}

#[test]
fn many_entries_at_once_are_the_same_as_one_by_one() {
    let Some(mut kernel) = Kernel::load() else { return };
    let prefixes: Vec<IpNet> = (0..3000_u32)
        .map(|number| match number % 4 {
            0 => IpNet::from(IpAddr::from(Ipv4Addr::from(0x0b00_0000 + number * 977))),
            1 => net(&format!("2001:db8:{number:x}:1::/64")),
            2 => net(&format!("172.{}.{}.0/24", number >> 8, number & 255)),
            _ => net(&format!("2a00:{number:x}::/36")),
        })
        .collect();
    let entries: Vec<_> = prefixes.iter().map(|prefix| (*prefix, DenyEntry::forever(3))).collect();
    kernel.deny_many(&entries).unwrap();
    kernel.deny_many(&entries[..100]).unwrap();
    assert_eq!(kernel.entries().len(), 3000);
    for prefix in &prefixes {
        let frame = Packet::from(&prefix.network().to_string()).tcp(443, ACK).build();
        assert_eq!(kernel.send(&frame).1.dropped().packets, 1, "{prefix}");
    }
    for prefix in &prefixes {
        assert!(kernel.lift(*prefix).unwrap());
    }
    assert_eq!(kernel.ban_counters(3).unwrap().unwrap().packets, 3000);
}

#[test]
fn a_batch_that_does_not_fit_goes_in_as_far_as_there_is_room() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 64) else { return };
    // IPv4 does not fit, and the IPv6 entry behind it must not be left in the kernel alone.
    let mut list: Vec<_> =
        (0..100).map(|number| (net(&format!("192.0.2.{number}")), DenyEntry::forever(1))).collect();
    list.push((net("2001:db8::/64"), DenyEntry::forever(1)));
    let error = kernel.deny_many(&list).unwrap_err();
    assert!(error.to_string().contains("room for 64"), "{error}");
    for (prefix, _) in kernel.entries().collect::<Vec<_>>() {
        let frame = Packet::from(&prefix.addr().to_string()).tcp(443, ACK).build();
        kernel.expect("went in", &frame, DeniedSource);
    }
    assert_eq!(kernel.entries().len(), 64);
    kernel.reopen();
    assert_eq!(kernel.entries().len(), 64, "the maps hold what the mirror held");
}

#[test]
fn a_batch_that_fails_half_way_leaves_what_is_behind_as_it_was() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 8) else { return };
    let of = |number: u32, ban_id| (net(&format!("192.0.2.{number}")), DenyEntry::forever(ban_id));
    for number in 0..7 {
        kernel.deny(of(number, 1).0, DenyEntry::forever(1)).unwrap();
    }
    // The second one without room is in the middle; of what it would replace the first is before it.
    let batch = [of(0, 2), of(50, 3), of(51, 4), of(1, 5), of(52, 6)];
    assert!(matches!(kernel.deny_many(&batch), Err(Error::Full { capacity: 8, .. })));
    let mut expected: Vec<_> = (1..7).map(|number| of(number, 1)).collect();
    expected.extend([of(0, 2), of(50, 3)]);
    expected.sort_unstable_by_key(|(prefix, _)| *prefix);
    assert_eq!(kernel.entries().collect::<Vec<_>>(), expected);
    assert_eq!(kernel.verify().unwrap().drifted, []);
    for ban_id in [4, 5, 6] {
        assert_eq!(kernel.ban_counters(ban_id).unwrap().unwrap_or_default().packets, 0, "{ban_id}");
    }
    kernel.expect("as it was", &Packet::from("192.0.2.1").tcp(443, ACK).build(), DeniedSource);
    assert_eq!(kernel.ban_counters(1).unwrap().unwrap().packets, 1);
}

#[test]
fn of_a_batch_that_does_not_fit_the_first_go_in_and_of_a_prefix_that_comes_twice_the_last() {
    let Some(mut kernel) = Kernel::load_with(|options| options.deny_capacity = 3000) else { return };
    let address = |number: u32| net(&Ipv4Addr::from(0x0b00_0000 + number * 977).to_string());
    let mut batch: Vec<_> = (0..2900).map(|number| (address(number), DenyEntry::forever(1))).collect();
    batch.extend((0..2900).step_by(2).map(|number| (address(number), DenyEntry::forever(2))));
    kernel.deny_many(&batch[..4096]).unwrap();
    let changed = kernel.entries().filter(|(_, entry)| entry.ban_id == 2).count();
    assert_eq!((kernel.entries().len(), changed), (2900, 1196));
    assert_eq!(kernel.verify().unwrap().drifted, []);

    let batch: Vec<_> = (2900..6900).map(|number| (address(number), DenyEntry::forever(3))).collect();
    assert!(matches!(kernel.deny_many(&batch), Err(Error::Full { capacity: 3000, .. })));
    let first: Vec<_> = kernel.entries().filter(|(_, entry)| entry.ban_id == 3).collect();
    assert_eq!(first, batch[..100]);
    assert_eq!(kernel.verify().unwrap().drifted, []);
}

/// Numbers that look random and are the same each time.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn whatever_is_allowed_and_denied_in_any_order_the_allowlist_wins_where_they_overlap() {
    let Some(mut kernel) = Kernel::load() else { return };
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let address = |numbers: &mut Numbers| {
        if numbers.below(2) == 0 {
            IpAddr::from(Ipv4Addr::from(0x0a00_0000 | numbers.below(16) as u32))
        } else {
            let network = 0x2001_0db8_0000_0000 | numbers.below(8);
            IpAddr::from(Ipv6Addr::from(u128::from(network) << 64 | u128::from(numbers.below(4))))
        }
    };
    // Around the addresses: prefixes that hold one, some, all, and the whole family.
    let prefix = |numbers: &mut Numbers| {
        let address = address(numbers);
        let bits = match address {
            IpAddr::V4(_) => [0, 8, 28, 29, 30, 31, 32, 32][numbers.below(8) as usize],
            IpAddr::V6(_) => [0, 32, 61, 62, 64, 64, 127, 128][numbers.below(8) as usize],
        };
        IpNet::new(address, bits).expect("bits of the family").trunc()
    };
    let (mut denied, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    for step in 0..3000 {
        let at = prefix(&mut numbers);
        match numbers.below(8) {
            0..3 => {
                kernel.deny(at, DenyEntry::forever(1)).unwrap();
                denied.insert(at);
            }
            3 => {
                kernel.deny_many(&[(at, DenyEntry::forever(2))]).unwrap();
                denied.insert(at);
            }
            4 => assert_eq!(kernel.lift(at).unwrap(), denied.remove(&at)),
            5 => {
                kernel.allow(at).unwrap();
                allowed.insert(at);
            }
            _ => assert_eq!(kernel.disallow(at).unwrap(), allowed.remove(&at)),
        }
        if step % 500 == 0 {
            kernel.reopen();
        }
        for _ in 0..3 {
            let source = address(&mut numbers);
            let holds = |set: &BTreeSet<IpNet>| set.iter().any(|prefix| prefix.contains(&source));
            let (_, counters) = kernel.send(&Packet::from(&source.to_string()).tcp(443, ACK).build());
            let found = (counters.dropped().packets == 1, counters.of(Allowed).packets == 1);
            let expected = (holds(&denied) && !holds(&allowed), holds(&denied) && holds(&allowed));
            assert_eq!(found, expected, "{source} at step {step}: {denied:?}, but {allowed:?}");
        }
        if step % 50 == 0 {
            let drifted = kernel.reconcile(1000).unwrap().drifted;
            assert_eq!(drifted, [], "what is told of the allowlist is right at step {step}");
        }
    }
}

#[test]
fn an_entry_that_asks_no_allowlist_although_it_must_is_drift() {
    let Some(mut kernel) = Kernel::load() else { return };
    kernel.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
    let pin = kernel.options().pin_root.join(format!("v{ABI_VERSION}/DENY4"));
    let bpftool = |arguments: &[&str]| {
        Command::new("bpftool")
            .args(["-j", "map", arguments[0], "pinned"])
            .arg(&pin)
            .args(&arguments[1..])
            .output()
    };
    let key = ["key", "192", "0", "2", "1"];
    let Some(output) = bpftool(&[&["lookup"], &key[..]].concat()).ok().filter(|out| out.status.success())
    else {
        tests::privilege::skip(
            "an_entry_that_asks_no_allowlist_although_it_must_is_drift",
            "there is no bpftool",
        );
        return;
    };
    // The entry as it was while nothing was allowed, written back after something is.
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, value) = text.split_once("\"value\":[").unwrap();
    let bytes: Vec<&str> =
        value.split_once(']').unwrap().0.split(',').map(|byte| byte.trim().trim_matches('"')).collect();
    kernel.allow(net("192.0.2.0/24")).unwrap();
    let frame = Packet::from("192.0.2.1").tcp(443, ACK).build();
    let update = [&["update"], &key[..], &["value"], &bytes[..]].concat();
    assert!(bpftool(&update).unwrap().status.success(), "{update:?}");
    kernel.expect("the entry says that nothing overlaps it", &frame, DeniedSource);
    assert_eq!(kernel.reconcile(10).unwrap().drifted, [Drift::Different(net("192.0.2.1"))]);
    kernel.expect("repaired", &frame, Allowed);
}

#[test]
fn either_family_has_room_of_its_own() {
    let Some(mut kernel) = Kernel::load_with(|options| {
        (options.deny_capacity, options.deny6_capacity) = (64, 16);
    }) else {
        return;
    };
    for number in 0..16 {
        kernel.deny(net(&format!("2001:db8:0:{number}::/64")), DenyEntry::forever(1)).unwrap();
    }
    let error = kernel.deny(net("2001:db8:1::/64"), DenyEntry::forever(1)).unwrap_err();
    assert!(error.to_string().contains("room for 16"), "{error}");
    (0..64).for_each(|number| kernel.deny(net(&format!("192.0.2.{number}")), DenyEntry::forever(1)).unwrap());
    let error = kernel.reopen_with(|options| options.deny6_capacity = 8).unwrap_err();
    assert!(error.to_string().starts_with("shield.capacity-ipv6 is 8"), "{error}");
    kernel.reopen_with(|options| options.deny6_capacity = 32).unwrap();
    assert_eq!(kernel.entries().len(), 80);
    kernel.deny(net("2001:db8:1::/64"), DenyEntry::forever(1)).unwrap();
}
