//! Lists of addresses of strangers, in every format.
//!
//! An input is one byte for the format, and a list. Whatever stands in it: entries are canonical and as many as the entries
//! that were taken allow, each line that says something is taken or skipped, the time is that of its bytes, and what is
//! written of it in any format is read back as the same.

mod written;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use gateway_userspace::feeds::parse::{
    BAD_TEXT_BYTES_MAX, FIRST_BAD_MAX, Item, LASTS_MAX, Outcome, Place, parse,
};
use gateway_userspace::feeds::write::{settle, write};
use gateway_userspace::feeds::{Export, Format};
use ipnet::IpNet;
use rustix::time::{ClockId, clock_gettime};

use crate::run::Target;
use ::tests::chance::Chance;

/// Longest list.
const LIST_BYTES_MAX: usize = 32 << 10;
/// Networks that one entry makes at most: an IPv6 range from one odd address to another.
const FAN_MAX: u64 = 254;
/// Processor's time for the longest list in all it goes through: a hundred times what it takes where nothing is optimised.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Items of a list that are written and read back at most.
const WRITTEN_MAX: usize = 2_000;

/// The parser and the writers.
pub struct Lists;

impl Target for Lists {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds: Vec<Vec<u8>> =
            SAMPLES.iter().map(|sample| [&[0], sample.as_bytes()].concat()).collect();
        let mut chance = Chance::new(1);
        for to in Export::ALL {
            let items = (0..20).map(|_| item(&mut chance)).collect();
            let mut list = vec![chance.number() as u8];
            write(&settle(items), to, &mut list).expect("memory takes all");
            seeds.push(list);
        }
        seeds
    }

    fn words(&self) -> &'static [&'static [u8]] {
        WORDS
    }

    fn bytes_max(&self) -> usize {
        1 + LIST_BYTES_MAX
    }

    fn check(&mut self, input: &[u8]) -> Result<u64, String> {
        let (format, list) = input.split_first().unwrap_or((&0, &[]));
        let format = Format::ALL[usize::from(*format) % Format::ALL.len()];
        let started = processor_time();
        let (items, outcome) = read(list, format);
        plausible(list, format, &items, &outcome)?;
        if format == Format::Auto && read(list, outcome.format) != (items.clone(), outcome.clone()) {
            return Err(format!("read as {} it says something else", outcome.format));
        }
        let mut settled = settle(items.clone());
        settled.truncate(WRITTEN_MAX);
        written::reads_back(&settled)?;
        let took = processor_time().saturating_sub(started);
        if took > TIME_MAX {
            return Err(format!("it took {took:?} of the processor's time"));
        }
        let mut hasher = DefaultHasher::new();
        let size = |count: u64| count.min(3) + u64::from(64 - count.leading_zeros());
        let places = outcome.first_bad.iter().map(|bad| bad.text.len().min(8)).collect::<Vec<_>>();
        let kinds = (items.iter().any(|item| item.gone), items.iter().any(|item| item.lasts.is_some()));
        (outcome.format.name(), size(outcome.taken), size(outcome.skipped), places, kinds).hash(&mut hasher);
        size(items.len() as u64).hash(&mut hasher);
        Ok(hasher.finish())
    }
}

fn read(list: &[u8], format: Format) -> (Vec<Item>, Outcome) {
    let mut items = Vec::new();
    let outcome = parse(list, format, &mut |item| items.push(item));
    (items, outcome)
}

/// What holds for every list.
fn plausible(list: &[u8], format: Format, items: &[Item], outcome: &Outcome) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {outcome:?}"));
    if let Some(item) = items.iter().find(|item| !is_canonical(item)) {
        return Err(format!("not canonical: {item:?}"));
    }
    let count = items.len() as u64;
    if count < outcome.taken || count > outcome.taken.saturating_mul(FAN_MAX) {
        return wrong(&format!("{count} items"));
    }
    if outcome.format == Format::Auto || format != Format::Auto && format != outcome.format {
        return wrong("read as something else");
    }
    if outcome.first_bad.len() as u64 != outcome.skipped.min(FIRST_BAD_MAX as u64) {
        return wrong("not the first that were skipped");
    }
    let lines = list.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let entries = outcome.taken + outcome.skipped;
    let is_there = |place: &Place| match place {
        Place::Line(line) => (1..=lines).contains(line),
        Place::Entry(entry) => (1..=entries).contains(entry),
    };
    if !outcome.first_bad.iter().all(|bad| is_there(&bad.place) && bad.text.len() <= BAD_TEXT_BYTES_MAX) {
        return wrong("shown with a place that there is not, or too long");
    }
    let of_lines = match outcome.format {
        Format::Text => says(list, |line| line.split(|byte| b"#;".contains(byte)).next().unwrap_or_default()),
        Format::Ipset => says(list, |line| if is_of_a_set(line) { line } else { b"" }),
        // An element or a decision has two bytes at least, but the last; a document that is none is one.
        Format::Auto | Format::CrowdSec | Format::Nft if entries <= list.len() as u64 / 2 + 1 => entries,
        Format::Auto | Format::CrowdSec | Format::Nft => return wrong("more entries than there can be"),
    };
    if entries != of_lines { wrong(&format!("{of_lines} lines say something")) } else { Ok(()) }
}

