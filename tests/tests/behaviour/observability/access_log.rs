//! The access log: what a line tells, in each format, and its way to files and the syslog.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::Gateway;

use super::{log_lines, metric};

#[test]
fn the_access_log_is_one_json_line_for_each_request_with_the_agreed_fields() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.users]\nmatch = \"/users/*\"\nto = \"{}\"\n[route.quiet]\nmatch = \"/quiet\"\nrespond = {{ status = 200 }}\nlog = false\n",
        echo.url()
    ));
    let agent = "evil \\\"agent\t\u{fc}";
    let answer = curl(&["-A", agent, &gateway.url("/users/7?token=secret")]);
    curl(&[&gateway.url("/quiet")]);
    let missing = curl(&[&gateway.url("/missing")]);

    let lines = log_lines(&gateway, 2);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let line = &lines[0];
    assert_eq!(line["http.request.method"], "GET");
    assert_eq!(line["url.path"], "/users/7");
    assert_eq!(line["http.route"], "users");
    assert_eq!(line["http.response.status_code"], 200);
    assert_eq!(line["client.address"], "127.0.0.1");
    assert_eq!(line["request_id"].as_str(), Some(answer.header("x-request-id")));
    assert_eq!(line["http.response.body.size"].as_u64(), Some(answer.body.len() as u64));
    assert!(line["duration"].as_f64().is_some_and(|duration| duration > 0.0 && duration < 10.0));
    assert!(line["user_agent.original"].as_str().is_some_and(|value| value.contains("agent")));
    assert!(line["upstream.address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")));
    assert!(!line.to_string().contains("secret"), "the query is not logged");
    let raw = std::fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    assert!(!raw.contains('\t'), "no control bytes in the log");

    assert_eq!(lines[1]["http.response.status_code"], 404);
    assert_eq!(lines[1]["deny.reason"], "no-route");
    assert_eq!(lines[1]["request_id"].as_str(), Some(missing.header("x-request-id")));
}

#[test]
fn what_is_no_request_has_a_line_and_an_answer_with_the_same_id() {
    let gateway = Gateway::start("[route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\n");
    for (bytes, status, reason) in [
        (&b"\x16\x03\x01 is no request\r\n\r\n"[..], 400, "bad-framing"),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400, "bad-framing"),
        (
            &[b"GET / HTTP/1.1\r\nHost: a\r\n".as_slice(), &b"x: 1\r\n".repeat(101), b"\r\n"].concat(),
            431,
            "headers-too-large",
        ),
        (&[b"GET /".as_slice(), &[b'a'; 70_000]].concat(), 414, "uri-too-long"),
    ] {
        let before = gateway.access_log().len();
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        let body: serde_json::Value = serde_json::from_str(body).expect("a body of JSON");
        let id = body["requestId"].as_str().expect("an id");
        assert!(head.contains(&format!("x-request-id: {id}")), "{answer}");
        let line = gateway.access_log_of(before + 1).pop().expect("a line");
        assert_eq!(line["request_id"], id);
        assert_eq!(line["http.response.status_code"], status);
        assert_eq!(line["deny.reason"], reason);
        assert_eq!(line["client.address"], "127.0.0.1");
    }
}

#[test]
fn the_seed_profile_has_the_sources_names_and_types() {
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[log]\nformat = \"seed\"\nto = \"file:{}/access.log\"\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nrespond = {{ status = 201, body = \"hello\" }}\n",
            folder.display()
        )
    });
    curl(&["-A", "agent/1", &gateway.url("/a/b")]);
    let line = log_lines(&gateway, 1).pop().expect("a line");
    let object = line.as_object().unwrap();
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["duration", "ip", "method", "requestId", "size", "status", "timestamp", "url", "userAgent"]
    );
    assert_eq!(
        (line["method"].as_str(), line["url"].as_str(), line["status"].as_u64()),
        (Some("GET"), Some("/a/b"), Some(201))
    );
    assert_eq!(
        (line["size"].as_u64(), line["ip"].as_str(), line["userAgent"].as_str()),
        (Some(5), Some("127.0.0.1"), Some("agent/1"))
    );
    assert!(line["requestId"].as_str().is_some_and(|id| id.len() == 36));
    assert!(line["duration"].is_number());
}

#[test]
fn the_sources_own_format_makes_the_sources_own_line() {
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[log]\nto = \"file:{}/access.log\"\nformat = \"$context.requestId: $context.endpoint $context.httpMethod \
             $context.status $context.responseLatency\"\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nrespond = {{ status = 201 }}\n",
            folder.display()
        )
    });
    let answer = curl(&["-X", "PUT", &gateway.url("/users/7?token=secret")]);
    let started = Instant::now();
    let mut text = String::new();
    while text.is_empty() && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
        text = std::fs::read_to_string(gateway.folder.join("access.log")).unwrap_or_default();
    }
    let line = text.strip_suffix('\n').expect("a line");
    let expected = format!("{}: /users/7 PUT 201 ", answer.header("x-request-id"));
    let latency =
        line.strip_prefix(&*expected).unwrap_or_else(|| panic!("{line} does not begin with {expected}"));
    assert!(latency.parse::<u32>().is_ok_and(|ms| ms < 5000), "{line}");
}

