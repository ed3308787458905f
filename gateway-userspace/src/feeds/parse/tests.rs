//! What holds for every format, and the readers that the tests of each use.

use super::*;

/// The items as texts: `PREFIX [for SECONDSs|gone]`.
pub fn read(list: &str, format: Format) -> (Vec<String>, Outcome) {
    let mut items = Vec::new();
    let outcome = parse(list.as_bytes(), format, &mut |item| {
        items.push(match item {
            Item { gone: true, lasts, prefix } => {
                assert_eq!(lasts, None);
                format!("{prefix} gone")
            }
            Item { lasts: None, prefix, .. } => prefix.to_string(),
            Item { lasts: Some(lasts), prefix, .. } => {
                let seconds = format!("{}.{:09}", lasts.as_secs(), lasts.subsec_nanos());
                format!("{prefix} for {}s", seconds.trim_end_matches('0').trim_end_matches('.'))
            }
        });
    });
    (items, outcome)
}

/// The texts of those that were skipped.
pub fn said(outcome: &Outcome) -> Vec<&str> {
    outcome.first_bad.iter().map(|bad| &*bad.text).collect()
}

const SAMPLES: [&str; 6] = [
    "; DROP\n1.10.16.0/20 ; SBL\n192.0.2.1 - 192.0.2.9\n::ffff:1.2.3.4,x\n2001:db8::/32# y\nbad\n",
    r#"{"deleted":[{"duration":"-2s","scope":"Ip","type":"ban","value":"203.0.113.9"}],
        "new":[{"duration":"3h9m1.5s","scope":"Range","type":"ban","value":"203.0.113.0/24"},{"type":"captcha"}]}"#,
    include_str!("nft/listed.txt"),
    include_str!("nft/listed.json"),
    include_str!("ipset/saved.txt"),
    "add element inet t a { 192.0.2.5 timeout 10s, bad }\ndelete element inet t a { 192.0.2.7-192.0.2.9 }\n",
];

/// Numbers that look like chance and are the same in each run (xorshift64).
fn chance(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as usize
}

