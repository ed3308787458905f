//! `[upstream.NAME]`, and the same keys in a route that names its targets itself.

use std::sync::Arc;

use crate::config::codes;
use crate::config::decode::{Decoder, Fields, Key, Presence, Spec, Takes};
use crate::config::file::TableName;
use crate::config::tree::Node;
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};
use crate::upstream::config::{Config, HostHeader, Protocol, Target};
use crate::upstream::proxy_protocol::Version;

/// Most targets of one upstream.
const TARGETS_MAX: usize = 1024;

/// The type of `to`.
pub const TARGETS: Type<Vec<Target>> = Type { describe: "a URL, or an array of URLs", decode: targets };

const HOST: Type<HostHeader> = Type { describe: "`preserve`, `target`, or a host", decode: host };

/// The keys that `[upstream.NAME]` and `[route.NAME]` share, so that each is described once.
pub const TO_DOC: &str = "The targets, each `http://HOST[:PORT]` or `https://HOST[:PORT]`; used in turn.";
/// `protocol`
pub const PROTOCOL: Key = Key::new(
    "protocol",
    Takes::Word(&["http1", "http2"]),
    Presence::Default("\"http1\""),
    "Which HTTP version is spoken: `http2` over TLS by ALPN, else with prior knowledge.",
);
/// `proxy-protocol`
pub const PROXY_PROTOCOL: Key = Key::new(
    "proxy-protocol",
    Takes::Word(&["off", "v1", "v2"]),
    Presence::Default("\"off\""),
    "Whether each connection begins with a PROXY protocol header that names the client. Such a connection is used \
     again for the same client address and port only; not together with `http2`.",
);
/// `host`
pub const HOST_KEY: Key = Key::new(
    "host",
    Takes::Value(HOST.describe),
    Presence::Default("\"preserve\""),
    "What the upstream gets as `Host`: what the client sent, the target's own name (then `Location` and cookie \
     domains are rewritten back), or this host.",
);
/// `connect-timeout`
pub const CONNECT_TIMEOUT: Key = Key::new(
    "connect-timeout",
    Takes::Value(value::DURATION.describe),
    Presence::Default("\"5s\""),
    "Time for TCP and TLS together; then 504.",
);
/// `response-timeout`
pub const RESPONSE_TIMEOUT: Key = Key::new(
    "response-timeout",
    Takes::Value(value::DURATION.describe),
    Presence::Default("\"30s\""),
    "Time from the end of the request to the head of the answer; then 504.",
);
/// `idle-timeout`
pub const IDLE_TIMEOUT: Key = Key::new(
    "idle-timeout",
    Takes::Value(value::DURATION.describe),
    Presence::Default("\"60s\""),
    "Longest pause within a body, in either direction.",
);
/// `keep-alive`
pub const KEEP_ALIVE: Key = Key::new(
    "keep-alive",
    Takes::Value(value::DURATION.describe),
    Presence::Default("\"60s\""),
    "How long an unused connection is kept.",
);
/// `idle-connections`
pub const IDLE_CONNECTIONS: Key = Key::new(
    "idle-connections",
    Takes::Number(0, 100_000),
    Presence::Default("32"),
    "Unused connections kept for each worker and target.",
);
/// `ca`
pub const CA: Key = Key::new(
    "ca",
    Takes::Value(value::PATH.describe),
    Presence::Optional,
    "PEM file with the CA certificates for the targets' TLS; if not given, the system's.",
);

/// The keys of `[upstream.NAME]`.
pub static SPEC: Spec = Spec {
    title: "[upstream.NAME]",
    doc: "Where requests go, for routes that refer to it by its name.",
    keys: &[
        Key::new("to", Takes::Value(TARGETS.describe), Presence::Required, TO_DOC),
        PROTOCOL,
        PROXY_PROTOCOL,
        HOST_KEY,
        CONNECT_TIMEOUT,
        RESPONSE_TIMEOUT,
        IDLE_TIMEOUT,
        KEEP_ALIVE,
        IDLE_CONNECTIONS,
        CA,
    ],
};