#[test]
fn sizes_are_the_real_ones_also_of_chunked_bodies() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!("[route.all]\nmatch = \"/*\"\nto = \"{}\"\n", echo.url()));
    let body = "x".repeat(100_000);
    let file = gateway.folder.join("body");
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    for extra in [&[][..], &["-H", "Transfer-Encoding: chunked"], &["--http2-prior-knowledge"]] {
        let mut arguments = extra.to_vec();
        let url = gateway.url("/upload");
        arguments.extend(["--data-binary", &data, &url]);
        assert_eq!(curl(&arguments).status, 200, "{extra:?}");
    }
    curl(&[&gateway.url("/none")]);
    let lines = log_lines(&gateway, 4);
    // Each of the two workers has a buffer of its own, so lines come in any order.
    let mut sizes: Vec<_> = lines.iter().map(|line| line["http.request.body.size"].as_u64()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [Some(0), Some(100_000), Some(100_000), Some(100_000)]);
}

#[test]
fn the_access_log_goes_to_syslog_and_a_daemon_that_stops_reading_stalls_nobody() {
    let mut socket = None;
    let gateway = Gateway::start_with(|folder, port| {
        let path = folder.join("log.sock");
        socket = Some(std::os::unix::net::UnixDatagram::bind(&path).expect("a socket"));
        format!(
            "[log]\nto = \"syslog:{}\"\nformat = \"seed\"\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200 }}\n",
            path.display()
        )
    });
    let socket = socket.expect("made above");
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let answer = curl(&[&gateway.url("/a")]);
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).expect("a message in time");
    let message = std::str::from_utf8(&bytes[..length]).expect("text");
    let (header, line) = message.split_once(": ").expect("a header");
    assert!(header.starts_with("<190>"), "local7.info: {message}");
    assert!(header.ends_with(&format!(" portcullis[{}]", gateway.pid())), "{message}");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["requestId"].as_str(), Some(answer.header("x-request-id")));

    // From here on nobody reads, and the socket's queue is 10 to 512 messages long.
    let urls: Vec<String> = (0..2000).map(|n| gateway.url(&format!("/{n}"))).collect();
    let started = Instant::now();
    let output = std::process::Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}\\n"])
        .args(urls.iter().flat_map(|url| [url.as_str(), "--output", "/dev/null"]))
        .output()
        .expect("curl runs");
    let passed = String::from_utf8_lossy(&output.stdout).lines().filter(|status| *status == "200").count();
    assert_eq!(passed, 2000);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let sink = format!("syslog:{}", gateway.folder.join("log.sock").display());
    let dropped = || {
        let of =
            |reason| format!("portcullis_access_log_dropped_total{{sink=\"{sink}\",reason=\"{reason}\"}}");
        ["full", "failed"]
            .iter()
            .any(|reason| metric(&gateway, &of(reason)).parse::<f64>().is_ok_and(|lost| lost > 0.0))
    };
    while !dropped() {
        assert!(started.elapsed() < Duration::from_secs(30), "lost lines are counted");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_answer_that_was_sent_whole_is_not_logged_as_incomplete_in_whatever_version() {
    let nginx = tests::nginx::Nginx::start("location / { return 200 whole; }");
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.nginx]\nmatch = \"/all\"\nto = \"{}\"\n[route.echo]\nmatch = \"/echo\"\nto = \"{}\"\n\
         [route.own]\nmatch = \"/own\"\nrespond = {{ status = 200, body = \"own\" }}\n",
        nginx.url(),
        echo.url()
    ));
    for path in ["/all", "/echo", "/own", "/nowhere"] {
        for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
            curl(&[version, &gateway.url(path)]);
            curl(&[version, "--head", &gateway.url(path)]);
        }
    }
    let lines = log_lines(&gateway, 24);
    assert_eq!(lines.len(), 24);
    for line in lines {
        assert_eq!(line.get("deny.detail"), None, "{line}");
    }
}

