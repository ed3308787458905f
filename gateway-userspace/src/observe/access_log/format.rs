//! From an entry to a line, written by hand into a buffer that is used again: no allocation for a line.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use super::template::{Piece, Template, Variable};
use super::time::Clock;
use super::{Entry, Format, escape};

/// Makes the lines of one worker.
pub struct Formatter {
    format: Format,
    clock: Clock,
}

impl Formatter {
    pub fn new(format: Format) -> Formatter {
        Formatter { format, clock: Clock::new() }
    }

    /// Adds the line of `entry` with its line end.
    pub fn line(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match &self.format {
            Format::Json => json(entry, &mut self.clock, out),
            Format::Seed => seed(entry, &mut self.clock, out),
            Format::Combined => combined(entry, &mut self.clock, out),
            Format::Custom(template) => custom(template, entry, &mut self.clock, out),
        }
        out.push(b'\n');
    }
}

/// The members of one JSON object. Names are constants that need no escape.
struct Members<'a>(&'a mut Vec<u8>);

impl Members<'_> {
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(if self.0.last() == Some(&b'{') { b"\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        escape::json(value, self.0);
        self.0.push(b'"');
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value.as_bytes());
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        number(value, self.0);
    }

    fn seconds(&mut self, name: &str, value: Duration) {
        self.name(name);
        seconds(value, self.0);
    }

    fn time(&mut self, name: &str, entry: &Entry<'_>, clock: &mut Clock) {
        self.name(name);
        self.0.push(b'"');
        clock.write_rfc3339(entry.time, self.0);
        self.0.push(b'"');
    }

    fn address(&mut self, name: &str, entry: &Entry<'_>) {
        self.name(name);
        self.0.push(b'"');
        address(entry, self.0);
        self.0.push(b'"');
    }
}

fn json(entry: &Entry<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut members = Members(out);
    members.time("time", entry, clock);
    members.text("http.request.method", entry.method.as_bytes());
    members.text("url.scheme", entry.scheme.as_bytes());
    members.text("server.address", entry.host.as_bytes());
    members.text("url.path", entry.path.as_bytes());
    members.optional("http.route", entry.route);
    members.number("http.response.status_code", entry.status.into());
    members.seconds("duration", entry.duration);
    members.number("http.request.body.size", entry.request_bytes);
    members.number("http.response.body.size", entry.response_bytes);
    members.text("network.protocol.version", entry.version.as_bytes());
    members.address("client.address", entry);
    if let Some(user_agent) = entry.user_agent {
        members.text("user_agent.original", user_agent);
    }
    members.optional("ja4", entry.ja4);
    members.optional("user.id", entry.user);
    members.optional("trace_id", entry.trace.map(|(trace_id, _)| trace_id));
    members.optional("span_id", entry.trace.map(|(_, span_id)| span_id));
    members.text("request_id", entry.request_id.as_bytes());
    members.optional("upstream.address", entry.upstream.map(|upstream| upstream.address));
    if let Some(duration) = entry.upstream.and_then(|upstream| upstream.duration) {
        members.seconds("upstream.duration", duration);
    }
    members.optional("limit", entry.limit);
    if let Some(ban) = entry.shadow {
        members.number("shadow.ban", ban.into());
    }
    members.optional("deny.reason", entry.reason);
    members.optional("deny.detail", entry.detail);
    if let Some(ban) = entry.ban {
        members.number("deny.ban", ban.into());
    }
    out.push(b'}');
}

/// Names and types of a widespread Express middleware; an absent user agent is left out, as there.
fn seed(entry: &Entry<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut members = Members(out);
    members.time("timestamp", entry, clock);
    members.text("method", entry.method.as_bytes());
    members.text("url", entry.path.as_bytes());
    members.number("status", entry.status.into());
    members.number("duration", milliseconds(entry.duration));
    members.number("size", entry.response_bytes);
    members.address("ip", entry);
    if let Some(user_agent) = entry.user_agent {
        members.text("userAgent", user_agent);
    }
    members.text("requestId", entry.request_id.as_bytes());
    out.push(b'}');
}

