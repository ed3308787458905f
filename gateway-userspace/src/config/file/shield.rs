//! `[shield]`: the kernel stage and the abuse loop.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ban;
use crate::abuse::signal::Kinds;
use crate::config::codes;
use crate::config::decode::{Decoder, Fields, Key, Presence, Spec, Takes, number};
use crate::config::model::{Attach, Ban, Budget, Shield, SynsArmed};
use crate::config::tree::{Node, Value};
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};

/// Longest name of an interface (IFNAMSIZ − 1).
const INTERFACE_MAX: usize = 15;

const INTERFACES: Type<Vec<Located<Box<str>>>> =
    Type { describe: "the name of a network interface, or an array of them", decode: interfaces };
const PORTS: Type<Vec<u16>> = Type { describe: "an array of TCP ports", decode: ports };

const PAROLE: Type<Option<Duration>> =
    Type { describe: "a duration from `\"1s\"` to `\"1d\"`, or `\"off\"`", decode: parole };
const PAROLE_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The keys of `[shield]`.
pub static SPEC: Spec = Spec {
    title: "[shield]",
    doc: "Keeping abusers out: who is banned, and the kernel stage that drops their packets. Without interfaces bans are \
          enforced by the gateway alone.",
    keys: &[
        Key::new(
            "interfaces",
            Takes::Value(INTERFACES.describe),
            Presence::Optional,
            "Network interfaces whose packets are filtered.",
        ),
        Key::new(
            "interface",
            Takes::Value(INTERFACES.describe),
            Presence::Optional,
            "The same as `interfaces`, for one.",
        ),
        Key::new(
            "attach",
            Takes::Word(&["auto", "native", "generic"]),
            Presence::Default("\"auto\""),
            "How the kernel program is attached: in the driver, behind it, or in the driver where that is possible.",
        ),
        Key::new(
            "mode",
            Takes::Word(&["enforce", "observe"]),
            Presence::Default("\"enforce\""),
            "`observe` counts what would be dropped, and drops nothing.",
        ),
        Key::new(
            "packets",
            Takes::Value(value::PACKET_RATE.describe),
            Presence::Optional,
            "Packets that one source (IPv6: one /64) may send; what is more is dropped, and nobody is banned for it. No \
             limit if not given.",
        ),
        Key::new(
            "packet-burst",
            Takes::Number(1, 1_000_000_000),
            Presence::Optional,
            "Packets at once; if not given, as many as in one second.",
        ),
        Key::new(
            "syns",
            Takes::Value(value::PACKET_RATE.describe),
            Presence::Optional,
            "The same for new TCP connections (SYN packets).",
        ),
        Key::new(
            "syn-burst",
            Takes::Number(1, 1_000_000_000),
            Presence::Optional,
            "SYN packets at once; if not given, as many as in one second.",
        ),
        Key::new(
            "syns-armed",
            Takes::Word(&["pressure", "always"]),
            Presence::Default("\"pressure\""),
            "When `syns` is in force: while something presses on the machine and for ten seconds after, or always. While it \
             is not in force SYNs count as any other packet.",
        ),
        Key::new(
            "pressure",
            Takes::Value(value::PACKET_RATE.describe),
            Presence::Default("\"100k/s\""),
            "Packets per second of all sources together above which something presses. A source over a budget, or a listening \
             socket that has no room for new connections, presses too.",
        ),
        Key::new(
            "client-bandwidth",
            Takes::Value(value::BIT_RATE.describe),
            Presence::Optional,
            "The bandwidth of the fastest client. The configuration is refused if `packets` or `syns` could drop something \
             of a client that has it and keeps to every limit; `portcullis budget suggest` says what they must be.",
        ),
        Key::new(
            "ban",
            Takes::Value(value::BAN_RULE.describe),
            Presence::Optional,
            "How many refused requests (401, 403, 429, malformed ones) in which time lead to a ban of their source. It \
             is the rule named `shield`; more rules stand in `[ban.NAME]`. Without any, nobody is banned by behaviour.",
        ),
        Key::new(
            "for",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"10m\""),
            "How long a first ban lasts; it doubles on each return.",
        ),
        Key::new(
            "up-to",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"24h\""),
            "How long a ban can get.",
        ),
        Key::new(
            "parole",
            Takes::Value(PAROLE.describe),
            Presence::Default("\"30s\""),
            "In the last third of a ban by rule, how often one connection of its source is let through and judged: who \
             is refused again is banned anew, for longer; who behaves is not banned any more. `\"off\"`: nobody is let \
             through.",
        ),
        Key::new(
            "collateral",
            Takes::Number(0, 1_000_000),
            Presence::Default("0"),
            "How many other clients, served with a key or token in the last hour, a ban of an address may cut. A rule that \
             would cut more bans the client that is to blame, at layer 7, and nobody if that is not one client; \
             `portcullis ban` then needs `--force`.",
        ),
        Key::new(
            "never",
            Takes::Value(value::PREFIXES.describe),
            Presence::Default("[]"),
            "Who is never banned and never dropped. Loopback, the gateway's own addresses, the next hop, trusted \
             proxies, upstreams and the operator's SSH session always belong to it.",
        ),
        Key::new(
            "cdn",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("true"),
            "Whether the published ranges of Cloudflare and Fastly belong to it too.",
        ),
        Key::new(
            "management-ports",
            Takes::Value(PORTS.describe),
            Presence::Default("[22]"),
            "TCP ports that are never dropped.",
        ),
        Key::new(
            "pins",
            Takes::Value(value::PATH.describe),
            Presence::Default("\"/sys/fs/bpf/portcullis\""),
            "Where the kernel's maps are pinned, so that bans outlive the process.",
        ),
        Key::new(
            "capacity",
            Takes::Number(1024, 16_777_216),
            Presence::Default("262144"),
            "Most IPv4 addresses in the kernel's denylist, those of lists among them; lists leave a sixteenth of it to bans, at \
             least 1024 and at most half.",
        ),
        Key::new(
            "capacity-ipv6",
            Takes::Number(1024, 16_777_216),
            Presence::Optional,
            "The same for IPv6 /64s; without it `capacity`, at most 1048576.",
        ),
    ],
};