/// Lines of which something is left.
fn says(list: &[u8], what: impl Fn(&[u8]) -> &[u8]) -> u64 {
    let list = list.strip_prefix(b"\xef\xbb\xbf").unwrap_or(list);
    list.split(|byte| *byte == b'\n').filter(|line| !what(line.trim_ascii()).trim_ascii().is_empty()).count()
        as u64
}

/// Whether a line of ipset is about entries, or nothing that we know; not about sets, and no comment.
fn is_of_a_set(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let verb = words.find(|word| *word != b"-exist" && *word != b"-!").unwrap_or_default();
    let of_sets: [&[u8]; 11] =
        [b"create", b"-N", b"flush", b"-F", b"destroy", b"-X", b"rename", b"-E", b"swap", b"-W", b"COMMIT"];
    !line.starts_with(b"#") && !of_sets.contains(&verb)
}

fn is_canonical(item: &Item) -> bool {
    let is_mapped = match item.prefix {
        IpNet::V4(_) => false,
        IpNet::V6(v6) => v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some(),
    };
    let lasts = item.lasts.is_none_or(|lasts| !lasts.is_zero() && lasts <= LASTS_MAX);
    item.prefix == item.prefix.trunc() && !is_mapped && lasts && !(item.gone && item.lasts.is_some())
}

/// An item of chance, of either family, some within others.
fn item(chance: &mut Chance) -> Item {
    let bits = u128::from(chance.number()) << 64 | u128::from(chance.number());
    let prefix = match chance.below(2) {
        0 => {
            IpNet::new(std::net::Ipv4Addr::from(bits as u32 & 0x0aff_ffff).into(), 1 + chance.below(32) as u8)
        }
        _ => IpNet::new(
            std::net::Ipv6Addr::from(0x2001 << 112 | bits >> 16).into(),
            1 + chance.below(128) as u8,
        ),
    };
    let lasts = chance.one_in(2).then(|| Duration::from_millis(1 + chance.below(100_000_000) as u64));
    Item { prefix: prefix.expect("a length that there is").trunc(), lasts, gone: false }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const SAMPLES: &[&str] = &[
    "; DROP\n1.10.16.0/20 ; SBL\n192.0.2.1 - 192.0.2.9\n::ffff:1.2.3.4,x\n2001:db8::/32# y\nbad\n",
    "0.0.0.1-255.255.255.254\n::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe\n0.0.0.0/0\n::/0\n",
    r#"{"deleted":[{"duration":"-2s","scope":"Ip","type":"ban","value":"203.0.113.9"}],
        "new":[{"duration":"3h9m1.5s","scope":"Range","type":"ban","value":"203.0.113.0/24"},{"type":"captcha"}]}"#,
    include_str!("../../../gateway-userspace/src/feeds/parse/nft/listed.txt"),
    include_str!("../../../gateway-userspace/src/feeds/parse/nft/listed.json"),
    include_str!("../../../gateway-userspace/src/feeds/parse/ipset/saved.txt"),
    "add element inet t a { 192.0.2.5 timeout 10s, bad }\ndelete element inet t a { 192.0.2.7-192.0.2.9 }\n",
    "create a hash:ip netmask 24 timeout 300\nadd a 192.0.2.1 timeout 5 comment \"x y\"\ndel a 192.0.2.2\n-! add b ::1\n",
];

const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\n",
    b"-",
    b",",
    b"#",
    b";",
    b" ",
    b"/",
    b"/0",
    b"/32",
    b"/128",
    b"::",
    b"0.0.0.0",
    b"1.2.3.4",
    b"::ffff:1.2.3.4",
    b"255.255.255.255",
    b"2001:db8::1",
    b"add ",
    b"add a ",
    b"del ",
    b"create a hash:ip ",
    b"netmask 24 ",
    b"bitmask ",
    b"family inet6 ",
    b"-exist ",
    b"nomatch",
    b"timeout ",
    b"timeout 5",
    b"expires 1s",
    b"elements = { ",
    b"table inet t {\n",
    b"set a {\n",
    b"add element inet t a { ",
    b"null",
    b"{\"nftables\":[",
    b"{\"set\":{\"elem\":[",
    b"{\"prefix\":{\"addr\":\"10.0.0.0\",\"len\":8}}",
    b"{\"range\":[\"1.1.1.1\",\"1.1.1.9\"]}",
    b"{\"elem\":{\"val\":",
    b"{\"new\":[",
    b"\"deleted\":[",
    b"\"duration\":\"1h\"",
    b"\"scope\":\"Ip\"",
    b"\"type\":\"ban\"",
    b"\"value\":\"",
    b"\\u0000",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"99999999999999999999d",
    b"-1s",
    b"0",
    b"never",
    b"1d2h3m4s5ms",
];
