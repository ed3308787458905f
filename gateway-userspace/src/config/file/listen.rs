//! `[listen.NAME]`: where requests come in.

use crate::config::codes;
use crate::config::decode::{Decoder, Fields, Key, Presence, Spec, Takes};
use crate::config::file::{TableName, access};
use crate::config::model::{Certificate, Http1, Listen, ListenLimits};
use crate::config::tree::{Node, Value};
use crate::config::value;
use crate::diagnostic::Problem;

/// Most certificates of one listener.
const CERTIFICATES_MAX: usize = 1024;
/// Least and most bytes of a header section: enough for a request line and a cookie, and not a memory attack.
const HEADER_BYTES: (u64, u64) = (1 << 10, 16 << 20);

/// The keys of `[listen.NAME]`.
pub static SPEC: Spec = Spec {
    title: "[listen.NAME]",
    doc: "Where requests come in. At least one.",
    keys: &[
        Key::new(
            "address",
            Takes::Value(value::ADDRESS.describe),
            Presence::Required,
            "Where to listen: `[::]:443` is port 443 on all addresses, IPv4 included.",
        ),
        Key::new(
            "tls",
            Takes::Table(&CERTIFICATE),
            Presence::Optional,
            "The certificate, or an array of several, chosen by the name that the client asks for; cleartext if not \
             given.",
        ),
        Key::new(
            "http2",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("true"),
            "Whether HTTP/2 is offered (by ALPN over TLS, with prior knowledge in cleartext).",
        ),
        Key::new(
            "http1",
            Takes::Word(&["native", "hyper"]),
            Presence::Default("\"native\""),
            "Who reads and writes HTTP/1: the gateway's own code, or the library hyper, which takes more processor time \
             and accepts more of what clients should not send.",
        ),
        Key::new(
            "proxy-protocol",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("false"),
            "Whether connections from trusted proxies begin with a PROXY protocol header (version 1 or 2).",
        ),
        Key::new(
            "check-server-name",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("true"),
            "Whether a request for a host that the connection's certificate does not serve is answered with 421.",
        ),
        Key::new(
            "access",
            Takes::Value(access::RULES.describe),
            Presence::Default("[]"),
            "Which client addresses are admitted, on any route, by rules as in `[route.NAME]`; others get 403. A \
             connection that stands keeps the rules that it began with.",
        ),
        Key::new(
            "handshake-timeout",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"5s\""),
            "From accept to the end of the TLS handshake, PROXY header and protocol detection included.",
        ),
        Key::new(
            "header-timeout",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"10s\""),
            "From accept, or the first byte of a later request, to the end of its header section; then 408.",
        ),
        Key::new(
            "idle-timeout",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"60s\""),
            "How long a connection may be idle between requests.",
        ),
        Key::new(
            "write-timeout",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"60s\""),
            "Longest pause of a client that reads a response.",
        ),
        Key::new(
            "max-header-bytes",
            Takes::Value(value::SIZE.describe),
            Presence::Default("\"60KiB\""),
            "Largest header section; then 431.",
        ),
        Key::new(
            "max-headers",
            Takes::Number(1, 10_000),
            Presence::Default("100"),
            "Most header fields; then 431.",
        ),
        Key::new(
            "max-uri",
            Takes::Value(value::SIZE.describe),
            Presence::Default("\"8KiB\""),
            "Longest request target; then 414.",
        ),
        Key::new(
            "max-streams",
            Takes::Number(1, 100_000),
            Presence::Default("100"),
            "Most concurrent HTTP/2 streams of a connection.",
        ),
        Key::new(
            "max-connections",
            Takes::Number(1, 10_000_000),
            Presence::Default("10000"),
            "Most connections in all.",
        ),
        Key::new(
            "max-connections-per-address",
            Takes::Number(1, 10_000_000),
            Presence::Default("256"),
            "Most connections of one address (IPv6: one /64); trusted proxies are not counted.",
        ),
    ],
};

/// The keys of a certificate.
pub static CERTIFICATE: Spec = Spec {
    title: "tls",
    doc: "A certificate and its key.",
    keys: &[
        Key::new(
            "certificate",
            Takes::Value(value::PATH.describe),
            Presence::Required,
            "PEM file with the chain, the server's own certificate first.",
        ),
        Key::new(
            "key",
            Takes::Value(value::PATH.describe),
            Presence::Required,
            "PEM file with the private key.",
        ),
    ],
};

