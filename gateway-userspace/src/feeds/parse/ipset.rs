//! What `ipset save` prints and `ipset restore` reads, of ipset 7.
//!
//! Lines of `add` and `del` are entries. Those of sets of something else (ports, interfaces, other sets) are skipped, and so
//! are exceptions (`nomatch`), which a list of networks has no word for.

use std::collections::HashMap;
use std::time::Duration;

use super::address::{Span, prefix_length};
use super::{Sink, lines, word};

/// Sets that are remembered; those beyond are skipped, and then entries of sets that nobody knows. A host has some dozens.
const SETS_MAX: usize = 4096;

/// What a set says about all of its entries.
#[derive(Debug, Clone, Copy)]
struct Set {
    /// Its addresses stand for networks of this length.
    bits: Option<u8>,
    /// How long entries last that do not say so themselves.
    lasts: Option<Duration>,
    /// Its addresses are compared by a mask that is no prefix.
    masked: bool,
}

pub(super) fn parse(list: &[u8], sink: &mut Sink<'_>) {
    let mut sets: HashMap<&[u8], Set> = HashMap::new();
    let mut are_all_known = true;
    for (number, line) in lines(list) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (verb, arguments) = verb(line);
        let taken = match verb {
            b"create" | b"-N" => {
                let (name, options) = word(arguments);
                if sets.len() < SETS_MAX || sets.contains_key(name) {
                    sets.insert(name, set(options));
                    continue;
                }
                are_all_known = false;
                None
            }
            b"flush" | b"-F" | b"destroy" | b"-X" | b"rename" | b"-E" | b"swap" | b"-W" | b"COMMIT" => {
                continue;
            }
            b"add" | b"-A" | b"del" | b"-D" if !are_all_known && !sets.contains_key(word(arguments).0) => {
                None
            }
            b"add" | b"-A" => entry(arguments, &sets).map(|(span, lasts)| (span, lasts, false)),
            b"del" | b"-D" => entry(arguments, &sets).map(|(span, _)| (span, None, true)),
            _ => None,
        };
        match taken {
            Some((span, lasts, gone)) => sink.take(span, lasts, gone),
            None => sink.skip_line(number, line),
        }
    }
}

/// The command and its arguments, without `-exist` around it.
fn verb(line: &[u8]) -> (&[u8], &[u8]) {
    let without = |text| match word(text) {
        (b"-exist" | b"-!", rest) => rest,
        _ => text,
    };
    let (verb, arguments) = word(without(line));
    (verb, without(arguments))
}

fn set(options: &[u8]) -> Set {
    let mut set = Set { bits: None, lasts: None, masked: false };
    let (mut is_ipv4, mut netmask) = (true, None);
    let mut rest = options;
    while !rest.is_empty() {
        let (option, after) = word(rest);
        let (value, after_value) = word(after);
        rest = match option {
            b"family" => {
                is_ipv4 = value != b"inet6";
                after_value
            }
            b"netmask" => {
                netmask = Some(value);
                after_value
            }
            b"bitmask" => {
                set.masked = true;
                after_value
            }
            b"timeout" => {
                set.lasts = seconds(value).flatten();
                after_value
            }
            _ => after,
        };
    }
    if let Some(netmask) = netmask {
        set.bits = prefix_length(netmask, is_ipv4);
        set.masked |= set.bits.is_none();
    }
    set
}

/// The addresses of an entry and its time, if it is of addresses alone and no exception.
fn entry(arguments: &[u8], sets: &HashMap<&[u8], Set>) -> Option<(Span, Option<Duration>)> {
    let (name, rest) = word(arguments);
    let (addresses, mut rest) = word(rest);
    let set = sets.get(name);
    let span = Span::read(addresses)?;
    let span = match set {
        Some(Set { masked: true, .. }) => return None,
        Some(Set { bits: Some(bits), .. }) => span.widened(*bits)?,
        _ => span,
    };
    let mut lasts = set.and_then(|set| set.lasts);
    while !rest.is_empty() {
        let (option, after) = word(rest);
        rest = match option {
            b"nomatch" => return None,
            b"timeout" => {
                let (value, after) = word(after);
                lasts = seconds(value)?;
                after
            }
            b"comment" => word(after).1,
            _ => after,
        };
    }
    Some((span, lasts))
}

