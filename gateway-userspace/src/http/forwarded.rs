//! What the upstream is told about the client and about how it reached us.
//!
//! From an untrusted source, everything of that kind is replaced, so that an upstream which believes these fields
//! cannot be lied to. From a trusted proxy the list of hops is continued, and what the proxy knows better (scheme, host
//! and port of the first hop) is kept if it is well formed.

use std::net::IpAddr;

use super::connection::Connection;
use crate::header::{self, Fields, Name, Value};
use crate::request::{Head, Scheme};

/// Fields that a request gets on its way: those set here, and the request id, `Host` and `Via`.
const FIELDS_TO_COME: usize = 8;

/// Sets `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-IP`, and continues or removes `Forwarded`; with
/// `forwarded` every request has that too. `client` is what [`super::client_address::client_address`] found.
pub fn tell_upstream(head: &mut Head, connection: &Connection, client: IpAddr, forwarded: bool) {
    let host = head.authority_value();
    let scheme = match head.scheme() {
        Scheme::Http => Value::from_static("http"),
        Scheme::Https => Value::from_static("https"),
    };
    let source = connection.source_value();
    let element = forwarded.then(|| element(connection.peer().source.ip(), head));
    let fields = &mut head.fields;
    // Grown once and not field by field.
    fields.reserve(FIELDS_TO_COME);
    if connection.believes_headers() {
        if fields.contains(&header::FORWARDED) {
            let bare = || forwarded_for(connection.peer().source.ip());
            extend(fields, &header::FORWARDED, &element.unwrap_or_else(bare));
        } else if let Some(element) = element {
            translate(fields);
            extend(fields, &header::FORWARDED, &element);
        }
        extend(fields, &header::X_FORWARDED_FOR, source);
        keep_or_set(fields, header::X_FORWARDED_PROTO, scheme, |value| value == b"http" || value == b"https");
        keep_or_set(fields, header::X_FORWARDED_HOST, host, |value| {
            !value.is_empty() && !value.contains(&b',')
        });
        let is_port = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        keep_or_set(fields, header::X_FORWARDED_PORT, connection.port_value().clone(), is_port);
    } else {
        remove_family(fields);
        fields.set(header::X_FORWARDED_FOR, source.clone());
        if let Some(element) = element {
            fields.set(header::FORWARDED, element);
        }
        fields.set(header::X_FORWARDED_PROTO, scheme);
        fields.set(header::X_FORWARDED_HOST, host);
        fields.set(header::X_FORWARDED_PORT, connection.port_value().clone());
    }
    let is_source = client == connection.peer().source.ip().to_canonical();
    let real = if is_source { source.clone() } else { address_value(client) };
    fields.set(header::X_REAL_IP, real);
}

/// Removes `Forwarded` and every `X-Forwarded-…`: frameworks believe many more than those that are set here (`-Prefix`, `-Ssl`, `-User`).
fn remove_family(fields: &mut Fields) {
    let names = fields.iter().map(|(name, _)| name);
    let family: Vec<Name> = names.filter(|name| is_of_family(name)).cloned().collect();
    for name in &family {
        fields.remove(name);
    }
}

fn is_of_family(name: &Name) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == header::FORWARDED
}

/// An address as a field value.
pub(super) fn address_value(address: IpAddr) -> Value {
    Value::parse(address.to_canonical().to_string().as_bytes())
        .unwrap_or_else(|| Value::from_static("unknown"))
}

/// Joins all values of a list field and adds one at the end.
fn extend(fields: &mut Fields, name: &Name, last: &Value) {
    let mut list = Vec::with_capacity(64);
    for value in fields.get_all(name).filter(|value| !value.as_bytes().is_empty()) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last.as_bytes());
    if let Some(value) = Value::parse(&list) {
        fields.set(name.clone(), value);
    }
}

/// Our element of `Forwarded`, with what we know of the hop (RFC 7239 §5). A host with a port is no token and stands in
/// quotes; it holds none itself.
fn element(source: IpAddr, head: &Head) -> Value {
    let authority = head.authority();
    let host = if authority.is_empty() { String::new() } else { format!(";host=\"{authority}\"") };
    let element = format!("{};proto={}{host}", node(source), head.scheme().as_str());
    Value::parse(element.as_bytes()).unwrap_or_else(|| forwarded_for(source))
}

/// The least that an element says.
fn forwarded_for(source: IpAddr) -> Value {
    Value::parse(node(source).as_bytes()).unwrap_or_else(|| Value::from_static("for=unknown"))
}

/// RFC 7239 §6: an IPv6 address stands in brackets and quotes.
fn node(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(v4) => format!("for={v4}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\""),
    }
}

/// Makes `Forwarded` of the `X-Forwarded-For` of a trusted proxy that does not send it (RFC 7239 §7.4), so that both tell
/// of the same hops.
fn translate(fields: &mut Fields) {
    let mut list: Vec<String> = Vec::new();
    for line in fields.get_all(&header::X_FORWARDED_FOR) {
        for hop in line.as_bytes().split(|byte| *byte == b',') {
            let hop = std::str::from_utf8(hop).unwrap_or_default().trim();
            list.push(hop.parse().map_or_else(|_| "for=unknown".to_owned(), node));
        }
    }
    if let Some(value) = Value::parse(list.join(", ").as_bytes()).filter(|_| !list.is_empty()) {
        fields.set(header::FORWARDED, value);
    }
}

