//! What is written is what is read back, and what others take.

use super::*;
use crate::feeds::Format;
use crate::feeds::parse::{Outcome, parse};

/// Numbers that look like chance and are the same in each run (xorshift64).
fn chance(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

/// Some entries: of both families, of any length but 0, with whole seconds, with milliseconds, without an end.
fn entries(state: &mut u64) -> Vec<Item> {
    let items = (0..chance(state) % 40).map(|_| {
        let bits = u128::from(chance(state)) << 64 | u128::from(chance(state)) << 20;
        // Half of them close together, so that some lie within others.
        let near = chance(state).is_multiple_of(2);
        let prefix = match chance(state) % 2 {
            0 => IpNet::new(
                std::net::Ipv4Addr::from(if near {
                    0x0a00_0000 | bits as u32 >> 20
                } else {
                    (bits >> 64) as u32
                })
                .into(),
                (1 + chance(state) % 32) as u8,
            ),
            _ => IpNet::new(
                std::net::Ipv6Addr::from(0x2001 << 112 | if near { bits >> 80 } else { bits >> 3 }).into(),
                (1 + chance(state) % 128) as u8,
            ),
        };
        let lasts = match chance(state) % 4 {
            0 => None,
            1 => Some(Duration::from_millis(1 + chance(state) % 100_000)),
            _ => Some(Duration::from_secs(1 + chance(state) % 2_000_000)),
        };
        Item { prefix: prefix.expect("a length that there is").trunc(), lasts, gone: false }
    });
    settle(items.collect())
}

fn written(entries: &[Item], to: Export) -> (String, Written) {
    let mut out = Vec::new();
    let written = write(entries, to, &mut out).expect("memory takes all");
    (String::from_utf8(out).expect("UTF-8"), written)
}

fn read(list: &str, format: Format) -> (Vec<Item>, Outcome) {
    let mut items = Vec::new();
    let outcome = parse(list.as_bytes(), format, &mut |item| items.push(item));
    (items, outcome)
}

#[test]
fn what_is_written_is_read_back_as_the_same() {
    let mut state = 0x2545_f491_4f6c_dd1d;
    let mut covered = 0;
    for _ in 0..400 {
        let entries = entries(&mut state);
        for to in Export::ALL {
            let (list, count) = written(&entries, to);
            let expected: Vec<Item> = entries
                .iter()
                .filter(|entry| {
                    let within =
                        |other: &&Item| other.prefix != entry.prefix && other.prefix.contains(&entry.prefix);
                    to != Export::Nft || !entries.iter().any(|other| within(&other))
                })
                .map(|entry| Item {
                    lasts: match to {
                        Export::Text => None,
                        Export::Ipset => entry
                            .lasts
                            .map(|time| Duration::from_secs(time.as_millis().div_ceil(1000) as u64)),
                        Export::Nft | Export::Json => entry.lasts,
                    },
                    ..*entry
                })
                .collect();
            for format in [Format::Auto, to.read_as()] {
                let (items, outcome) = read(&list, format);
                assert_eq!(items, expected, "{to}: {list}");
                assert_eq!(outcome.skipped, 0, "{to}: {list}");
                assert_eq!(outcome.taken, count.entries);
            }
            assert_eq!(count.entries + count.covered, entries.len() as u64);
            covered += count.covered;
        }
    }
    assert!(covered > 100, "{covered}");
}

impl Export {
    fn read_as(self) -> Format {
        match self {
            Export::Text => Format::Text,
            Export::Nft => Format::Nft,
            Export::Ipset => Format::Ipset,
            Export::Json => Format::CrowdSec,
        }
    }
}

fn item(prefix: &str, seconds: Option<u64>) -> Item {
    Item { prefix: prefix.parse().expect("a prefix"), lasts: seconds.map(Duration::from_secs), gone: false }
}

#[test]
fn each_prefix_is_kept_once_with_its_longest_time() {
    let list = vec![
        item("192.0.2.7/32", Some(5)),
        item("2001:db8::/32", None),
        item("192.0.2.7/32", Some(9)),
        item("10.0.0.0/8", Some(7)),
        item("2001:db8::/32", Some(3)),
        Item { gone: true, ..item("10.0.0.0/8", None) },
        Item { gone: true, ..item("10.9.0.0/16", None) },
    ];
    let expected = [item("10.0.0.0/8", Some(7)), item("192.0.2.7/32", Some(9)), item("2001:db8::/32", None)];
    assert_eq!(settle(list), expected);
}

#[test]
fn what_a_format_has_no_word_for_is_counted() {
    let list = [item("0.0.0.0/0", Some(3_000_000)), item("10.0.0.0/8", None), item("::/0", None)];
    let (ipset, count) = written(&list, Export::Ipset);
    assert_eq!(
        ipset,
        "create portcullis4 hash:net family inet maxelem 65536 timeout 0\n\
         add portcullis4 0.0.0.0/1 timeout 2147483\nadd portcullis4 128.0.0.0/1 timeout 2147483\n\
         add portcullis4 10.0.0.0/8 timeout 0\n\
         create portcullis6 hash:net family inet6 maxelem 65536 timeout 0\n\
         add portcullis6 ::/1 timeout 0\nadd portcullis6 8000::/1 timeout 0\n"
    );
    assert_eq!(count, Written { entries: 3, covered: 0, shortened: 1 });
    let (nft, count) = written(&list, Export::Nft);
    assert_eq!(
        nft,
        "table inet portcullis {\n\tset deny4 {\n\t\ttype ipv4_addr\n\t\tflags interval,timeout\n\
         \t\telements = { 0.0.0.0/0 timeout 34d17h20m }\n\t}\n\
         \tset deny6 {\n\t\ttype ipv6_addr\n\t\tflags interval,timeout\n\t\telements = { ::/0 }\n\t}\n}\n"
    );
    assert_eq!(count, Written { entries: 2, covered: 1, shortened: 0 });
}

#[test]
fn a_name_is_read_as_it_is_written() {
    for export in Export::ALL {
        assert_eq!(export.to_string().parse(), Ok(export));
    }
    let error = "xml".parse::<Export>().expect_err("not a format").to_string();
    assert_eq!(error, "lists are not written as `xml`; expected text, nft, ipset or json");
}
