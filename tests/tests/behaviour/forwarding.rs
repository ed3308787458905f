//! What goes upstream and what comes back (LB-1, LB-9, TX-3 to TX-9, RL-15).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use tests::curl::{Answer, curl};
use tests::echo::Echo;
use tests::gateway::{Gateway, free_port};
use tests::nginx::Nginx;

fn gateway_to(url: &str, more: &str) -> Gateway {
    Gateway::start(&format!("[route.all]\nmatch = \"/*\"\nto = \"{url}\"\n{more}"))
}

/// The fields that the upstream saw under a name, in order.
fn seen(answer: &Answer, name: &str) -> Vec<String> {
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
fn forwarding_fields_are_ours_unless_the_peer_is_a_trusted_proxy() {
    let echo = Echo::start();
    let spoof = [
        "-H",
        "X-Forwarded-For: 6.6.6.6",
        "-H",
        "X-Real-IP: 6.6.6.6",
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "X-Forwarded-Host: evil.test",
        "-H",
        "Forwarded: for=6.6.6.6",
    ];

    let plain = gateway_to(&echo.url(), "");
    let url = plain.url("/");
    let answer = curl(&[&spoof[..], &["-H", "Host: api.test", &url]].concat());
    assert_eq!(seen(&answer, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&answer, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen(&answer, "x-forwarded-proto"), ["http"]);
    assert_eq!(seen(&answer, "x-forwarded-host"), ["api.test"]);
    assert!(!seen(&answer, "forwarded").iter().any(|value| value.contains("6.6.6.6")));
    assert_eq!(seen(&answer, "host"), ["api.test"]);

    let trusting = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.0/8\"]\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\n",
            folder.display(),
            echo.url()
        )
    });
    let chain = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.0.0.2";
    let answer = curl(&["-H", chain, &trusting.url("/")]);
    assert_eq!(seen(&answer, "x-forwarded-for"), ["6.6.6.6, 203.0.113.9, 127.0.0.2, 127.0.0.1"]);
    assert_eq!(seen(&answer, "x-real-ip"), ["203.0.113.9"], "the rightmost that is not a trusted proxy");
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
fn the_gateways_fields_are_on_every_answer_and_a_routes_own_do_not_displace_them() {
    let nginx = Nginx::start(
        "location / { add_header X-Powered-By leak; return 200 ok; } location /304 { return 304; }",
    );
    let gateway = Gateway::start(&format!(
        "[headers]\nset = {{ X-Frame-Options = \"SAMEORIGIN\", X-Content-Type-Options = \"nosniff\" }}\nremove = [\"X-Powered-By\"]\n\
         [route.all]\nmatch = \"/*\"\nto = \"{0}\"\n\
         [route.own]\nmatch = \"/own/*\"\nto = \"{0}\"\nheaders = {{ set = {{ X-Own = \"1\" }} }}\n\
         [route.closed]\nmatch = \"/closed\"\nto = \"{0}\"\naccess = [\"deny all\"]\n\
         [route.static]\nmatch = \"/static\"\nrespond = {{ status = 200, body = \"healthy\\n\", content-type = \"text/plain\" }}\n",
        nginx.url()
    ));
    for (path, status) in [("/", 200), ("/own/x", 200), ("/304", 304), ("/closed", 403), ("/static", 200)] {
        let answer = curl(&[&gateway.url(path)]);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-frame-options"), "SAMEORIGIN", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-powered-by"), "", "{path}");
    }
    assert_eq!(curl(&[&gateway.url("/own/x")]).header("x-own"), "1");
    let malformed = curl(&["-H", "Host:", &gateway.url("/")]);
    assert_eq!(malformed.status, 400);
}

#[test]
fn a_static_answer_has_one_content_type_and_no_body_where_none_may_be() {
    let gateway = Gateway::start(
        "[route.health]\nmatch = \"/health\"\nlog = false\nrespond = { status = 200, body = \"healthy\\n\", content-type = \"text/plain\" }\n\
         [route.empty]\nmatch = \"/empty\"\nrespond = { status = 204 }\n",
    );
    let answer = curl(&[&gateway.url("/health")]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "healthy\n"));
    assert_eq!(answer.header("content-type"), "text/plain");

    let empty = curl(&[&gateway.url("/empty")]);
    assert_eq!((empty.status, empty.body.as_str()), (204, ""));
    assert_eq!(empty.header("transfer-encoding"), "");

    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = String::new();
    stream.read_to_string(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "a HEAD answer has no body: {head}");
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
fn http2_comes_in_by_prior_knowledge_and_goes_out_as_http1() {
    let echo = Echo::start();
    let gateway = gateway_to(&echo.url(), "");
    let answer = curl(&["--http2-prior-knowledge", "-d", "hello", &gateway.url("/h2")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["line"], "POST /h2 HTTP/1.1");
    assert_eq!(answer.json()["body"], "hello");
}

#[test]
fn an_upstream_learns_the_client_by_the_proxy_protocol_if_it_is_told_that_way() {
    let port = free_port();
    let nginx = Nginx::start_with_http(
        &format!(
            "server {{ listen 127.0.0.1:{port} proxy_protocol; \
             location / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_server_port $connection\"; }} }}"
        ),
        "",
    );
    for version in ["v1", "v2"] {
        let gateway = Gateway::start_with(|folder, listener| {
            format!(
                "[gateway]\nworkers = 1\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.1\"]\n\
                 [listen.main]\naddress = \"0.0.0.0:{listener}\"\n\
                 [route.all]\nmatch = \"/*\"\nto = \"http://127.0.0.1:{port}\"\nproxy-protocol = \"{version}\"\n",
                folder.display()
            )
        });
        // One connection to the gateway, over which a proxy sends the requests of two clients.
        let bodies: Vec<String> = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
            .iter()
            .map(|client| curl(&["-H", &format!("X-Forwarded-For: {client}"), &gateway.url("/")]).body)
            .collect();
        let parts: Vec<Vec<&str>> = bodies.iter().map(|body| body.split(' ').collect()).collect();
        let listener = gateway.port.to_string();
        assert_eq!(parts[0][..2], ["192.0.2.1", &listener], "{version}");
        assert_eq!(parts[1][..2], ["192.0.2.2", &listener], "{version}");
        assert_eq!(parts[2], parts[0], "{version}: the first client's connection is used again");
        assert_ne!(parts[0][2], parts[1][2], "{version}");
    }
    drop(nginx);
}