/// The keys that say how an upstream is spoken to; in a route they need `to` beside them.
pub const SETTINGS: [&str; 9] = [
    PROTOCOL.name,
    PROXY_PROTOCOL.name,
    HOST_KEY.name,
    CONNECT_TIMEOUT.name,
    RESPONSE_TIMEOUT.name,
    IDLE_TIMEOUT.name,
    KEEP_ALIVE.name,
    IDLE_CONNECTIONS.name,
    CA.name,
];

/// Decodes `[upstream.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<Located<Config>> {
    let f = d.fields(&SPEC, format!("[upstream.{}]", name.value), node)?;
    let targets = f.get(d, "to", &TARGETS);
    let config = settings(d, &f, name.value.clone(), targets)?;
    Some(Located::new(config, name.place))
}

/// Decodes the keys of [`SETTINGS`].
pub fn settings(
    d: &mut Decoder<'_>,
    f: &Fields<'_>,
    name: Arc<str>,
    targets: Option<Vec<Target>>,
) -> Option<Config> {
    let protocol = f.word(d, "protocol", &[("http1", Protocol::Http1), ("http2", Protocol::Http2)]);
    let proxy_protocol =
        f.word(d, "proxy-protocol", &[("off", None), ("v1", Some(Version::V1)), ("v2", Some(Version::V2))]);
    if let (Some(Protocol::Http2), Some(Some(_))) = (protocol, proxy_protocol) {
        let message = "`proxy-protocol` and HTTP/2 cannot be together";
        let problem = Problem::error(codes::EXCLUSIVE, message, f.key_place("proxy-protocol"));
        d.report.push(problem.help(
            "an HTTP/2 connection carries the requests of many clients, and a PROXY header names one; \
             `X-Forwarded-For` and `Forwarded` name the client of each request",
        ));
    }
    let host = f.get(d, "host", &HOST);
    let connect_timeout = f.get(d, "connect-timeout", &value::DURATION);
    let response_timeout = f.get(d, "response-timeout", &value::DURATION);
    let idle_timeout = f.get(d, "idle-timeout", &value::DURATION);
    let keep_alive = f.get(d, "keep-alive", &value::DURATION);
    let idle_connections = f.number(d, "idle-connections");
    let ca = f.get(d, "ca", &value::PATH);
    Some(Config {
        name,
        targets: targets?,
        protocol: protocol?,
        proxy_protocol: proxy_protocol?,
        host: host?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        idle_timeout: idle_timeout?,
        keep_alive: keep_alive?,
        idle_connections: idle_connections?,
        ca,
    })
}

