//! The types of values that keys take: what each is called in messages and in the reference, and how it is decoded.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use crate::diagnostic::{Code, Located, Problem};
use crate::header::{Name, Value as HeaderValue};

use super::codes;
use super::decode::Decoder;
use super::model::BanRule;
use super::tree::{Node, Value};
use super::units::{self, Fault};

/// A type of values.
pub struct Type<T: 'static> {
    /// What it is called.
    pub describe: &'static str,
    /// How it is decoded; `None` after a problem was reported.
    pub decode: fn(&mut Decoder<'_>, &Node) -> Option<T>,
}

/// Any text.
pub const TEXT: Type<String> =
    Type { describe: "a string", decode: |d, node| d.text(node, "a string").map(str::to_owned) };

/// A text that is not empty.
pub const NAME: Type<Arc<str>> = Type { describe: "a string that is not empty", decode: name };

/// One text, or several.
pub const NAMES: Type<Vec<Located<Arc<str>>>> = Type {
    describe: "a string, or an array of strings",
    decode: |d, node| one_or_many(d, node, |d, node| Some(Located::new(name(d, node)?, node.place.clone()))),
};

/// `true` or `false`; text from a variable may hold it too.
pub const BOOLEAN: Type<bool> = Type {
    describe: "`true` or `false`",
    decode: |d, node| match &node.value {
        Value::Boolean(value) => Some(*value),
        Value::Text { text, substituted: true } if text == "true" => Some(true),
        Value::Text { text, substituted: true } if text == "false" => Some(false),
        _ => {
            d.wrong_type(node, "`true` or `false`");
            None
        }
    },
};

/// A duration that may be zero.
pub const DURATION_OR_ZERO: Type<Duration> = Type {
    describe: "a duration, such as `\"10s\"`, or `\"0s\"`",
    decode: |d, node| with_unit(d, node, codes::NOT_A_DURATION, units::duration),
};

/// A moment: RFC 3339, or a date, which is its beginning in UTC.
pub const TIME: Type<SystemTime> = Type {
    describe: "a time, such as `\"2027-01-31T12:00:00Z\"`, or a date, which begins at midnight UTC",
    decode: |d, node| {
        let text = d.text(node, "a string with a time")?;
        let parsed = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let date: jiff::civil::Date = text.parse().ok()?;
            Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        });
        if parsed.is_none() {
            let problem =
                Problem::error(codes::WRONG_TYPE, format!("`{text}` is not a time"), node.place.clone());
            d.report.push(problem.help("for example `2027-01-31` or `2027-01-31T12:00:00Z`"));
        }
        parsed.map(SystemTime::from)
    },
};

/// A duration that is more than zero.
pub const DURATION: Type<Duration> = Type {
    describe: "a duration, such as `\"10s\"`",
    decode: |d, node| {
        let duration = with_unit(d, node, codes::NOT_A_DURATION, units::duration)?;
        if duration.is_zero() {
            let problem =
                Problem::error(codes::OUT_OF_RANGE, "this duration cannot be zero", node.place.clone());
            d.report.push(problem.help("every deadline is on; give it a long one to make it unimportant"));
            return None;
        }
        Some(duration)
    },
};

/// A size in bytes.
pub const SIZE: Type<u64> = Type {
    describe: "a size, such as `\"10MiB\"`",
    decode: |d, node| with_unit(d, node, codes::NOT_A_SIZE, units::size),
};

/// Requests in a time.
pub const RATE: Type<(u64, Duration)> = Type {
    describe: "a rate, such as `\"100/min\"`",
    decode: |d, node| with_unit(d, node, codes::NOT_A_RATE, units::rate),
};

/// Packets per second.
pub const PACKET_RATE: Type<u64> = Type {
    describe: "packets per second, such as `\"50k/s\"`",
    decode: |d, node| with_unit(d, node, codes::NOT_A_RATE, units::packet_rate),
};

/// Bytes per second.
pub const BYTE_RATE: Type<u64> = Type {
    describe: "bytes per second, such as `\"500B/s\"`",
    decode: |d, node| with_unit(d, node, codes::NOT_A_RATE, units::byte_rate),
};

/// Bits per second.
pub const BIT_RATE: Type<u64> = Type {
    describe: "bits per second, such as `\"1Gbit/s\"`",
    decode: |d, node| with_unit(d, node, codes::NOT_A_RATE, units::bit_rate),
};

/// Denials, or CPU time, in a time.
pub const BAN_RULE: Type<BanRule> = Type {
    describe: "a ban rule, such as `\"20 denials in 10s\"` or `\"500ms cpu in 10s\"`",
    decode: |d, node| with_unit(d, node, codes::NOT_A_BAN_RULE, units::ban_rule),
};

/// A path of a file or folder.
pub const PATH: Type<PathBuf> =
    Type { describe: "a path", decode: |d, node| name(d, node).map(|path| PathBuf::from(&*path)) };

/// An address with its port.
pub const ADDRESS: Type<SocketAddr> = Type { describe: "an address with its port", decode: address };

/// Networks or single addresses.
pub const PREFIXES: Type<Vec<IpNet>> = Type {
    describe: "an array of networks or addresses, such as `[\"10.0.0.0/8\"]`",
    decode: |d, node| one_or_many(d, node, prefix),
};

/// A header field's name.
pub const HEADER: Type<Name> = Type { describe: "the name of a header field", decode: header_name };

/// The name of a header field that may be changed: none that belongs to the framing or the connection.
pub const EDITABLE_HEADER: Type<Name> =
    Type { describe: "the name of a header field that may be changed", decode: response_header };

