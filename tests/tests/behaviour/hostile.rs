//! Clients that mean harm: malformed, slow, endless. Nothing crashes, leaks or stalls (RE-6, RL-15, RT-8).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::Gateway;

fn gateway(echo: &Echo, listen: &str) -> Gateway {
    Gateway::start_with(|_, port| {
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\n{listen}\n[route.all]\nmatch = \"/*\"\nto = \"{}\"\n",
            echo.url()
        )
    })
}

/// Sends bytes and reads until the gateway closes or five seconds pass.
fn exchange(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn malformed_requests_are_refused_and_never_forwarded_in_two_readings() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "");
    for (what, request) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("bad host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
        ("other coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("space before colon", "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"),
        ("folded", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n"),
        ("nul in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        ("no version", "GET /\r\n\r\n"),
        ("garbage", "\x16\x03\x01garbage\r\n\r\n"),
        ("connect", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
        ("trace", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http/1.0 chunked", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("authority that differs", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let answer = exchange(&gateway, request.as_bytes());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{what}: {answer}"
        );
        assert!(!answer.contains("\"line\""), "{what} reached the upstream: {answer}");
    }
    assert_eq!(curl(&[&gateway.url("/")]).status, 200, "and it still serves");
}

/// Two readings of where the request ends, and what is a second request in one of them.
const SMUGGLED: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                        3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_length_beside_chunks_is_refused_and_ends_the_connection() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "");
    let answer = exchange(&gateway, SMUGGLED.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("x-gateway-reason: bad-framing"),
        "{answer}"
    );
    assert!(answer.contains("x-request-id: ") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn with_hyper_a_length_beside_chunks_reaches_the_upstream_as_chunks_alone_and_ends_the_connection() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "http1 = \"hyper\"");
    let answer = exchange(&gateway, SMUGGLED.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
    assert!(!answer.contains("smuggled"), "{answer}");
    assert!(!answer.contains("content-length\",\"4"), "{answer}");
    assert!(answer.contains("connection: close"), "RFC 9112 §6.3: {answer}");
}

#[test]
fn what_is_too_large_is_refused_with_its_own_status() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "");
    let long = "a".repeat(9_000);
    assert_eq!(curl(&[&gateway.url(&format!("/{long}"))]).status, 414);
    let many: Vec<String> =
        (0..150).flat_map(|number| [String::from("-H"), format!("X-{number}: 1")]).collect();
    let url = gateway.url("/");
    let mut arguments: Vec<&str> = many.iter().map(String::as_str).collect();
    arguments.push(&url);
    assert_eq!(curl(&arguments).status, 431);
}

#[test]
fn a_client_that_is_slow_with_its_head_is_cut_on_time_whatever_it_drips() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "header-timeout = \"1s\"\nhandshake-timeout = \"1s\"");
    for beginning in [&b""[..], b"G", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.write_all(beginning).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut closed = false;
        while started.elapsed() < Duration::from_secs(6) {
            if !beginning.is_empty() && stream.write_all(b"X").is_err() {
                closed = true;
                break;
            }
            match stream.read(&mut [0; 1024]) {
                Ok(0) => {
                    closed = true;
                    break;
                }
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    closed = true;
                    break;
                }
                _ => {}
            }
        }
        assert!(closed, "still open after {:?}: {beginning:?}", started.elapsed());
    }
}

#[test]
fn a_slow_body_is_cut_and_a_steady_one_is_not() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.all]\nmatch = \"/*\"\nto = \"{}\"\nmin-upload-rate = \"2KiB/s\"\nupload-grace = \"1s\"\n",
        echo.url()
    ));
    let upload = |bytes_each: usize| {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        let total = bytes_each * 40;
        write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n").unwrap();
        for _ in 0..40 {
            if stream.write_all(&vec![b'x'; bytes_each]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = vec![0; 64];
        let length = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(upload(1000).starts_with("HTTP/1.1 200"), "10 kB/s is above the least rate");
    let slow = upload(100);
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408"), "1 kB/s is below it: {slow}");
}

#[test]
fn a_form_has_at_most_a_thousand_parts_unless_its_route_says_otherwise() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.all]\nmatch = \"/*\"\nto = \"{0}\"\n\
         [route.any]\nmatch = \"/any\"\nto = \"{0}\"\nmax-parts = 0\n",
        echo.url()
    ));
    let send = |path: &str, parts: usize| {
        let url = gateway.url(path);
        let fields = std::iter::repeat_n(["--form", "a=1"], parts).flatten();
        // The answer must not be hidden by an interim one.
        curl(&fields.chain(["-H", "Expect:", url.as_str()]).collect::<Vec<_>>())
    };
    assert_eq!(send("/", 1000).status, 200);
    let refused = send("/", 1001);
    assert_eq!((refused.status, refused.header("x-gateway-reason")), (413, "too-many-parts"));
    assert_eq!(send("/any", 1001).status, 200);
}

#[test]
fn random_bytes_in_every_place_neither_crash_nor_stall_it() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "header-timeout = \"1s\"");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let valid = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    for round in 0..200 {
        let mut bytes = valid.to_vec();
        for _ in 0..=round % 4 {
            let place = random() as usize % bytes.len();
            bytes[place] = random() as u8;
        }
        let length = if round % 3 == 0 { random() as usize % bytes.len() } else { bytes.len() };
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = stream.write_all(&bytes[..length]);
        let _ = stream.read(&mut [0; 256]);
    }
    assert_eq!(curl(&[&gateway.url("/")]).status, 200);
    assert!(!gateway.said().contains("panicked"), "{}", gateway.said());
}

#[test]
fn one_address_cannot_hold_every_connection() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "max-connections-per-address = 10\nidle-timeout = \"30s\"");
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..30 {
        let stream = TcpStream::connect(gateway.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        held.push(stream);
    }
    let open = held
        .iter_mut()
        .filter_map(|stream| stream.read(&mut [0; 1]).err())
        .filter(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
        .count();
    assert_eq!(open, 10);
    drop(held);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(curl(&[&gateway.url("/")]).status, 200, "places come free again");
}
