//! What goes upstream and what comes back: bodies, connections, hops.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use tests::curl::{Answer, curl};
use tests::echo::Echo;
use tests::gateway::{Gateway, free_port};
use tests::nginx::Nginx;

pub fn gateway_to(url: &str, more: &str) -> Gateway {
    Gateway::start(&format!("[route.all]\nmatch = \"/*\"\nto = \"{url}\"\n{more}"))
}

/// The fields that the upstream saw under a name, in order.
pub fn seen(answer: &Answer, name: &str) -> Vec<String> {
    answer.json()["headers"]
        .as_array()
        .expect("a list of fields")
        .iter()
        .filter(|field| field[0].as_str().is_some_and(|field| field.eq_ignore_ascii_case(name)))
        .map(|field| field[1].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_body_goes_both_ways_unchanged() {
    let echo = Echo::start();
    let gateway = gateway_to(&echo.url(), "");
    let body = "x".repeat(100_000);
    let file = gateway.folder.join("body");
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    for framing in ["Content-Type: text/plain", "Transfer-Encoding: chunked"] {
        let answer = curl(&["--data-binary", &data, "-H", framing, &gateway.url("/upload")]);
        assert_eq!(answer.status, 200, "{framing}");
        assert_eq!(answer.json()["body"].as_str().map(str::len), Some(body.len()), "{framing}");
    }
}

#[test]
fn a_real_nginx_is_reused_and_two_targets_share_evenly() {
    let locations = "location / { return 200 \"from nginx\\n\"; }";
    let (one, two) = (Nginx::start(locations), Nginx::start(locations));
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nworkers = 1\nstate = \"{}/state\"\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nto = [\"{}\", \"{}\"]\n",
            folder.display(),
            one.url(),
            two.url()
        )
    });
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    for _ in 0..1000 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: any.test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"from nginx\n") {
            let mut chunk = [0; 4096];
            let length = stream.read(&mut chunk).unwrap();
            assert!(length > 0, "the gateway closed: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..length]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
    drop(stream);
    // nginx writes its log after the answer.
    std::thread::sleep(std::time::Duration::from_millis(200));
    for nginx in [&one, &two] {
        let requests = nginx.requests();
        assert!((499..=501).contains(&requests.len()), "{} requests", requests.len());
        let mut connections: Vec<&str> = requests.iter().filter_map(|line| line.split('|').nth(1)).collect();
        connections.sort_unstable();
        connections.dedup();
        assert!(connections.len() <= 2, "{} connections", connections.len());
    }
}

#[test]
fn no_upstream_at_all_is_503_with_retry_after() {
    let gateway = gateway_to(&format!("http://127.0.0.1:{}", free_port()), "");
    let first = curl(&[&gateway.url("/")]);
    assert!([502, 503].contains(&first.status), "{}", first.status);
    let mut last = first;
    for _ in 0..5 {
        last = curl(&[&gateway.url("/")]);
    }
    assert_eq!(last.status, 503);
    assert_eq!(last.header("x-gateway-reason"), "no-healthy-upstream");
    assert!(last.header("retry-after").parse::<u32>().is_ok());
    assert!(!last.body.contains("127.0.0.1"), "upstream addresses stay inside");
}

#[test]
fn hop_by_hop_fields_end_here_and_connection_strips_nothing_of_ours() {
    let echo = Echo::start();
    let gateway = gateway_to(&echo.url(), "");
    let answer = curl(&[
        "-H",
        "Connection: x-drop-me, x-forwarded-for, authorization, close",
        "-H",
        "X-Drop-Me: 1",
        "-H",
        "Keep-Alive: timeout=5",
        "-H",
        "Proxy-Connection: keep-alive",
        "-H",
        "TE: gzip",
        "-H",
        "Upgrade: h2c",
        "-H",
        "Proxy-Authorization: Basic eDp5",
        "-H",
        "Authorization: Bearer kept",
        "-H",
        "X-Kept: 1",
        &gateway.url("/"),
    ]);
    for name in ["x-drop-me", "keep-alive", "proxy-connection", "te", "upgrade", "proxy-authorization"] {
        assert_eq!(seen(&answer, name), Vec::<String>::new(), "{name}");
    }
    assert_eq!(seen(&answer, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&answer, "authorization"), ["Bearer kept"]);
    assert_eq!(seen(&answer, "x-kept"), ["1"]);
}

#[test]
fn a_body_over_the_limit_is_cut_at_413_with_either_framing() {
    let echo = Echo::start();
    let gateway = gateway_to(&echo.url(), "max-body = \"64KiB\"\n");
    let file = gateway.folder.join("body");
    std::fs::write(&file, vec![b'x'; 200_000]).unwrap();
    let data = format!("@{}", file.display());
    for framing in ["Content-Type: text/plain", "Transfer-Encoding: chunked"] {
        let answer = curl(&["--data-binary", &data, "-H", framing, "-H", "Expect:", &gateway.url("/upload")]);
        assert_eq!(answer.status, 413, "{framing}");
        assert_eq!(answer.json()["type"], "urn:portcullis:body-too-large");
    }
}

#[test]
fn an_upstream_that_dies_within_a_body_ends_the_clients_stream_visibly() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let gateway = gateway_to(&format!("http://{address}"), "");
    let answer = curl(&[&gateway.url("/")]);
    assert_eq!(answer.exit, 18, "curl's code for a transfer that ended early");
}

#[test]
fn an_answer_before_the_end_of_the_request_says_that_the_connection_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nnever").unwrap();
        // Until the gateway gives up on it, which it does at once.
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let gateway = gateway_to(&url, "");
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nthe beginning").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.ends_with("never"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    upstream.join().unwrap();
}

#[test]
fn http2_comes_in_by_prior_knowledge_and_goes_out_as_http1() {
    let echo = Echo::start();
    let gateway = gateway_to(&echo.url(), "");
    let answer = curl(&["--http2-prior-knowledge", "-d", "hello", &gateway.url("/h2")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["line"], "POST /h2 HTTP/1.1");
    assert_eq!(answer.json()["body"], "hello");
}

#[test]
fn no_more_connections_stay_open_than_the_pool_may_keep() {
    let echo = Echo::start();
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nworkers = 1\nstate = \"{}/state\"\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\nidle-connections = 8\n",
            folder.display(),
            echo.url()
        )
    });
    // Thirty-two bodies that are not complete hold thirty-two connections to the upstream.
    let mut streams: Vec<TcpStream> =
        (0..32).map(|_| TcpStream::connect(gateway.address()).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx").unwrap();
    }
    let started = std::time::Instant::now();
    while established(echo.address.port()) < 32 {
        assert!(
            started.elapsed() < std::time::Duration::from_secs(10),
            "{}",
            established(echo.address.port())
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    }
    while established(echo.address.port()) > 8 {
        assert!(
            started.elapsed() < std::time::Duration::from_secs(10),
            "{}",
            established(echo.address.port())
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(curl(&[&gateway.url("/")]).status, 200);
    assert_eq!(echo.connections.load(std::sync::atomic::Ordering::Relaxed), 32, "one that was kept is used");
}

/// Connections to a port of loopback that stand, as `ss` counts them.
fn established(port: u16) -> usize {
    let filter = format!("dport = :{port}");
    let output = std::process::Command::new("ss")
        .args(["--no-header", "--tcp", "--numeric", "state", "established", &filter])
        .output()
        .expect("ss runs; `cargo xtask test` installs it");
    String::from_utf8_lossy(&output.stdout).lines().count()
}
