//! HTTP/1 over an in-memory stream: deadlines, framing, refusals, draining, and what is reported of it.

use super::*;
use crate::config::model::Http1;

fn status(response: &str) -> &str {
    response.get(9..12).unwrap_or(response)
}

/// One request, and everything that comes until the server closes.
async fn exchange(front: &Front, request: impl AsRef<[u8]>) -> String {
    let mut client = front.connect().await;
    client.send(request).await;
    client.rest().await
}

#[test]
fn several_requests_are_answered_on_one_connection() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = front.connect().await;
        client.send("GET /a HTTP/1.1\r\nHost: One\r\n\r\n").await;
        client.until("GET one /a").await;
        client.send("GET /b HTTP/1.1\r\nHost: two\r\n\r\nGET /c HTTP/1.1\r\nHost: three\r\n\r\n").await;
        client.until("GET three /c").await;
        drop(client);
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn a_header_section_that_trickles_is_cut_with_408() {
    run(async {
        let front = Front::start(|settings| settings.limits.header_timeout = SHORT);
        let client = front.connect().await;
        let started = Instant::now();
        let (mut reading, mut writing) = client.0.into_split();
        let trickle = spawn_local(async move {
            for byte in b"GET / HTTP/1.1\r\nHost: a\r\n".iter().chain(std::iter::repeat(&b'x')) {
                if writing.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(SHORT / 20).await;
            }
        });
        let mut response = Vec::new();
        while !response.ends_with(b"}") {
            let read = tokio::time::timeout(PATIENCE, reading.read_buf(&mut response)).await;
            assert!(read.expect("an answer").unwrap() > 0, "{}", String::from_utf8_lossy(&response));
        }
        let took = started.elapsed();
        assert!(took >= SHORT && took < 5 * SHORT, "{took:?}");
        let response = String::from_utf8(response).unwrap();
        assert_eq!(status(&response), "408", "{response}");
        assert!(
            response.contains("connection: close") && response.contains("headers-too-slow"),
            "{response}"
        );
        assert_eq!(front.reports().await, [Broken::HeaderTimeout]);
        trickle.abort();
    });
}

