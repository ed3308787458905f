//! Upstreams that break the rules, by accident or to get a second answer past the gateway.

use super::{fetch, get, read};
use crate::header;
use crate::http::rejection::Rejection;
use crate::upstream::body::Error;
use crate::upstream::tests::raw::says;
use crate::upstream::tests::{config, on_a_worker, open};

#[test]
fn heads_that_two_readers_could_read_differently_are_refused() {
    let too_large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(70 << 10));
    let too_many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: a\r\n".repeat(101));
    let cases: [(&str, &str); 17] = [
        (
            "length and chunked",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!"),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello"),
        ("a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
        ("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (
            "a coding after chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a NUL in a value", "HTTP/1.1 200 OK\r\nx: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("a bare CR in a value", "HTTP/1.1 200 OK\r\nx: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
        ("a folded line", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        (
            "a switch of protocols",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ),
        ("not HTTP at all", "SSH-2.0-OpenSSH_9.6\r\n"),
        ("too large", &too_large),
        ("too many fields", &too_many),
    ];
    on_a_worker(async move {
        for (what, answer) in cases {
            let upstream = open(config(&[says(answer).await]));
            assert_eq!(fetch(&upstream).await, Err(Rejection::UpstreamInvalid), "{what}");
            assert_eq!(upstream.connections_kept(), 0, "{what}");
        }
    });
}

#[test]
fn a_connection_that_ends_before_the_head_is_unreachable() {
    on_a_worker(async {
        for answer in ["", "HTTP/1.1 200 OK\r\nContent-"] {
            let upstream = open(config(&[says(answer).await]));
            assert_eq!(fetch(&upstream).await, Err(Rejection::UpstreamUnreachable), "{answer}");
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_an_error_and_never_a_clean_end() {
    on_a_worker(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
        ] {
            let upstream = open(config(&[says(answer).await]));
            let (_head, body, _timing) = get(&upstream, "/").await.expect("a head");
            assert!(matches!(read(body).await, Err(Error::Broken(_))), "{answer}");
            assert_eq!(upstream.connections_kept(), 0, "{answer}");
        }
    });
}

#[test]
fn bytes_after_an_answer_are_not_taken_for_the_next_one() {
    on_a_worker(async {
        let first = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
        let split = format!("{first}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
        let upstream = open(config(&[says(split).await]));
        for _ in 0..3 {
            assert_eq!(fetch(&upstream).await.expect("an answer"), "first");
        }
    });
}

#[test]
fn interim_answers_are_swallowed_however_many() {
    on_a_worker(async {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
        let answer =
            format!("HTTP/1.1 100 Continue\r\n\r\n{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(fetch(&open(config(&[says(answer).await]))).await.expect("an answer"), "ok");
    });
}

#[test]
fn hop_by_hop_fields_stay_behind_and_the_rest_comes_through() {
    on_a_worker(async {
        let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Internal\r\nKeep-Alive: timeout=5\r\nX-Internal: 1\r\n\
                      Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nContent-Length: 2\r\nX-Kept: a\r\nX-Kept: b\r\n\r\nok";
        let (head, body, timing) = get(&open(config(&[says(answer).await])), "/").await.expect("an answer");
        let fields: Vec<_> =
            head.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("x-kept", &b"a"[..]), ("x-kept", &b"b"[..])]);
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(2));
        assert_eq!(read(body).await.expect("a body"), "ok");
        assert!(!timing.to_head.is_zero());
    });
}

#[test]
fn the_length_of_a_body_that_is_not_sent_is_kept() {
    on_a_worker(async {
        let head = crate::upstream::tests::head("HEAD", "/");
        let upstream = open(config(&[says("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await]));
        let (head, body, _timing) =
            super::send(&upstream, head, crate::upstream::tests::no_body()).await.expect("an answer");
        assert_eq!(head.fields.get(&header::CONTENT_LENGTH).and_then(|value| value.to_str()), Some("1234"));
        assert!(matches!(body, crate::action::Body::Empty));
    });
}