fn keep_or_set(fields: &mut Fields, name: Name, value: Value, is_good: impl Fn(&[u8]) -> bool) {
    if !fields.single(&name).is_ok_and(|given| is_good(given.as_bytes())) {
        fields.set(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::connection::testing::connection;
    use crate::http::intake;
    use crate::request;

    fn told(source: &str, client: &str, lines: &[(&str, &str)]) -> request::Head {
        let connection = connection(source, &["10.0.0.0/8"]);
        let mut builder = http::Request::builder().uri("/a").header("host", "Api.example.com:8080");
        for (name, value) in lines {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        let mut head = intake::read(parts, &connection).unwrap();
        tell_upstream(&mut head, &connection, client.parse().unwrap(), false);
        head
    }

    /// `Forwarded` where it is asked for.
    fn forwarded(source: &str, lines: &[(&str, &str)]) -> Vec<String> {
        let connection = connection(source, &["10.0.0.0/8"]);
        let mut builder = http::Request::builder().uri("/a").header("host", "api.test:8080");
        for (name, value) in lines {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        let mut head = intake::read(parts, &connection).unwrap();
        tell_upstream(&mut head, &connection, source.parse().unwrap(), true);
        all(&head, &header::FORWARDED)
    }

    #[test]
    fn forwarded_is_ours_alone_from_a_stranger_and_continues_what_a_trusted_proxy_knows() {
        let own = |source: &str| format!("for={source};proto=http;host=\"api.test:8080\"");
        assert_eq!(forwarded("192.0.2.1", SPOOFED), [own("192.0.2.1")]);
        assert_eq!(forwarded("2001:db8::1", &[]), [own("\"[2001:db8::1]\"")]);
        assert_eq!(forwarded("10.0.0.1", &[]), [own("10.0.0.1")]);
        let begun = [("forwarded", "for=192.0.2.1;proto=https"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(
            forwarded("10.0.0.1", &begun),
            [format!("for=192.0.2.1;proto=https, {}", own("10.0.0.1"))]
        );
        let other = [("x-forwarded-for", "192.0.2.1, 2001:db8::1"), ("x-forwarded-for", "nonsense")];
        let expected = format!("for=192.0.2.1, for=\"[2001:db8::1]\", for=unknown, {}", own("10.0.0.1"));
        assert_eq!(forwarded("10.0.0.1", &other), [expected]);
    }

    fn all(head: &request::Head, name: &Name) -> Vec<String> {
        head.fields.get_all(name).map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    const SPOOFED: &[(&str, &str)] = &[
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("forwarded", "for=6.6.6.6;proto=https"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "admin.example.com"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "6.6.6.6"),
        ("x-forwarded-prefix", "/admin"),
        ("x-forwarded-user", "root"),
    ];

    #[test]
    fn nothing_that_an_untrusted_client_says_of_itself_reaches_the_upstream() {
        let head = told("192.0.2.1", "192.0.2.1", SPOOFED);
        for (name, value) in [
            (header::X_FORWARDED_FOR, "192.0.2.1"),
            (header::X_FORWARDED_PROTO, "http"),
            (header::X_FORWARDED_HOST, "api.example.com:8080"),
            (header::X_FORWARDED_PORT, "80"),
            (header::X_REAL_IP, "192.0.2.1"),
        ] {
            assert_eq!(all(&head, &name), [value], "{name:?}");
        }
        assert!(!head.fields.contains(&header::FORWARDED));
        assert!(!head.fields.iter().any(|(_, value)| matches!(value.as_bytes(), b"/admin" | b"root")));
    }

    #[test]
    fn the_word_of_a_trusted_proxy_is_continued() {
        let head = told("10.0.0.1", "7.7.7.7", SPOOFED);
        for (name, value) in [
            (header::X_FORWARDED_FOR, "6.6.6.6, 7.7.7.7, 10.0.0.1"),
            (header::FORWARDED, "for=6.6.6.6;proto=https, for=10.0.0.1"),
            (header::X_FORWARDED_PROTO, "https"),
            (header::X_FORWARDED_HOST, "admin.example.com"),
            (header::X_FORWARDED_PORT, "443"),
            (header::X_REAL_IP, "7.7.7.7"),
        ] {
            assert_eq!(all(&head, &name), [value], "{name:?}");
        }
    }

    #[test]
    fn a_trusted_proxy_that_says_nonsense_or_nothing_gets_our_own_values() {
        let nonsense =
            [("x-forwarded-proto", "gopher"), ("x-forwarded-port", "80a"), ("x-forwarded-host", "a, b")];
        for lines in [&nonsense[..], &[]] {
            let head = told("10.0.0.1", "10.0.0.1", lines);
            assert_eq!(all(&head, &header::X_FORWARDED_FOR), ["10.0.0.1"]);
            assert_eq!(all(&head, &header::X_FORWARDED_PROTO), ["http"]);
            assert_eq!(all(&head, &header::X_FORWARDED_PORT), ["80"]);
            assert_eq!(all(&head, &header::X_FORWARDED_HOST), ["api.example.com:8080"]);
            assert!(!head.fields.contains(&header::FORWARDED));
        }
    }

    #[test]
    fn an_ipv6_source_is_quoted_in_forwarded() {
        assert_eq!(forwarded_for("2001:db8::1".parse().unwrap()).to_str(), Some("for=\"[2001:db8::1]\""));
        assert_eq!(forwarded_for("::ffff:192.0.2.1".parse().unwrap()).to_str(), Some("for=192.0.2.1"));
    }
}