#[test]
fn a_client_that_sends_nothing_is_let_go_without_a_word_or_a_report() {
    run(async {
        let front = Front::start(|settings| {
            settings.http2 = false;
            settings.limits.header_timeout = SHORT;
        });
        assert_eq!(front.connect().await.rest().await, "");
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_time_and_not_after_the_header_time() {
    run(async {
        let front = Front::start(|settings| {
            settings.limits.header_timeout = SHORT;
            settings.limits.idle_timeout = 3 * SHORT;
        });
        let mut client = front.connect().await;
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("GET a /a").await;
        let answered = Instant::now();
        assert_eq!(client.rest().await, "");
        assert!(answered.elapsed() >= 2 * SHORT, "{:?}", answered.elapsed());
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn the_header_time_of_a_later_request_counts_from_its_first_byte() {
    run(async {
        let front = Front::start(|settings| settings.limits.header_timeout = SHORT);
        let mut client = front.connect().await;
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("GET a /a").await;
        tokio::time::sleep(2 * SHORT).await; // Longer than the header time: it must not run while idle.
        client.send("GET /b HT").await;
        assert_eq!(status(&client.rest().await), "408");
        assert_eq!(front.reports().await, [Broken::HeaderTimeout]);
    });
}

#[test]
fn requests_that_are_not_http_get_their_status_and_are_reported() {
    run(async {
        let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(66_000));
        let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(70_000));
        let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(101));
        let cases: &[(&str, &str)] = &[
            ("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "400"),
            ("GET / HTTP/9.1\r\nHost: a\r\n\r\n", "400"),
            ("G\u{1}T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "400"),
            (&long_field, "431"),
            (&many_fields, "431"),
            (&long_target, "414"),
        ];
        for (request, expected) in cases {
            let front = Front::start(|_| {});
            let response = exchange(&front, request).await;
            let shown = &request[..request.len().min(80)];
            assert_eq!(status(&response), *expected, "{shown:?}: {response}");
            assert!(
                response.contains("connection: close") && response.ends_with('}'),
                "{shown:?}: {response}"
            );
            assert_eq!(front.reports().await, [Broken::Malformed], "{shown:?}");
        }
    });
}

#[test]
fn requests_that_are_well_formed_but_wrong_are_refused_with_a_reason() {
    run(async {
        let front = Front::start(|_| {});
        let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "a".repeat(9000));
        let cases: &[(&str, &str, &str)] = &[
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400", "bad-host"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n", "400", "bad-host"),
            ("GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", "400", "bad-host"),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400", "bad-host"),
            ("GET /../x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400", "bad-target"),
            ("TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405", "method-refused"),
            ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n", "405", "method-refused"),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nConnection: close\r\n\r\n",
                "417",
                "expectation-failed",
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                "400",
                "bad-framing",
            ),
            (&target, "414", "uri-too-long"),
        ];
        for (request, expected, reason) in cases {
            let response = exchange(&front, request).await;
            assert_eq!(status(&response), *expected, "{request:?}: {response}");
            assert!(response.contains(&format!("x-gateway-reason: {reason}")), "{request:?}: {response}");
        }
        assert_eq!(front.reports().await, []);
    });
}

/// What is sent after a request whose end is unclear, and must not be taken for another one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read() {
    run(async {
        let front = Front::start(|_| {});
        for (version, fields) in [
            ("1.1", "Content-Length: 1\r\nContent-Length: 2"),
            ("1.1", "Content-Length: 2\r\nContent-Length: 2"),
            ("1.1", "Content-Length: 2, 2"),
            ("1.1", "Content-Length: -1"),
            ("1.1", "Content-Length: 0x2"),
            ("1.1", "Transfer-Encoding: gzip"),
            ("1.1", "Transfer-Encoding: chunked, gzip"),
            ("1.1", "Transfer-Encoding: \x0bchunked"),
            ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            ("1.0", "Transfer-Encoding: chunked"),
            ("1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked"),
            ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 4"),
        ] {
            let request = format!(
                "POST /body HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}{SMUGGLED}"
            );
            let response = exchange(&front, &request).await;
            assert_eq!(status(&response), "400", "{fields}: {response}");
            assert!(response.contains("connection: close"), "{fields}: {response}");
            assert!(!response.contains("smuggled"), "{fields}: {response}");
        }
    });
}

#[test]
fn the_library_ignores_a_length_beside_chunks_and_the_connection_ends_after_the_answer() {
    run(async {
        let front = Front::start(|settings| settings.limits.http1 = Http1::Hyper);
        for (first, second) in [
            ("Content-Length: 4", "Transfer-Encoding: chunked"),
            ("Transfer-Encoding: chunked", "Content-Length: 4"),
        ] {
            let request = format!(
                "POST /body HTTP/1.1\r\nHost: a\r\n{first}\r\n{second}\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n{SMUGGLED}"
            );
            let response = exchange(&front, &request).await;
            assert_eq!(status(&response), "200", "{response}");
            assert!(response.contains("connection: close") && response.ends_with("6 bytes"), "{response}");
            assert!(!response.contains("smuggled"), "{response}");
        }
    });
}

#[test]
fn a_panic_ends_its_request_and_nothing_else() {
    run(async {
        let front = Front::start(|_| {});
        let mut bystander = front.connect().await;
        bystander.send("GET /soon HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut client = front.connect().await;
        for path in ["/panic-at-once", "/panic"] {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let response = client.until("}").await;
            assert_eq!(status(&response), "500", "{path}");
        }
        client.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("GET a /after").await;
        client.send("GET /panic-body HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let cut = client.rest().await;
        assert!(!cut.contains("0\r\n\r\n"), "a body that panicked must not look complete: {cut:?}");
        bystander.until("soon").await;
        drop(bystander);
        assert_eq!(front.reports().await, [Broken::Panicked; 2]);
    });
}

#[test]
fn a_client_that_does_not_read_is_reset_after_the_write_time() {
    run(async {
        let front = Front::start(|settings| settings.limits.write_timeout = SHORT);
        let mut client = front.connect().await;
        client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(front.reports().await, [Broken::WriteStalled]);
        let end = client.0.read_to_end(&mut Vec::new()).await;
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_client_that_does_not_read_the_end_of_an_answer_is_not_taken_for_an_idle_one() {
    run(async {
        let front = Front::start(|settings| {
            settings.limits.write_timeout = 2 * SHORT;
            settings.limits.idle_timeout = SHORT;
        });
        let mut client = front.connect().await;
        client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(front.reports().await, [Broken::WriteStalled]);
    });
}

#[test]
fn a_head_that_is_long_for_its_white_space_is_too_large_all_the_same() {
    run(async {
        let front = Front::start(|settings| settings.limits.header_bytes_max = 1 << 10);
        let padded = format!("GET /a HTTP/1.1\r\nHost: a\r\nX:{}b\r\n\r\n", " ".repeat(2 << 10));
        assert_eq!(status(&exchange(&front, padded).await), "431");
    });
}

#[test]
fn empty_lines_before_a_request_are_skipped_however_many_and_never_kept() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = front.connect().await;
        client.send("\r\n".repeat(100_000)).await;
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("GET a /a").await;
    });
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = front.connect().await;
        client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
        while front.drain.open() == 0 {
            tokio::task::yield_now().await;
        }
        drop(client);
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn draining_finishes_requests_and_closes_idle_connections() {
    run(async {
        let front = Front::start(|_| {});
        let mut idle = front.connect().await;
        idle.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        idle.until("GET a /a").await;
        let mut fresh = front.connect().await;
        let mut busy = front.connect().await;
        busy.send("GET /soon HTTP/1.1\r\nHost: a\r\n\r\n").await;
        while front.drain.open() < 3 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(SHORT / 10).await; // The request is under way.
        front.drain.begin();
        assert_eq!(idle.rest().await, "");
        assert_eq!(fresh.rest().await, "");
        let response = busy.rest().await;
        assert!(response.contains("connection: close") && response.ends_with("soon"), "{response}");
        drop((idle, fresh, busy));
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn bodies_over_the_limit_are_refused_and_the_client_sees_why() {
    run(async {
        let front = Front::start(|_| {});
        let head = "POST /body HTTP/1.1\r\nHost: a\r\n";
        let sized = format!("{head}Content-Length: 1000\r\nConnection: close\r\n\r\n{}", "x".repeat(1000));
        assert!(exchange(&front, sized).await.ends_with("1000 bytes"));
        // The whole body is sent: closing at once would reset the connection and lose the answer.
        let sized = format!("{head}Content-Length: 500000\r\n\r\n{}", "x".repeat(500_000));
        let response = exchange(&front, sized).await;
        assert_eq!(status(&response), "413", "{response}");
        let chunked = format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            "200\r\n".to_owned() + &"x".repeat(512) + "\r\n200\r\n" + &"x".repeat(512) + "\r\n"
        );
        let response = exchange(&front, chunked).await;
        assert_eq!(status(&response), "413", "{response}");
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn a_body_that_stops_is_cut_with_408_and_one_that_breaks_off_is_incomplete() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = front.connect().await;
        client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nab").await;
        let response = client.rest().await;
        assert_eq!(status(&response), "408", "{response}");
        assert!(response.contains("body-too-slow"), "{response}");
        let mut client = front.connect().await;
        client.send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
        let response = client.rest().await;
        assert_eq!(status(&response), "400", "{response}");
        assert!(response.contains("body-incomplete"), "{response}");
    });
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_or_refused_without_its_body() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = front.connect().await;
        client
            .send("PUT /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            .await;
        assert_eq!(client.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello").await;
        client.until("5 bytes").await;
        client
            .send("PUT /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
            .await;
        let response = client.rest().await;
        assert_eq!(status(&response), "413", "{response}");
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn an_answer_to_head_has_no_body() {
    run(async {
        let front = Front::start(|_| {});
        let response = exchange(&front, "HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(response.contains("content-length: 9") && response.ends_with("\r\n\r\n"), "{response}");
    });
}

#[test]
fn trailers_come_through_except_those_that_must_stand_in_the_header() {
    run(async {
        let front = Front::start(|_| {});
        let request = "POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             1\r\nx\r\n0\r\nX-Checksum: 1\r\nAuthorization: t\r\nX-Forwarded-For: 6.6.6.6\r\nX-User-Id: root\r\n\
             X_User_Id: root\r\nX-User_Id: root\r\n\
             Connection: close\r\nHost: b\r\nCookie: a=b\r\nContent-Type: x\r\n\r\n";
        let response = exchange(&front, request).await;
        assert!(response.ends_with("[\"x-checksum\"]"), "{response}");
    });
}

#[test]
fn a_multipart_body_may_have_so_many_parts() {
    run(async {
        let front = Front::start(|_| {});
        for (parts, expected) in [(2, "200"), (3, "413")] {
            let body = "--b\r\n\r\nx\r\n".repeat(parts) + "--b--\r\n";
            let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n";
            let request = format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let response = exchange(&front, request).await;
            assert_eq!(status(&response), expected, "{response}");
        }
        let unclear = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(status(&exchange(&front, unclear).await), "400");
    });
}
