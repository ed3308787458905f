//! Which address counts as the client, with and without proxies that are trusted.

use super::*;
use crate::header::Value;

fn peer(socket: &str, source: &str) -> Peer {
    let source = SocketAddr::new(source.parse().unwrap(), 1);
    let socket = SocketAddr::new(socket.parse().unwrap(), 1);
    Peer { socket, source, local: socket, trusted: true, tls: None }
}

fn fields(lines: &[(&'static str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in lines {
        fields.add(Name::from_static(name), Value::parse(value.as_bytes()).unwrap());
    }
    fields
}

fn trusted() -> TrustedProxies {
    TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()])
}

/// The client found for a connection from `source` with these field lines.
fn found(source: &str, lines: &[(&'static str, &str)]) -> String {
    client_address(&peer("10.0.0.1", source), &fields(lines), &trusted()).to_string()
}

const XFF: &str = "x-forwarded-for";

#[test]
fn an_untrusted_source_is_the_client_whatever_it_claims() {
    for lines in [
        &[][..],
        &[(XFF, "198.51.100.7")],
        &[(XFF, "10.0.0.1")],
        &[("forwarded", "for=198.51.100.7")],
        &[("x-real-ip", "198.51.100.7")],
    ] {
        assert_eq!(found("192.0.2.1", lines), "192.0.2.1", "{lines:?}");
    }
}

#[test]
fn the_rightmost_untrusted_entry_is_the_client() {
    let cases: &[(&[(&'static str, &str)], &str)] = &[
        (&[], "10.0.0.1"),
        (&[(XFF, "192.0.2.1")], "192.0.2.1"),
        // Spoofed entries stand to the left of what our proxies wrote.
        (&[(XFF, "6.6.6.6, 192.0.2.1")], "192.0.2.1"),
        (&[(XFF, "6.6.6.6,192.0.2.1 , 10.0.0.9")], "192.0.2.1"),
        (&[(XFF, "127.0.0.1, 10.1.1.1, 192.0.2.1, 10.0.0.9")], "192.0.2.1"),
        // Several lines are one list.
        (&[(XFF, "6.6.6.6"), (XFF, "192.0.2.1")], "192.0.2.1"),
        (&[(XFF, "192.0.2.1"), (XFF, "10.0.0.9, 10.0.0.8")], "192.0.2.1"),
        // Only trusted hops: the farthest one.
        (&[(XFF, "10.0.0.7, 10.0.0.8")], "10.0.0.7"),
        // Forms with ports and brackets.
        (&[(XFF, "192.0.2.1:8080")], "192.0.2.1"),
        (&[(XFF, "2001:db8::1")], "2001:db8::1"),
        (&[(XFF, "[2001:db8::1]")], "2001:db8::1"),
        (&[(XFF, "[2001:db8::1]:443, 2001:db8:1::1")], "2001:db8::1"),
        (&[(XFF, "::ffff:192.0.2.1")], "192.0.2.1"),
        (&[(XFF, "192.0.2.1, ::ffff:10.0.0.3")], "192.0.2.1"),
    ];
    for (lines, client) in cases {
        assert_eq!(found("10.0.0.1", lines), *client, "{lines:?}");
    }
}

#[test]
fn what_is_not_an_address_ends_the_walk_at_the_last_good_hop() {
    for bad in
        ["", "unknown", "_hidden", "192.0.2", "192.0.2.1.", "192.0.2.256", "1234", "a.b", "[::1", "\u{e9}"]
    {
        assert_eq!(found("10.0.0.1", &[(XFF, bad)]), "10.0.0.1", "{bad:?}");
        let after_hop = format!("198.51.100.7, {bad}, 10.0.0.9");
        assert_eq!(found("10.0.0.1", &[(XFF, &after_hop)]), "10.0.0.9", "{bad:?}");
    }
}

#[test]
fn a_list_without_end_is_followed_for_a_limited_number_of_hops() {
    let list = format!("192.0.2.1{}", ", 10.0.0.2".repeat(1000));
    assert_eq!(found("10.0.0.1", &[(XFF, &list)]), "10.0.0.2");
    let list = format!("192.0.2.1{}", ", 10.0.0.2".repeat(HOPS_MAX - 1));
    assert_eq!(found("10.0.0.1", &[(XFF, &list)]), "192.0.2.1");
}

#[test]
fn forwarded_is_read_when_there_is_no_x_forwarded_for() {
    let cases: &[(&str, &str)] = &[
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1"),
        ("proto=https; for=\"192.0.2.1:4711\"", "192.0.2.1"),
        ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
        ("for=6.6.6.6, for=192.0.2.1, for=10.0.0.9", "192.0.2.1"),
        ("for=192.0.2.1, for=unknown", "10.0.0.1"),
        ("for=_gazonk", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
    ];
    for (value, client) in cases {
        assert_eq!(found("10.0.0.1", &[("forwarded", value)]), *client, "{value}");
    }
    let both = [("forwarded", "for=6.6.6.6"), (XFF, "192.0.2.1")];
    assert_eq!(found("10.0.0.1", &both), "192.0.2.1");
}

#[test]
fn with_the_proxy_protocol_its_source_decides_whether_headers_are_believed() {
    let spoofed = fields(&[(XFF, "6.6.6.6")]);
    let balancer = peer("10.0.0.1", "192.0.2.1");
    assert_eq!(client_address(&balancer, &spoofed, &trusted()).to_string(), "192.0.2.1");
    let second_proxy = peer("10.0.0.1", "10.0.0.2");
    assert_eq!(client_address(&second_proxy, &spoofed, &trusted()).to_string(), "6.6.6.6");
}