#[test]
fn a_request_that_its_client_gives_up_is_logged_and_counted_as_over() {
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start(&format!(
        "[route.slow]\nmatch = \"/*\"\nto = \"http://{}\"\n",
        silent.local_addr().unwrap()
    ));
    let body = "12345";
    let request = format!("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut client = std::net::TcpStream::connect(gateway.address()).unwrap();
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    let (mut upstream, _) = silent.accept().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(body.as_bytes()) {
        let mut bytes = [0; 1024];
        let read = std::io::Read::read(&mut upstream, &mut bytes).unwrap();
        assert_ne!(read, 0, "the gateway closed early");
        seen.extend_from_slice(&bytes[..read]);
    }
    assert_eq!(metric(&gateway, "http_server_active_requests"), "1");
    drop(client);

    let lines = log_lines(&gateway, 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["http.response.status_code"], 499);
    assert_eq!(lines[0]["deny.detail"], "client-left");
    assert_eq!(lines[0]["http.route"], "slow");
    assert_eq!(lines[0]["http.request.body.size"], 5);
    assert_eq!(metric(&gateway, "http_server_active_requests"), "0");
}

/// Ten thousand requests of every kind that clients send: methods, statuses, refusals, bodies, nonsense.
#[test]
fn ten_thousand_lines_are_as_the_schema_says_and_each_has_an_id_of_its_own() {
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[log]\nformat = \"seed\"\nto = \"file:{}/access.log\"\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [limit.few]\nrate = \"1/h\"\nburst = 1\nby = \"address\"\n\
             [route.all]\nmatch = \"/ok/*\"\nrespond = {{ status = 200, body = \"hello\" }}\n\
             [route.few]\nmatch = \"GET /few\"\nrespond = {{ status = 200 }}\nlimit = \"few\"\n",
            folder.display()
        )
    });
    let requests = [
        "GET /ok/1?token=x HTTP/1.1\r\nHost: a\r\nUser-Agent: agent/1\r\n\r\n",
        "HEAD /ok/h HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /ok/%22%F0%9F%98%80 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "GET /missing HTTP/1.1\r\nHost: a\r\nUser-Agent: \"\\\t\u{e9}\r\nX-Request-Id: unknown\r\n\r\n",
        "GET /few HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    const LINES: usize = 10_000;
    // On one connection, a hundred at a time, so that answers never fill the socket.
    let mut client = std::net::TcpStream::connect(gateway.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let round = requests.concat().repeat(20);
    for _ in 0..LINES / 100 {
        std::io::Write::write_all(&mut client, round.as_bytes()).unwrap();
        let mut answers = Vec::new();
        while count(&answers, b"x-request-id: ") < 100 {
            let mut bytes = [0; 16 << 10];
            let read = std::io::Read::read(&mut client, &mut bytes).expect("answers in time");
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&answers));
            answers.extend_from_slice(&bytes[..read]);
        }
    }
    let lines = log_lines(&gateway, LINES);
    assert_eq!(lines.len(), LINES);
    let raw = std::fs::read_to_string(gateway.folder.join("access.log")).unwrap();
    assert_eq!(raw.lines().count(), LINES, "each line is JSON");
    let mut ids: Vec<&str> = lines.iter().map(follows_schema).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), LINES, "ids are unique");
    for status in [200, 404, 429] {
        assert!(lines.iter().any(|line| line["status"] == status), "{status}");
    }
    assert!(!raw.contains("token") && !raw.contains("unknown"));
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| window.eq_ignore_ascii_case(part)).count()
}

/// Names, types and ranges of the `seed` format; the line's id.
fn follows_schema(line: &serde_json::Value) -> &str {
    let object = line.as_object().expect("an object");
    let text = |name: &str| {
        object.get(name).and_then(|value| value.as_str()).unwrap_or_else(|| panic!("{name}: {line}"))
    };
    let number = |name: &str| {
        object.get(name).and_then(|value| value.as_u64()).unwrap_or_else(|| panic!("{name}: {line}"))
    };
    let known = ["timestamp", "method", "url", "status", "duration", "size", "ip", "userAgent", "requestId"];
    assert!(object.keys().all(|name| known.contains(&name.as_str())), "{line}");
    let timestamp = text("timestamp");
    assert!(timestamp.len() == 24 && timestamp.starts_with("20") && timestamp.ends_with('Z'), "{line}");
    assert!(text("url").starts_with('/') && !text("method").is_empty(), "{line}");
    assert!((100..600).contains(&number("status")) && number("duration") < 60_000, "{line}");
    let body = match (text("method"), number("status")) {
        ("HEAD", _) => 0..1,
        (_, 200) if text("url").starts_with("/ok") => 5..6,
        _ => 0..2000,
    };
    assert!(body.contains(&number("size")), "{line}");
    assert_eq!(text("ip"), "127.0.0.1");
    assert!(object.get("userAgent").is_none_or(serde_json::Value::is_string), "{line}");
    let id = text("requestId");
    assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "a UUIDv7: {line}");
    id
}

#[test]
fn the_size_of_an_answer_is_that_of_its_body_also_when_it_is_chunked() {
    let nginx = tests::nginx::Nginx::start_with_http(
        "gzip on; gzip_min_length 1; gzip_proxied any;",
        "location / { default_type text/html; return 200 \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"; }",
    );
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[log]\nformat = \"seed\"\nto = \"file:{}/access.log\"\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\n",
            folder.display(),
            nginx.url()
        )
    });
    let saved = gateway.folder.join("saved");
    let answer = curl(&["-H", "Accept-Encoding: gzip", "--raw", &gateway.url("/")]);
    assert_eq!(answer.header("transfer-encoding"), "chunked");
    let output = std::process::Command::new("curl")
        .args(["--silent", "-H", "Accept-Encoding: gzip", "--output"])
        .args([saved.to_str().unwrap(), &gateway.url("/")])
        .status()
        .unwrap();
    assert!(output.success());
    let bytes = std::fs::metadata(&saved).unwrap().len();
    assert!(bytes > 0);
    let lines = log_lines(&gateway, 2);
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line["size"].as_u64(), Some(bytes), "{line}");
    }
}