/// Several names of header fields.
pub const HEADERS: Type<Vec<Name>> = Type {
    describe: "an array of names of header fields",
    decode: |d, node| one_or_many(d, node, response_header),
};

/// Header fields with their values.
pub const HEADER_VALUES: Type<Vec<(Name, HeaderValue)>> =
    Type { describe: "a table from header field to value", decode: header_values };

/// One value, or an array of them; every item is decoded, and reported on, before any is missed.
pub fn one_or_many<T>(
    d: &mut Decoder<'_>,
    node: &Node,
    decode: impl Fn(&mut Decoder<'_>, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    match &node.value {
        Value::List(items) => {
            let decoded: Vec<Option<T>> = items.iter().map(|item| decode(d, item)).collect();
            decoded.into_iter().collect()
        }
        _ => Some(vec![decode(d, node)?]),
    }
}

/// A value with a unit; a number of TOML's is the same mistake as a bare number in a string.
fn with_unit<T>(
    d: &mut Decoder<'_>,
    node: &Node,
    code: Code,
    parse: fn(&str) -> Result<T, Fault>,
) -> Option<T> {
    let bare;
    let text = match &node.value {
        Value::Integer(Some(number)) if *number >= 0 => {
            bare = number.to_string();
            &bare
        }
        _ => d.text(node, "a string with a unit")?,
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err(fault) => {
            let code = if fault.bare { codes::UNIT_MISSING } else { code };
            d.report.push(
                Problem::error(code, fault.message, node.place.clone())
                    .label(fault.expected)
                    .help(fault.help),
            );
            None
        }
    }
}

fn name(d: &mut Decoder<'_>, node: &Node) -> Option<Arc<str>> {
    let text = d.text(node, "a string")?;
    if text.trim().is_empty() {
        d.report.push(Problem::error(codes::EMPTY, "this is empty", node.place.clone()));
        return None;
    }
    Some(text.into())
}

fn address(d: &mut Decoder<'_>, node: &Node) -> Option<SocketAddr> {
    let text = d.text(node, "an address with its port")?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let help = match text.strip_prefix(':').or(text.strip_prefix("*:")) {
        Some(port) => format!("for all addresses, IPv4 and IPv6, write `[::]:{port}`"),
        None if text.parse::<std::net::IpAddr>().is_ok() => {
            "add a port: `127.0.0.1:8080`, `[::1]:8080`".into()
        }
        None if text.parse::<u16>().is_ok() => format!("for all addresses write `[::]:{text}`"),
        None => "write an address, not a name: `127.0.0.1:8080`, or `[::]:443` for all addresses".into(),
    };
    let message = format!("`{text}` is not an address with a port");
    d.report.push(Problem::error(codes::NOT_AN_ADDRESS, message, node.place.clone()).help(help));
    None
}

/// A network, or an address as the network that holds only it.
pub fn prefix(d: &mut Decoder<'_>, node: &Node) -> Option<IpNet> {
    let text = d.text(node, "a network such as `10.0.0.0/8`")?;
    let parsed = parse_prefix(text);
    if parsed.is_none() {
        let message = format!("`{text}` is not a network or address");
        let problem = Problem::error(codes::NOT_A_PREFIX, message, node.place.clone());
        d.report.push(problem.help("for example `10.0.0.0/8`, `192.0.2.7` or `2001:db8::/32`"));
    }
    parsed
}

/// A network with its host bits cleared, or an address.
pub fn parse_prefix(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let prefix =
        text.parse::<IpNet>().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into()));
    prefix.map(|prefix| prefix.trunc())
}

fn header_name(d: &mut Decoder<'_>, node: &Node) -> Option<Name> {
    let text = d.text(node, "the name of a header field")?;
    let name = Name::parse(text);
    if name.is_none() {
        let message = format!("`{text}` is not the name of a header field");
        let problem = Problem::error(codes::NOT_A_HEADER, message, node.place.clone());
        d.report.push(problem.help("letters, digits and `-`, for example `X-User-Id`"));
    }
    name
}

/// Fields that belong to the framing of a message or to one connection (RFC 9110 §7.6.1), which no policy may touch.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header field that an answer may be given or deprived of.
fn response_header(d: &mut Decoder<'_>, node: &Node) -> Option<Name> {
    let name = header_name(d, node)?;
    allowed(d, name, node.place.clone())
}

fn allowed(d: &mut Decoder<'_>, name: Name, place: crate::diagnostic::Place) -> Option<Name> {
    if FRAMING.contains(&name.as_str()) {
        let message = format!("`{}` belongs to the connection and cannot be changed", name.as_str());
        d.report.push(Problem::error(codes::NOT_A_HEADER, message, place));
        return None;
    }
    Some(name)
}

fn header_values(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<(Name, HeaderValue)>> {
    let Value::Table(entries) = &node.value else {
        d.wrong_type(node, "a table from header field to value");
        return None;
    };
    let mut fields = Vec::new();
    for entry in entries {
        let key = Node {
            place: entry.key.place.clone(),
            value: Value::Text { text: entry.key.value.clone(), substituted: false },
        };
        let name = response_header(d, &key);
        let value = d.text(&entry.node, "a string").and_then(|text| {
            let value = HeaderValue::parse(text.as_bytes());
            if value.is_none() {
                let message = "a header field cannot hold line breaks or control characters";
                d.report.push(Problem::error(codes::NOT_A_HEADER, message, entry.node.place.clone()));
            }
            value
        });
        fields.push(name.zip(value));
    }
    fields.into_iter().collect()
}
