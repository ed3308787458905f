//! What a parsed message must be to become a request: one host, one framing, one spelling of the path.

use super::*;
use crate::http::connection::testing::{connection, connection_with};

fn parts(version: http::Version, method: &str, uri: &str, lines: &[(&str, &str)]) -> Parts {
    let mut builder = http::Request::builder().version(version).method(method).uri(uri);
    for (name, value) in lines {
        builder = builder.header(*name, value.as_bytes());
    }
    builder.body(()).unwrap().into_parts().0
}

fn http1(method: &str, uri: &str, lines: &[(&str, &str)]) -> Result<Head, Rejection> {
    read(parts(http::Version::HTTP_11, method, uri, lines), &connection("192.0.2.1", &[]))
}

fn get(uri: &str) -> Result<Head, Rejection> {
    http1("GET", uri, &[("host", "example.com")])
}

fn with_host(host: &str) -> Result<Head, Rejection> {
    http1("GET", "/", &[("host", host)])
}

fn http2(uri: &str, lines: &[(&str, &str)]) -> Result<Head, Rejection> {
    read(parts(http::Version::HTTP_2, "GET", uri, lines), &connection("192.0.2.1", &[]))
}

#[test]
fn a_host_is_a_name_or_an_address_with_an_optional_port_in_lower_case() {
    for (host, authority, name, port) in [
        ("example.com", "example.com", "example.com", None),
        ("EXAMPLE.com:8080", "example.com:8080", "example.com", Some(8080)),
        ("example.com.", "example.com", "example.com", None),
        ("example.com.:81", "example.com:81", "example.com", Some(81)),
        ("192.0.2.1:80", "192.0.2.1:80", "192.0.2.1", Some(80)),
        ("[2001:DB8::1]:443", "[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
        ("[::1]", "[::1]", "[::1]", None),
        ("a_b-c.internal", "a_b-c.internal", "a_b-c.internal", None),
    ] {
        let head = with_host(host).unwrap_or_else(|rejection| panic!("{host}: {rejection:?}"));
        assert_eq!((head.authority(), head.host(), head.port()), (authority, name, port), "{host}");
        assert!(!head.fields.contains(&header::HOST));
    }
}

#[test]
fn what_is_not_one_host_is_refused() {
    let long = format!("{}.com", "a".repeat(255));
    for host in [
        "",
        " ",
        ".",
        "..",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "a\\b",
        "user@example.com",
        "example.com:",
        "example.com:65536",
        "example.com:+80",
        "example.com:8a",
        "a:80:80",
        "2001:db8::1",
        "[::1",
        "::1]",
        "[::1]x",
        "[::g]",
        "[]",
        "[v1.x]",
        "a,b",
        "exa%6dple.com",
        "a?b",
        "a#b",
        "ex\u{e4}mple.com",
        &long,
    ] {
        assert_eq!(with_host(host).err(), Some(Rejection::BadHost), "{host:?}");
    }
    let twice = [("host", "example.com"), ("host", "example.com")];
    assert_eq!(http1("GET", "/", &twice).err(), Some(Rejection::BadHost));
    assert_eq!(http1("GET", "/", &[]).err(), Some(Rejection::BadHost));
}

#[test]
fn only_http_1_0_may_leave_the_host_out() {
    let old = parts(http::Version::HTTP_10, "GET", "/", &[]);
    let head = read(old, &connection("192.0.2.1", &[])).unwrap();
    assert_eq!((head.authority(), head.host()), ("", ""));
}

#[test]
fn the_target_and_the_host_field_must_agree() {
    for (uri, host, agreed) in [
        ("http://example.com/a", "example.com", true),
        ("http://EXAMPLE.com/a", "example.com", true),
        ("http://example.com:80/a", "example.com", true),
        ("https://example.com/a", "example.com:443", true),
        ("http://example.com/a", "other.com", false),
        ("http://example.com:81/a", "example.com", false),
        ("http://example.com/a", "", false),
    ] {
        let result = http1("GET", uri, &[("host", host)]);
        assert_eq!(result.is_ok(), agreed, "{uri} {host}: {result:?}");
        if let Ok(head) = result {
            assert_eq!((head.path(), head.host()), ("/a", "example.com"));
        }
        let result = http2(uri, &[("host", host)]);
        assert_eq!(result.is_ok(), agreed, "HTTP/2 {uri} {host}: {result:?}");
    }
    assert_eq!(http1("GET", "http://example.com/", &[]).err(), Some(Rejection::BadHost), "no field");
    assert_eq!(
        http1("GET", "http://u@example.com/", &[("host", "u@example.com")]).err(),
        Some(Rejection::BadHost)
    );
    assert_eq!(http2("https://Example.com/a", &[]).unwrap().host(), "example.com");
    assert_eq!(http2("/a", &[("host", "example.com")]).unwrap().host(), "example.com");
    assert_eq!(http2("/a", &[]).err(), Some(Rejection::BadHost));
}

#[test]
fn the_path_is_normalised_once_and_the_query_is_left_alone() {
    let head = get("/a/./b/../c%7e?q=%7e&x=../y").unwrap();
    assert_eq!((head.path(), head.query()), ("/a/c~", Some("q=%7e&x=../y")));
    for uri in ["/../a", "/a/%2e%2e/%2e%2e/b", "/a%00", "/a%2fb", "/a\\b", "/%zz"] {
        if uri.parse::<Uri>().is_ok() {
            assert_eq!(get(uri).err(), Some(Rejection::BadTarget), "{uri}");
        }
    }
    assert_eq!(get("ftp://example.com/").err(), Some(Rejection::BadTarget));
    assert_eq!(http1("GET", "*", &[("host", "example.com")]).err(), Some(Rejection::BadTarget));
    assert_eq!(http1("OPTIONS", "*", &[("host", "example.com")]).unwrap().path(), "*");
}

#[test]
fn sizes_are_limited() {
    let long = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    assert!(get(&long(8 << 10)).is_ok());
    assert_eq!(get(&long((8 << 10) + 1)).err(), Some(Rejection::UriTooLong));
    let value = "v".repeat(16 << 10);
    let four = [("host", "a"), ("x-1", &value), ("x-2", &value), ("x-3", &value), ("x-4", &value)];
    assert_eq!(http1("GET", "/", &four).err(), Some(Rejection::HeadersTooLarge));
    assert!(http1("GET", "/", &four[..4]).is_ok());
    let names: Vec<String> = (0..100).map(|i| format!("x-{i}")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many[0] = ("host", "a");
    assert!(http1("GET", "/", &many).is_ok());
    many.push(("x-one-more", "1"));
    assert_eq!(http1("GET", "/", &many).err(), Some(Rejection::HeadersTooLarge));
}

#[test]
fn framing_with_two_readings_is_refused() {
    let host = ("host", "a");
    let cases: &[(&[(&str, &str)], bool)] = &[
        (&[host, ("content-length", "5")], true),
        (&[host, ("transfer-encoding", "chunked")], true),
        (&[host, ("transfer-encoding", "Chunked")], true),
        (&[host, ("content-length", "5"), ("content-length", "5")], false),
        (&[host, ("content-length", "5"), ("content-length", "6")], false),
        (&[host, ("content-length", "5, 5")], false),
        (&[host, ("content-length", "+5")], false),
        (&[host, ("content-length", "")], false),
        (&[host, ("content-length", "18446744073709551616")], false),
        (&[host, ("content-length", "5"), ("transfer-encoding", "chunked")], false),
        (&[host, ("transfer-encoding", "gzip, chunked")], false),
        (&[host, ("transfer-encoding", "identity")], false),
        (&[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
        (&[host, ("transfer-encoding", "xchunked")], false),
    ];
    for (lines, good) in cases {
        let result = http1("POST", "/", lines);
        assert_eq!(result.is_ok(), *good, "{lines:?}: {result:?}");
        assert!(*good || result.err() == Some(Rejection::BadFraming), "{lines:?}");
    }
    let old = parts(http::Version::HTTP_10, "POST", "/", &[host, ("transfer-encoding", "chunked")]);
    assert_eq!(read(old, &connection("192.0.2.1", &[])).err(), Some(Rejection::BadFraming));
}

#[test]
fn methods_and_expectations_that_are_not_forwarded_are_refused() {
    let host = ("host", "a");
    assert_eq!(http1("TRACE", "/", &[host]).err(), Some(Rejection::MethodRefused));
    assert_eq!(http1("CONNECT", "a:80", &[host]).err(), Some(Rejection::MethodRefused));
    assert_eq!(http1("PURGE", "/", &[host]).unwrap().method(), "PURGE");
    assert_eq!(http1("GET", "/", &[host, ("expect", "202-ok")]).err(), Some(Rejection::ExpectationFailed));
    let head = http1("PUT", "/", &[host, ("expect", "100-Continue")]).unwrap();
    assert!(!head.fields.contains(&header::EXPECT));
}

#[test]
fn fields_of_the_connection_and_fields_with_underscores_do_not_come_through() {
    let lines = [
        ("host", "a"),
        ("connection", "close, authorization, x-user-id"),
        ("authorization", "Bearer t"),
        ("x-user-id", "forged"),
        ("x_user_id", "forged"),
        ("upgrade", "h2c"),
    ];
    let head = http1("GET", "/", &lines).unwrap();
    let names: Vec<_> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["authorization"]);
}

#[test]
fn cookie_crumbs_are_joined() {
    let head = http2("https://a/", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]).unwrap();
    assert_eq!(head.fields.single(&header::COOKIE).unwrap().to_str(), Some("a=1; b=2; c=3"));
    assert_eq!(head.cookie("b"), Some("2"));
}

#[test]
fn a_host_that_the_certificate_served_does_not_cover_is_misdirected() {
    let read_for = |host: &str, check: bool| {
        let connection = connection_with(|settings| settings.check_server_name = check);
        let connection = connection.served("api.example.com", &["api.example.com", "*.shop.example.com"]);
        read(parts(http::Version::HTTP_11, "GET", "/", &[("host", host)]), &connection).map(|_| ())
    };
    for host in ["api.example.com", "API.example.com:8443", "a.shop.example.com"] {
        assert_eq!(read_for(host, true), Ok(()), "{host}");
    }
    for host in ["admin.example.com", "shop.example.com", "a.b.shop.example.com", "example.com"] {
        assert_eq!(read_for(host, true), Err(Rejection::Misdirected), "{host}");
        assert_eq!(read_for(host, false), Ok(()), "{host} unchecked");
    }
}