#[test]
fn whatever_stands_in_a_list_is_taken_or_skipped_and_nothing_breaks() {
    const WORDS: [&[u8]; 14] = [
        b"{",
        b"}",
        b"\"",
        b"\n",
        b"-",
        b",",
        b"add ",
        b"elements = {",
        b"timeout ",
        b"\xff",
        b"\0",
        b"\\u0000",
        b"[[",
        b"99999999999999999999d",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let (mut taken, mut skipped) = (0, 0);
    for round in 0..3000 {
        let mut list = SAMPLES[round % SAMPLES.len()].as_bytes().to_vec();
        for _ in 0..chance(&mut state) % 6 {
            let at = chance(&mut state) % list.len().max(1);
            match chance(&mut state) % 5 {
                0 => list.truncate(at),
                1 => drop(list.splice(at..at, WORDS[chance(&mut state) % WORDS.len()].iter().copied())),
                2 if at < list.len() => list[at] = chance(&mut state) as u8,
                3 if at < list.len() => drop(list.remove(at)),
                _ => list.extend_from_within(at.min(list.len())..),
            }
            list.truncate(16 << 10);
        }
        for format in Format::ALL {
            let mut items = 0;
            let outcome = parse(&list, format, &mut |item| {
                assert_eq!(item.prefix, item.prefix.trunc());
                assert!(item.lasts.is_none_or(|lasts| lasts <= LASTS_MAX && !lasts.is_zero()));
                items += 1;
            });
            assert!(items >= outcome.taken && items <= outcome.taken * 254, "{outcome:?}");
            assert_eq!(outcome.first_bad.len() as u64, outcome.skipped.min(FIRST_BAD_MAX as u64));
            assert!(outcome.first_bad.iter().all(|bad| bad.text.len() <= BAD_TEXT_BYTES_MAX
                && !matches!(bad.place, Place::Line(0) | Place::Entry(0))));
            assert_ne!(outcome.format, Format::Auto);
            if outcome.format == Format::Text {
                let says = |line: &&[u8]| {
                    !line
                        .split(|byte| b"#;".contains(byte))
                        .next()
                        .unwrap_or_default()
                        .trim_ascii()
                        .is_empty()
                };
                let lines = list.split(|byte| *byte == b'\n').filter(says).count() as u64;
                assert_eq!(outcome.taken + outcome.skipped, lines);
            }
            taken += outcome.taken;
            skipped += outcome.skipped;
        }
    }
    assert!(taken > 20_000 && skipped > 20_000, "{taken} and {skipped}");
}

#[test]
fn as_many_entries_as_there_are_are_counted_in_every_format() {
    const COUNT: u64 = 1000;
    let each = |entry: &dyn Fn(u64) -> String, between: &str| -> String {
        (0..COUNT).map(entry).collect::<Vec<_>>().join(between)
    };
    // Every third is none.
    let value =
        |n: u64| if n.is_multiple_of(3) { "x".into() } else { format!("10.0.{}.{}", n / 256, n % 256) };
    let decision =
        |n: u64| format!(r#"{{"type":"ban","scope":"Ip","value":"{}","duration":"1h"}}"#, value(n));
    let lists = [
        each(&value, "\n# next\n\n"),
        format!(r#"{{"new":[{}]}}"#, each(&decision, ",")),
        format!("table inet t {{\n set a {{\n elements = {{ {} }}\n}}\n}}\n", each(&value, ",\n")),
        format!(r#"{{"nftables":[{{"set":{{"elem":[{}]}}}}]}}"#, each(&|n| format!("{:?}", value(n)), ", ")),
        format!("create a hash:ip\n{}", each(&|n| format!("add a {}", value(n)), "\n")),
    ];
    for list in lists {
        let (items, outcome) = read(&list, Format::Auto);
        assert_eq!(outcome.skipped, COUNT.div_ceil(3), "{:?}", outcome.format);
        assert_eq!((outcome.taken, items.len() as u64), (COUNT - COUNT.div_ceil(3), outcome.taken));
    }
}

/// By the processor's time of this thread, which others on the machine do not add to; what is quadratic takes 256 times as
/// long for 16 times as much.
#[test]
fn the_time_grows_with_the_bytes_and_not_faster() {
    let hostile: [&dyn Fn(usize) -> String; 9] = [
        &|n| "1.2.3.4\n".repeat(n),
        &|n| "-".repeat(n),
        &|n| format!("table a {{ set b {{ elements = {{ {}", "{".repeat(n)),
        &|n| format!("table a {{ set b {{ elements = {{ {}", "1.2.3.4 ".repeat(n)),
        &|n| format!("add element a b {{ {} }}", "\"\n".repeat(n)),
        &|n| (0..n).map(|n| format!("create {n} hash:ip netmask 24\nadd {n} 1.2.3.4\n")).collect(),
        &|n| format!("add a 1.2.3.4 {}", "timeout 1 ".repeat(n)),
        &|n| format!("{{\"new\":{}", "[".repeat(n)),
        &|n| format!("{{\"nftables\":[{}1]}}", "{\"add\":".repeat(n)),
    ];
    for (number, list) in hostile.iter().enumerate() {
        let time = |n: usize| {
            let list = list(n);
            let best = (0..3).map(|_| {
                let started = processor_time();
                for format in Format::ALL {
                    parse(list.as_bytes(), format, &mut |_| {});
                }
                processor_time() - started
            });
            best.min().unwrap_or_default()
        };
        let (small, large) = (time(5_000).max(Duration::from_millis(1)), time(80_000));
        assert!(large < 80 * small, "list {number}: {small:?} for 5000, {large:?} for 80 000");
    }
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_list_with_more_than_is_taken_is_refused_whatever_its_ranges_expand_to() {
    let read =
        |list: &str, most| super::read(list.as_bytes(), Format::Auto, most).map(|(items, _)| items.len());
    let hosts: String = (0..10).map(|n| format!("192.0.2.{n}\n")).collect();
    assert_eq!(read(&hosts, 10), Ok(10));
    assert_eq!(read(&hosts, 9), Err(TooMany(9)));
    // 254 networks a line: 25 million in all.
    let wide = "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe\n".repeat(100_000);
    assert_eq!(read(&wide, 1000), Err(TooMany(1000)));
    assert_eq!(read("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe\n", 254), Ok(254));
    assert_eq!(read("add a 10.0.0.1-10.0.0.6\n", 3), Err(TooMany(3)));
    let said = TooMany(1000).to_string();
    assert_eq!(said, "the list holds more than 1000 addresses and networks");
}