fn targets(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Target>> {
    let targets = value::one_or_many(d, node, target)?;
    let problem = match targets.len() {
        0 => Problem::error(codes::EMPTY, "there is no target", node.place.clone()),
        1..=TARGETS_MAX => return Some(targets),
        _ => Problem::error(codes::TOO_MANY, format!("more than {TARGETS_MAX} targets"), node.place.clone()),
    };
    d.report.push(problem);
    None
}

fn target(d: &mut Decoder<'_>, node: &Node) -> Option<Target> {
    let text = d.text(node, "a URL")?;
    match parse_target(text) {
        Ok(target) => Some(target),
        Err((code, message, help)) => {
            d.report.push(Problem::error(code, message, node.place.clone()).help(help));
            None
        }
    }
}

type Refusal = (crate::diagnostic::Code, String, String);

/// Parses `http://host[:port]`.
fn parse_target(text: &str) -> Result<Target, Refusal> {
    let refuse = |message: &str, help: String| Err((codes::BAD_TARGET, message.to_owned(), help));
    let Some((scheme, rest)) = text.split_once("://") else {
        let port_443 = text.ends_with(":443");
        let help = format!("write `{}://{text}`", if port_443 { "https" } else { "http" });
        return Err((codes::NO_SCHEME, "an upstream address needs a scheme".into(), help));
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        "h2c" | "grpc" => {
            let help = format!("write `http://{rest}` and `protocol = \"http2\"`");
            return refuse(&format!("`{scheme}` is not a scheme of upstreams"), help);
        }
        _ => return refuse(&format!("`{scheme}` is not a scheme of upstreams"), "`http` or `https`".into()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(end) = authority.find(['/', '?', '#']) {
        let help = format!(
            "write `{scheme}://{}`; a path is changed by the route's `replace-prefix`",
            &authority[..end]
        );
        return refuse("the URL of an upstream has no path", help);
    }
    if authority.contains('@') {
        return refuse("the URL of an upstream has no user", "leave out what stands before `@`".into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => match port.parse::<u16>() {
            Ok(port) if port > 0 => (host, port),
            _ => return refuse(&format!("`{port}` is not a port"), "ports are 1 to 65535".into()),
        },
        _ => (authority, if tls { 443 } else { 80 }),
    };
    let (host, bracketed) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => (address, true),
        Some(_) => {
            return refuse("this is not an IPv6 address", "for example `http://[2001:db8::1]:80`".into());
        }
        None => (host, false),
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !bracketed && (host.is_empty() || host.len() > 253 || !host.bytes().all(valid)) {
        let help = "for example `http://10.0.0.12:3001`; IPv6 addresses stand in brackets".into();
        return refuse(&format!("`{host}` is not a host"), help);
    }
    let host = host.to_ascii_lowercase();
    let shown = if bracketed { format!("[{host}]") } else { host.clone() };
    let own = if tls { 443 } else { 80 };
    let authority = if port == own { shown } else { format!("{shown}:{port}") };
    Ok(Target { tls, host: host.into(), port, authority: authority.into() })
}

fn host(d: &mut Decoder<'_>, node: &Node) -> Option<HostHeader> {
    let text = d.text(node, "a string")?;
    match text {
        "preserve" => return Some(HostHeader::Preserve),
        "target" => return Some(HostHeader::Target),
        _ => {}
    }
    let valid =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']');
    if text.is_empty() || !text.bytes().all(valid) {
        let message = format!("`{text}` is not a host");
        let problem = Problem::error(codes::BAD_TARGET, message, node.place.clone());
        d.report.push(problem.label("expected `preserve`, `target`, or a host"));
        return None;
    }
    Some(HostHeader::Fixed(text.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_taken_apart() {
        let target = |tls, host: &str, port, authority: &str| {
            Ok(Target { tls, host: host.into(), port, authority: authority.into() })
        };
        assert_eq!(parse_target("http://10.0.0.1:3001"), target(false, "10.0.0.1", 3001, "10.0.0.1:3001"));
        assert_eq!(parse_target("https://Api.Internal/"), target(true, "api.internal", 443, "api.internal"));
        assert_eq!(parse_target("http://[::1]:80"), target(false, "::1", 80, "[::1]"));
        assert_eq!(parse_target("http://[::1]"), target(false, "::1", 80, "[::1]"));
    }

    #[test]
    fn what_is_not_a_target_is_refused_with_what_to_write() {
        let cases = [
            ("10.0.0.12:3001", "write `http://10.0.0.12:3001`"),
            ("api:443", "write `https://api:443`"),
            ("h2c://a:1", "write `http://a:1` and `protocol = \"http2\"`"),
            ("http://a/b", "write `http://a`; a path is changed by the route's `replace-prefix`"),
            ("http://u:p@a", "leave out what stands before `@`"),
            ("http://a:0", "ports are 1 to 65535"),
            ("http://a:70000", "ports are 1 to 65535"),
            ("http://", "for example `http://10.0.0.12:3001`; IPv6 addresses stand in brackets"),
            ("http://[::g]", "for example `http://[2001:db8::1]:80`"),
            ("ftp://a", "`http` or `https`"),
        ];
        for (text, help) in cases {
            assert_eq!(parse_target(text).expect_err(text).2, help, "{text}");
        }
    }
}