/// `ADDRESS - USER [TIME] "METHOD PATH PROTOCOL" STATUS BYTES "REFERER" "USER-AGENT"`
fn combined(entry: &Entry<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
    address(entry, out);
    out.extend_from_slice(b" - ");
    word_or_dash(entry.user.map(str::as_bytes), out);
    out.extend_from_slice(b" [");
    clock.write_common(entry.time, out);
    out.extend_from_slice(b"] \"");
    escape::plain(entry.method.as_bytes(), out);
    out.push(b' ');
    escape::plain(entry.path.as_bytes(), out);
    out.push(b' ');
    protocol(entry, out);
    out.extend_from_slice(b"\" ");
    number(entry.status.into(), out);
    out.push(b' ');
    number(entry.response_bytes, out);
    for quoted in [entry.referer.map(without_query), entry.user_agent] {
        out.extend_from_slice(b" \"");
        text_or_dash(quoted, out);
        out.push(b'"');
    }
}

fn custom(template: &Template, entry: &Entry<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
    for piece in &template.0 {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Variable(variable) => write_variable(*variable, entry, clock, out),
        }
    }
}

fn write_variable(variable: Variable, entry: &Entry<'_>, clock: &mut Clock, out: &mut Vec<u8>) {
    let mut text = |text: Option<&str>| text_or_dash(text.map(str::as_bytes), out);
    match variable {
        Variable::RequestId => text(Some(entry.request_id)),
        Variable::Path => text(Some(entry.path)),
        Variable::Route => text(entry.route),
        Variable::Method => text(Some(entry.method)),
        Variable::Host => text(Some(entry.host)),
        Variable::Scheme => text(Some(entry.scheme)),
        Variable::User => text(entry.user),
        Variable::Ja4 => text(entry.ja4),
        Variable::ShadowBan => match entry.shadow {
            Some(ban) => number(ban.into(), out),
            None => out.push(b'-'),
        },
        Variable::Reason => text(entry.reason),
        Variable::Limit => text(entry.limit),
        Variable::TraceId => text(entry.trace.map(|(trace_id, _)| trace_id)),
        Variable::Upstream => text(entry.upstream.map(|upstream| upstream.address)),
        Variable::UserAgent => text_or_dash(entry.user_agent, out),
        Variable::Status => number(entry.status.into(), out),
        Variable::LatencyMs => number(milliseconds(entry.duration), out),
        Variable::UpstreamLatencyMs => match entry.upstream.and_then(|upstream| upstream.duration) {
            Some(duration) => number(milliseconds(duration), out),
            None => out.push(b'-'),
        },
        Variable::ResponseBytes => number(entry.response_bytes, out),
        Variable::RequestBytes => number(entry.request_bytes, out),
        Variable::Client => address(entry, out),
        Variable::Time => clock.write_common(entry.time, out),
        Variable::TimeEpochMs => {
            number(milliseconds(entry.time.duration_since(UNIX_EPOCH).unwrap_or_default()), out);
        }
        Variable::Protocol => protocol(entry, out),
    }
}

fn protocol(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/");
    out.extend_from_slice(entry.version.as_bytes());
    if entry.version == "2" {
        // As NGINX and Apache write it.
        out.extend_from_slice(b".0");
    }
}

fn text_or_dash(text: Option<&[u8]>, out: &mut Vec<u8>) {
    match text {
        Some(text) if !text.is_empty() => escape::plain(text, out),
        _ => out.push(b'-'),
    }
}

/// The same for a field that ends at the next space.
fn word_or_dash(text: Option<&[u8]>, out: &mut Vec<u8>) {
    let start = out.len();
    text_or_dash(text, out);
    for byte in &mut out[start..] {
        if *byte == b' ' {
            *byte = b'_';
        }
    }
}

fn without_query(url: &[u8]) -> &[u8] {
    let end = url.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(url.len());
    &url[..end]
}

fn address(entry: &Entry<'_>, out: &mut Vec<u8>) {
    match entry.client {
        // A fifth of what the formatting machinery takes.
        IpAddr::V4(client) => {
            let [first, rest @ ..] = client.octets();
            number(first.into(), out);
            for octet in rest {
                out.push(b'.');
                number(octet.into(), out);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(client) => drop(write!(out, "{client}")),
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds with six places, which is what the clock is good for.
fn seconds(duration: Duration, out: &mut Vec<u8>) {
    number(duration.as_secs(), out);
    let mut micros = duration.subsec_micros();
    let mut digits = *b".000000";
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (micros % 10) as u8;
        micros /= 10;
    }
    out.extend_from_slice(&digits);
}