/// A number of seconds, 0 for ever.
fn seconds(text: &[u8]) -> Option<Option<Duration>> {
    let seconds = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some((seconds > 0).then(|| Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, said};
    use crate::feeds::Format;

    /// Printed by ipset 7.17 on Linux 6.18.
    const SAVED: &str = include_str!("ipset/saved.txt");

    #[test]
    fn what_ipset_saves_is_read_set_by_set() {
        let (items, outcome) = read(SAVED, Format::Auto);
        assert_eq!(outcome.format, Format::Ipset);
        let expected = [
            "9.9.9.9/32 for 2147482s",
            "1.2.3.5/32",
            "1.2.3.4/32 for 299s",
            "1.0.0.0/29",
            "2.2.2.2/32",
            "1.0.0.8/31",
            "1.2.3.0/24",
            "2001:db8::/32 for 98s",
            "1.2.3.4/32",
            "192.168.1.1/32",
            "1.2.3.4/31",
            "2001:db8::/64",
            "10.1.2.0/24",
        ];
        assert_eq!(items, expected);
        let skipped = [
            "add b 10.1.0.0/16 nomatch packets 0 bytes 0",
            "add d 1.2.3.4,tcp:80",
            "add h 10.0.0.0/8,eth0",
            "add g a",
        ];
        assert_eq!(said(&outcome), skipped);
        assert_eq!(outcome.taken, expected.len() as u64);
    }

    #[test]
    fn what_is_written_for_restore_is_read_too() {
        let list = "create -exist a hash:ip timeout 300\nflush a\n-exist add a 192.0.2.1\nadd a 192.0.2.2 timeout 0\n\
                    add a 192.0.2.3 comment \"timeout 5 nomatch\"\nadd a 192.0.2.4-192.0.2.5 timeout 7\n\
                    del a 192.0.2.9\nadd a 192.0.2.6 timeout soon\nadd a\nbad\nCOMMIT\n\
                    create b hash:ip bitmask 255.255.0.255\nadd b 192.0.2.7\n\
                    create c hash:ip netmask 33\nadd c 192.0.2.8\n";
        let (items, outcome) = read(list, Format::Ipset);
        let expected = [
            "192.0.2.1/32 for 300s",
            "192.0.2.2/32",
            "192.0.2.3/32 for 300s",
            "192.0.2.4/31 for 7s",
            "192.0.2.9/32 gone",
        ];
        assert_eq!(items, expected);
        assert_eq!(
            said(&outcome),
            ["add a 192.0.2.6 timeout soon", "add a", "bad", "add b 192.0.2.7", "add c 192.0.2.8"]
        );
    }
    #[test]
    fn sets_are_remembered_up_to_a_number_and_entries_of_others_are_skipped() {
        use std::fmt::Write;

        let mut list = String::from("add before 192.0.2.1\n");
        for number in 0..=super::SETS_MAX {
            writeln!(list, "create s{number} hash:ip timeout 7").unwrap();
        }
        list.push_str("create s0 hash:ip timeout 9\n");
        for (number, set) in [0, super::SETS_MAX - 1, super::SETS_MAX].into_iter().enumerate() {
            writeln!(list, "add s{set} 192.0.2.{}", number + 2).unwrap();
        }
        let (items, outcome) = read(&list, Format::Auto);
        assert_eq!(items, ["192.0.2.1/32", "192.0.2.2/32 for 9s", "192.0.2.3/32 for 7s"]);
        assert_eq!(said(&outcome), ["create s4096 hash:ip timeout 7", "add s4096 192.0.2.4"]);
    }
}
