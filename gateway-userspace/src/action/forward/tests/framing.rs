//! What a request looks like to an upstream, to the byte.

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{get, send};
use crate::action::forward::{Mapping, forward};
use crate::upstream::config::HostHeader;
use crate::upstream::tests::raw::{hears, says};
use crate::upstream::tests::{
    TestBody, config, context, full_body, head, head_with, no_body, on_a_worker, open,
};

/// A body whose length nobody knows.
fn unknown_length(text: &'static str) -> TestBody {
    let chunk =
        futures_util::stream::once(async move { Ok(Frame::data(Bytes::from_static(text.as_bytes()))) });
    StreamBody::new(chunk).boxed_unsync()
}

#[test]
fn a_get_has_host_and_via_and_no_framing() {
    on_a_worker(async {
        let (address, heard) = hears().await;
        get(&open(config(&[address])), "/users?page=2").await.expect("an answer");
        assert_eq!(
            heard.borrow()[0],
            "GET /users?page=2 HTTP/1.1\r\nhost: api.test\r\nvia: 1.1 portcullis\r\n\r\n"
        );
    });
}

#[test]
fn fields_keep_their_order_and_repetitions_and_expect_is_answered_by_us() {
    on_a_worker(async {
        let (address, heard) = hears().await;
        let fields =
            [("x-b", "1"), ("accept", "*/*"), ("x-b", "2"), ("expect", "100-continue"), ("x-a", "3")];
        send(&open(config(&[address])), head_with("GET", "/", &fields), no_body()).await.expect("an answer");
        let heard = heard.borrow()[0].clone();
        let place = |text: &str| heard.find(text).unwrap_or_else(|| panic!("{text} in {heard}"));
        assert!(place("x-b: 1") < place("x-b: 2") && place("x-b: 2") < place("accept"), "{heard}");
        assert!(!heard.contains("expect"), "{heard}");
    });
}

#[test]
fn framing_follows_the_body_and_not_what_the_client_said() {
    let said = [("content-length", "999"), ("transfer-encoding", "gzip")];
    type Case = (&'static str, fn() -> TestBody, &'static str);
    let cases: [Case; 6] = [
        ("POST", || full_body("hello"), "content-length: 5"),
        ("POST", no_body, "content-length: 0"),
        ("DELETE", no_body, ""),
        ("DELETE", || full_body("hello"), "content-length: 5"),
        ("POST", || unknown_length("hello"), "transfer-encoding: chunked"),
        ("GET", || unknown_length("hello"), "transfer-encoding: chunked"),
    ];
    on_a_worker(async move {
        let (address, heard) = hears().await;
        let upstream = open(config(&[address]));
        for (method, body, framing) in cases {
            send(&upstream, head_with(method, "/", &said), body()).await.expect("an answer");
            let request = heard.borrow_mut().remove(0);
            let fields: Vec<&str> = request
                .lines()
                .filter(|line| line.starts_with("content-length") || line.starts_with("transfer-encoding"))
                .collect();
            assert_eq!(fields.join(","), framing, "{method}: {request}");
        }
    });
}

#[test]
fn the_host_is_the_clients_or_the_targets_or_a_fixed_one() {
    on_a_worker(async {
        let (address, heard) = hears().await;
        let authority = address.to_string();
        for (host, expected) in [
            (HostHeader::Preserve, "api.test"),
            (HostHeader::Target, authority.as_str()),
            (HostHeader::Fixed("users.internal:81".into()), "users.internal:81"),
        ] {
            let mut config = config(&[address]);
            config.host = host;
            get(&open(config), "/").await.expect("an answer");
            let request = heard.borrow_mut().remove(0);
            assert!(request.contains(&format!("\r\nhost: {expected}\r\n")), "{request}");
            assert_eq!(request.matches("host:").count(), 1);
        }
    });
}

#[test]
fn a_replaced_path_keeps_the_query() {
    on_a_worker(async {
        let (address, heard) = hears().await;
        let upstream = open(config(&[address]));
        for (path, line) in
            [(Some("/users"), "GET /users?a=%20b HTTP/1.1"), (None, "GET /v1/users?a=%20b HTTP/1.1")]
        {
            let head = head("GET", "/v1/users?a=%20b");
            let mapping = path.map(|path| Mapping { path, prefix: "/v1", replacement: "/" });
            forward(&context(), head, mapping, no_body(), &upstream)
                .expect("a request")
                .await
                .expect("an answer");
            let request = heard.borrow_mut().remove(0);
            assert_eq!(request.lines().next(), Some(line));
        }
    });
}

#[test]
fn a_client_that_takes_trailers_gets_them_without_what_may_not_be_one() {
    on_a_worker(async {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\n\
                      x-sum: 7\r\nset-cookie: a=1\r\ncontent-length: 9\r\n\r\n";
        let upstream = open(config(&[says(answer).await]));
        let (head, body, _timing) = send(&upstream, head_with("GET", "/", &[("te", "trailers")]), no_body())
            .await
            .expect("an answer");
        assert!(head.fields.contains(&crate::header::TRAILER));
        let body = body.collect().await.expect("a body");
        let trailers = body.trailers().expect("trailers");
        assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (1, &b"7"[..]));

        let (address, heard) = hears().await;
        send(&open(config(&[address])), head_with("GET", "/", &[("te", "trailers")]), no_body())
            .await
            .expect("an answer");
        let request = heard.borrow_mut().remove(0);
        assert!(
            request.contains("\r\nte: trailers\r\n") && request.contains("\r\nconnection: te\r\n"),
            "{request}"
        );
    });
}