/// Decodes `[listen.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<Listen> {
    let f = d.fields(&SPEC, format!("[listen.{}]", name.value), node)?;
    let address = f.located(d, "address", &value::ADDRESS);
    let tls = f.with(d, "tls", certificates);
    let http2 = f.get(d, "http2", &value::BOOLEAN);
    let proxy_protocol = f.get(d, "proxy-protocol", &value::BOOLEAN);
    let check_server_name = f.get(d, "check-server-name", &value::BOOLEAN);
    let access = f.get(d, "access", &access::RULES);
    let limits = limits(d, &f);
    Some(Listen {
        name: name.value,
        place: name.place,
        address: address?,
        tls: tls.unwrap_or_default(),
        http2: http2?,
        proxy_protocol: proxy_protocol?,
        check_server_name: check_server_name?,
        access: access?,
        limits: limits?,
    })
}

fn limits(d: &mut Decoder<'_>, f: &Fields<'_>) -> Option<ListenLimits> {
    let handshake_timeout = f.get(d, "handshake-timeout", &value::DURATION);
    let header_timeout = f.get(d, "header-timeout", &value::DURATION);
    let idle_timeout = f.get(d, "idle-timeout", &value::DURATION);
    let write_timeout = f.get(d, "write-timeout", &value::DURATION);
    let header_bytes_max = bounded_size(d, f, "max-header-bytes", HEADER_BYTES);
    let header_count_max = f.number(d, "max-headers");
    let uri_bytes_max = bounded_size(d, f, "max-uri", (64, HEADER_BYTES.1));
    let http1 = f.word(d, "http1", &[("native", Http1::Native), ("hyper", Http1::Hyper)]);
    let streams_max = f.number(d, "max-streams");
    let connections_max = f.number(d, "max-connections");
    let connections_per_address_max = f.number(d, "max-connections-per-address");
    Some(ListenLimits {
        handshake_timeout: handshake_timeout?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        write_timeout: write_timeout?,
        header_bytes_max: header_bytes_max?,
        header_count_max: header_count_max?,
        uri_bytes_max: uri_bytes_max?,
        http1: http1?,
        streams_max: streams_max?,
        connections_max: connections_max?,
        connections_per_address_max: connections_per_address_max?,
    })
}

fn bounded_size(
    d: &mut Decoder<'_>,
    f: &Fields<'_>,
    name: &'static str,
    (least, most): (u64, u64),
) -> Option<usize> {
    use crate::config::units::show_size;
    let size = f.located(d, name, &value::SIZE)?;
    if !(least..=most).contains(&size.value) {
        let label = format!("expected {} to {}", show_size(least), show_size(most));
        let problem = Problem::error(codes::OUT_OF_RANGE, "this size is out of range", size.place);
        d.report.push(problem.label(label));
        return None;
    }
    usize::try_from(size.value).ok()
}

fn certificates(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Certificate>> {
    if matches!(&node.value, Value::List(items) if items.len() > CERTIFICATES_MAX) {
        let message = format!("more than {CERTIFICATES_MAX} certificates");
        d.report.push(Problem::error(codes::TOO_MANY, message, node.place.clone()));
        return None;
    }
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let problem = Problem::error(codes::EMPTY, "`tls` has no certificate", node.place.clone());
        d.report.push(problem.help("leave `tls` out for a listener in cleartext"));
        return None;
    }
    value::one_or_many(d, node, |d, node| {
        if matches!(node.value, Value::Text { .. } | Value::Boolean(_)) {
            let expected = "a table with `certificate` and `key`";
            let problem = Problem::error(
                codes::WRONG_TYPE,
                format!("found {}, expected {expected}", node.kind()),
                node.place.clone(),
            );
            let help = "write `tls = { certificate = \"/path/chain.pem\", key = \"/path/key.pem\" }`";
            d.report.push(problem.label(format!("expected {expected}")).help(help));
            return None;
        }
        let f = d.fields(&CERTIFICATE, "tls".into(), node)?;
        let certificate = f.located(d, "certificate", &value::PATH);
        let key = f.located(d, "key", &value::PATH);
        Some(Certificate { certificate: certificate?, key: key? })
    })
}

#[cfg(test)]
mod tests {
    use crate::config::model::ListenLimits;
    use crate::config::tests::load_ok;

    #[test]
    fn the_defaults_of_the_reference_are_the_defaults_of_the_model() {
        let config = load_ok("[listen.a]\naddress = \"[::]:80\"\n");
        assert_eq!(format!("{:?}", config.listen[0].limits), format!("{:?}", ListenLimits::default()));
    }
}