/// Networks that there is room for, however many addresses there is room for, if nothing is said of them: an operator who
/// wants a long list wants one of IPv4.
const CAPACITY6_DEFAULT_MAX: u32 = 1 << 20;

/// Decodes `[shield]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Shield> {
    let f = d.fields(&SPEC, "[shield]".into(), node)?;
    let interfaces = interfaces_of(d, &f);
    let attach = &[("auto", Attach::Auto), ("native", Attach::Native), ("generic", Attach::Generic)];
    let attach = f.word(d, "attach", attach);
    let enforce = f.word(d, "mode", &[("enforce", true), ("observe", false)]);
    let packets = budget(d, &f, "packets", "packet-burst");
    let syns = budget(d, &f, "syns", "syn-burst");
    let syns_armed =
        f.word(d, "syns-armed", &[("pressure", SynsArmed::Pressure), ("always", SynsArmed::Always)]);
    let pressure = f.get(d, "pressure", &value::PACKET_RATE);
    let client_bandwidth = f.located(d, "client-bandwidth", &value::BIT_RATE);
    let ban = f.get(d, "ban", &value::BAN_RULE);
    let terms = ban::terms(d, &f);
    let parole = f.get(d, "parole", &PAROLE);
    let never = f.get(d, "never", &value::PREFIXES);
    let collateral = f.number(d, "collateral");
    let cdn = f.get(d, "cdn", &value::BOOLEAN);
    let management_ports = f.get(d, "management-ports", &PORTS);
    let pins = f.get(d, "pins", &value::PATH);
    let capacity: Option<u32> = f.number(d, "capacity");
    let capacity6 = f.number(d, "capacity-ipv6");
    let (first, up_to) = terms?;
    let rule = |when| Ban {
        name: ban::OF_SHIELD.into(),
        when,
        kinds: Kinds::USUAL,
        route: None,
        observe: false,
        first,
        up_to,
    };
    Some(Shield {
        interfaces: interfaces?,
        attach: attach?,
        enforce: enforce?,
        packets,
        syns,
        syns_armed: syns_armed?,
        pressure: pressure?,
        client_bandwidth,
        ban: ban.map(rule),
        parole: parole?,
        collateral: collateral?,
        never: never?,
        cdn: cdn?,
        management_ports: management_ports?,
        pins: pins?,
        capacity: capacity?,
        capacity6: capacity6.or_else(|| Some(capacity?.min(CAPACITY6_DEFAULT_MAX)))?,
    })
}

fn interfaces_of(d: &mut Decoder<'_>, f: &Fields<'_>) -> Option<Vec<Located<Box<str>>>> {
    let several = f.get(d, "interfaces", &INTERFACES);
    let one = f.get(d, "interface", &INTERFACES);
    if f.node("interfaces").is_some() && f.node("interface").is_some() {
        let message = "`interface` and `interfaces` are the same setting";
        let problem = Problem::error(codes::EXCLUSIVE, message, f.key_place("interface"));
        d.report.push(problem.related(f.key_place("interfaces"), "the other stands here"));
    }
    Some(several.or(one).unwrap_or_default())
}

fn interfaces(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Located<Box<str>>>> {
    value::one_or_many(d, node, |d, node| {
        let text = d.text(node, "the name of a network interface")?;
        let valid = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
        if text.is_empty() || text.len() > INTERFACE_MAX || !text.chars().all(valid) {
            let message = format!("`{text}` cannot be the name of a network interface");
            d.report.push(Problem::error(codes::NO_INTERFACE, message, node.place.clone()));
            return None;
        }
        Some(Located::new(text.into(), node.place.clone()))
    })
}

fn ports(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<u16>> {
    if !matches!(node.value, Value::List(_) | Value::Integer(_) | Value::Text { substituted: true, .. }) {
        d.wrong_type(node, "an array of TCP ports");
        return None;
    }
    value::one_or_many(d, node, |d, node| u16::try_from(number(d, node, 1..=65_535)?).ok())
}

fn parole(d: &mut Decoder<'_>, node: &Node) -> Option<Option<Duration>> {
    if matches!(&node.value, Value::Text { text, .. } if text == "off") {
        return Some(None);
    }
    let every = (value::DURATION.decode)(d, node)?;
    if !PAROLE_RANGE.contains(&every) {
        let message = "the interval of paroles lies between one second and one day";
        let problem = Problem::error(codes::OUT_OF_RANGE, message, node.place.clone());
        d.report.push(problem.help("write `\"off\"` for no parole"));
        return None;
    }
    Some(Some(every))
}

fn budget(d: &mut Decoder<'_>, f: &Fields<'_>, rate: &'static str, burst: &'static str) -> Option<Budget> {
    let per_second = f.located(d, rate, &value::PACKET_RATE);
    let at_once = f.number(d, burst);
    if f.node(rate).is_none() && f.node(burst).is_some() {
        let message = format!("`{burst}` has no effect without `{rate}`");
        d.report.push(Problem::error(codes::EXCLUSIVE, message, f.key_place(burst)));
    }
    let per_second = per_second?;
    let burst = match (at_once, f.node(burst)) {
        (Some(packets), Some(node)) => Located::new(packets, node.place.clone()),
        _ => per_second.clone(),
    };
    Some(Budget { per_second, burst })
}
