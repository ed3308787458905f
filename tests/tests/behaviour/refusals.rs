//! Every way in which the gateway refuses, seen by the client and in the log.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gateway_userspace::demo::issuer::Issuer;
use serde_json::{Value, json};
use tests::curl::{Answer, curl};
use tests::echo::Echo;
use tests::gateway::{Gateway, free_port};

const PANICS: &str = "/panics";

/// A gateway on which every refusal can be had.
struct Stage {
    gateway: Gateway,
    issuer: Issuer,
    stranger: Issuer,
    _echo: Echo,
}

/// What is expected of one refusal: status, reason, and the detail that the log has.
type Expected = (u16, &'static str, Option<&'static str>);

/// An upstream that does one thing with each connection, and then keeps it.
fn upstream(answer: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if let Some(answer) = answer {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
            } else {
                kept.push(stream);
            }
        }
    });
    port
}

impl Stage {
    fn start() -> Stage {
        let echo = Echo::start();
        let issuer = Issuer::new("https://issuer.test", "one").unwrap();
        let stranger = Issuer::new("https://issuer.test", "one").unwrap();
        let (nobody, silent) = (free_port(), upstream(None));
        let nonsense = upstream(Some(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"));
        let hangs_up = upstream(Some(b""));
        let rest = format!(
            "header-timeout = \"2s\"\n\
             [gateway]\nstate = \"{state}\"\ntrusted-proxies = [\"127.0.0.1\"]\n\
             [auth.users]\njwt = \"https://issuer.test\"\nkeys = '''{keys}'''\naudience = \"api\"\nheaders = {{ X-Tenant = \"org\" }}\n\
             [auth.unreached]\njwt = \"http://127.0.0.1:{nobody}\"\n\
             [auth.keys]\napi-key = \"X-Key\"\n\
             keys.good = {{ hash = \"sha256:{good}\", addresses = [\"10.0.0.0/8\"] }}\n\
             keys.old = {{ hash = \"sha256:{old}\", expires = \"2020-01-01\" }}\n\
             keys.off = {{ hash = \"sha256:{off}\", disabled = true }}\n\
             [limit.one]\nrate = \"1/h\"\nby = \"address\"\n\
             [route.open]\nmatch = \"/open/*\"\nto = \"{echo}\"\nmax-body = \"1KiB\"\nmax-parts = 2\nmin-upload-rate = \"1KiB/s\"\nupload-grace = \"1s\"\n\
             [route.closed]\nmatch = \"/closed\"\nrespond = {{ status = 200 }}\naccess = [\"deny all\"]\n\
             [route.limited]\nmatch = \"/limited\"\nrespond = {{ status = 200 }}\nlimit = \"one\"\n\
             [route.tokens]\nmatch = \"/tokens\"\nrespond = {{ status = 200 }}\nauth = \"users\"\n\
             [route.unreached]\nmatch = \"/unreached\"\nrespond = {{ status = 200 }}\nauth = \"unreached\"\n\
             [route.keyed]\nmatch = \"/keyed\"\nrespond = {{ status = 200 }}\nauth = \"keys\"\n\
             [route.post]\nmatch = \"POST /post\"\nrespond = {{ status = 200 }}\n\
             [route.gone]\nmatch = \"/gone\"\nto = \"http://127.0.0.1:{nobody}\"\n\
             [route.silent]\nmatch = \"/silent\"\nto = \"http://127.0.0.1:{silent}\"\nresponse-timeout = \"300ms\"\n\
             [route.deaf]\nmatch = \"/deaf\"\nto = \"https://127.0.0.1:{silent}\"\nconnect-timeout = \"300ms\"\n\
             [route.nonsense]\nmatch = \"/nonsense\"\nto = \"http://127.0.0.1:{nonsense}\"\n\
             [route.hangs-up]\nmatch = \"/hangs-up\"\nto = \"http://127.0.0.1:{hangs_up}\"\n\
             [route.panics]\nmatch = \"{PANICS}\"\nrespond = {{ status = 200 }}\n",
            state = tests::gateway::folder().join("state").display(),
            keys = issuer.jwks(),
            echo = echo.url(),
            good = sha256("test"),
            old = sha256("old"),
            off = sha256("off"),
        );
        let gateway = Gateway::start_with_variables(&[("PORTCULLIS_FAULT_PANIC", PANICS)], &rest);
        Stage { gateway, issuer, stranger, _echo: echo }
    }

    fn ask(&self, arguments: &[&str], path: &str) -> Answer {
        let url = self.gateway.url(path);
        curl(&[arguments, &[&url]].concat())
    }

    fn with_token(&self, token: &str) -> Answer {
        self.ask(&["-H", &format!("Authorization: Bearer {token}")], "/tokens")
    }

    /// A token that is good but for these changes; `null` takes a member away.
    fn token(&self, header: Value, claims: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let merge = |mut object: Value, changes: Value| {
            for (name, value) in changes.as_object().expect("an object").clone() {
                match value {
                    Value::Null => drop(object.as_object_mut().expect("an object").remove(&name)),
                    value => object[name] = value,
                }
            }
            object
        };
        let good =
            json!({ "iss": "https://issuer.test", "aud": "api", "sub": "a", "org": "o", "exp": now + 60 });
        let header = merge(json!({ "alg": "RS256", "kid": "one" }), header);
        self.issuer.sign(&header, &merge(good, claims)).unwrap()
    }
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The refusals that a curl command can have, with what to expect.
fn by_curl(stage: &Stage) -> Vec<(&'static str, Answer, Expected)> {
    let token = |header: Value, claims: Value| stage.with_token(&stage.token(header, claims));
    let plain = |path: &str| stage.ask(&[], path);
    let soon = 9_999_999_999_u64;
    let invalid = |detail| (401, "invalid-token", Some(detail));
    let body = stage.gateway.folder.join("body");
    std::fs::write(&body, vec![b'x'; 2000]).unwrap();
    let data = format!("@{}", body.display());
    assert_eq!(plain("/limited").status, 200);
    assert_eq!(token(json!({}), json!({})).status, 200, "{}", token(json!({}), json!({})).body);
    vec![
        ("no route", plain("/nowhere"), (404, "no-route", None)),
        ("another method", plain("/post"), (405, "method-not-allowed", None)),
        (
            "a method that is never forwarded",
            stage.ask(&["-X", "TRACE"], "/open/"),
            (405, "method-refused", None),
        ),
        ("a NUL in the path", plain("/open/%00"), (400, "bad-target", None)),
        ("an encoding that is none", plain("/open/%zz"), (400, "bad-target", None)),
        ("a path above the root", plain("/open/../../x"), (400, "bad-target", None)),
        ("a bad host", stage.ask(&["-H", "Host: a b"], "/open/"), (400, "bad-host", None)),
        (
            "an expectation that nobody knows",
            stage.ask(&["-H", "Expect: tea"], "/open/"),
            (417, "expectation-failed", None),
        ),
        ("a long target", plain(&format!("/open/{}", "a".repeat(9000))), (414, "uri-too-long", None)),
        ("an address that is not admitted", plain("/closed"), (403, "address-denied", None)),
        ("a limit that is exhausted", plain("/limited"), (429, "rate-limited", None)),
        ("no token", plain("/tokens"), (401, "no-token", None)),
        ("a token that is none", stage.with_token("x"), invalid("malformed")),
        (
            "a token under another algorithm",
            token(json!({ "alg": "none" }), json!({})),
            invalid("algorithm not allowed"),
        ),
        ("a token of an unknown key", token(json!({ "kid": "two" }), json!({})), invalid("unknown key")),
        (
            "a forged token",
            stage.with_token(
                &stage
                    .stranger
                    .sign(
                        &json!({ "alg": "RS256", "kid": "one" }),
                        &json!({
                            "iss": "https://issuer.test", "aud": "api", "sub": "a", "org": "o", "exp": soon
                        }),
                    )
                    .unwrap(),
            ),
            invalid("invalid signature"),
        ),
        ("a token that is over", token(json!({}), json!({ "exp": 1000 })), invalid("expired")),
        ("a token without an end", token(json!({}), json!({ "exp": null })), invalid("expired")),
        ("a token that is not good yet", token(json!({}), json!({ "nbf": soon })), invalid("not yet valid")),
        (
            "a token of another issuer",
            token(json!({}), json!({ "iss": "https://evil.test" })),
            invalid("wrong issuer"),
        ),
        ("a token for others", token(json!({}), json!({ "aud": "other" })), invalid("wrong audience")),
        (
            "a token with an extension",
            token(json!({ "crit": ["x"], "x": 1 }), json!({})),
            invalid("unknown critical extension"),
        ),
        (
            "two tokens",
            stage.ask(&["-H", "Authorization: Bearer a", "-H", "Authorization: Bearer b"], "/tokens"),
            invalid("more than one credential"),
        ),
        (
            "a token without a claim that is asked for",
            token(json!({}), json!({ "org": null })),
            (401, "missing-claim", None),
        ),
        (
            "a token while its keys were never had",
            stage.ask(&["-H", &format!("Authorization: Bearer {}", unreached_token(stage))], "/unreached"),
            (503, "keys-unavailable", None),
        ),
        ("no key", plain("/keyed"), (401, "no-key", None)),
        (
            "an unknown key",
            stage.ask(&["-H", "X-Key: wrong"], "/keyed"),
            (401, "invalid-key", Some("unknown")),
        ),
        (
            "a key that is over",
            stage.ask(&["-H", "X-Key: old"], "/keyed"),
            (401, "invalid-key", Some("expired")),
        ),
        (
            "a key that is switched off",
            stage.ask(&["-H", "X-Key: off"], "/keyed"),
            (401, "invalid-key", Some("disabled")),
        ),
        ("a key from elsewhere", stage.ask(&["-H", "X-Key: test"], "/keyed"), (403, "address-denied", None)),
        (
            "a large body",
            stage.ask(&["--data-binary", &data, "-H", "Expect:"], "/open/"),
            (413, "body-too-large", None),
        ),
        (
            "a body of many parts",
            stage.ask(&["-F", "a=1", "-F", "b=2", "-F", "c=3"], "/open/"),
            (413, "too-many-parts", None),
        ),
        ("an upstream that nobody serves", plain("/gone"), (502, "upstream-unreachable", None)),
        ("an upstream that is known to be down", plain("/gone"), (503, "no-healthy-upstream", None)),
        ("an upstream that says nothing", plain("/silent"), (504, "upstream-timeout", None)),
        ("an upstream that shakes no hands", plain("/deaf"), (504, "upstream-connect-timeout", None)),
        ("an upstream that talks nonsense", plain("/nonsense"), (502, "upstream-invalid", None)),
        ("an upstream that hangs up", plain("/hangs-up"), (502, "upstream-unreachable", None)),
    ]
}

fn unreached_token(stage: &Stage) -> String {
    let gateway = std::fs::read_to_string(stage.gateway.folder.join("gateway.toml")).unwrap();
    let issuer = gateway.split("[auth.unreached]\njwt = \"").nth(1).and_then(|rest| rest.split('"').next());
    stage.token(json!({}), json!({ "iss": issuer.expect("it stands there") }))
}

/// Sends bytes and reads the one answer.
fn raw(stage: &Stage, bytes: &[u8], pause: Duration) -> Answer {
    let mut stream = TcpStream::connect(stage.gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    stream.write_all(bytes).unwrap();
    std::thread::sleep(pause);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    tests::curl::parse(&String::from_utf8_lossy(&answer), 0)
}

#[test]
fn each_of_more_than_forty_refusals_says_who_refused_and_why_to_the_client_and_in_the_log() {
    let stage = Stage::start();
    let mut seen = by_curl(&stage);
    let close = "Host: a\r\nConnection: close\r\n";
    let request = |text: &str| raw(&stage, text.as_bytes(), Duration::ZERO);
    seen.push((
        "headers that never end",
        request("GET /open/ HTTP/1.1\r\nHost: a\r\n"),
        (408, "headers-too-slow", None),
    ));
    seen.push((
        "a body that drips",
        request(&format!("POST /open/ HTTP/1.1\r\n{close}Content-Length: 500\r\n\r\nx")),
        (408, "body-too-slow", None),
    ));
    seen.push((
        "a coding that is unknown",
        request(&format!("POST /open/ HTTP/1.1\r\n{close}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        (400, "bad-framing", None),
    ));
    // curl sends the host of the target in HTTP/1, so both are written by hand.
    seen.push((
        "two hosts",
        request(&format!("GET http://b/open/ HTTP/1.1\r\n{close}\r\n")),
        (400, "bad-host", None),
    ));
    assert!(stage.gateway.cli(&["ban", "203.0.113.9", "--for", "1m"]).status.success());
    let banned = stage.ask(&["-H", "X-Forwarded-For: 203.0.113.9"], "/open/");
    seen.push(("a banned client behind a proxy", banned, (403, "banned", None)));

    assert!(seen.len() > 40, "{} refusals", seen.len());
    let log = log_of(&stage.gateway, &seen);
    for (what, answer, (status, reason, detail)) in &seen {
        assert_eq!(
            (answer.status, answer.header("x-gateway-reason")),
            (*status, *reason),
            "{what}: {}",
            answer.body
        );
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
        assert_eq!(answer.header("cache-control"), "no-store", "{what}");
        let body = answer.json();
        assert_eq!(body["type"], format!("urn:portcullis:{reason}"), "{what}");
        assert_eq!(body["status"], *status, "{what}");
        assert!(body["error"].is_string() && body["title"].is_string(), "{what}");
        assert!(
            !answer.body.contains("127.0.0.1") && !answer.body.contains("issuer.test"),
            "{what}: {}",
            answer.body
        );
        assert_eq!(answer.header("retry-after").is_empty(), !matches!(status, 429 | 503), "{what}");
        // A header section that never ended is no request: it has no id and no line.
        if *reason == "headers-too-slow" {
            continue;
        }
        let id = answer.header("x-request-id");
        assert_eq!(body["requestId"], id, "{what}");
        let line = log.iter().find(|line| line["request_id"] == id);
        let line = line.unwrap_or_else(|| panic!("{what}: no line of the log has {id}"));
        assert_eq!(line["http.response.status_code"], *status, "{what}");
        assert_eq!(line["deny.reason"], *reason, "{what}: {line}");
        assert_eq!(line["deny.detail"].as_str(), *detail, "{what}: {line}");
    }
}

/// The access log, once it has a line for every answer with an id.
fn log_of(gateway: &Gateway, seen: &[(&'static str, Answer, Expected)]) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let log = gateway.access_log();
        let ids = seen.iter().map(|(_, answer, _)| answer.header("x-request-id")).filter(|id| !id.is_empty());
        if ids.clone().all(|id| log.iter().any(|line| line["request_id"] == id))
            || started.elapsed() > Duration::from_secs(5)
        {
            return log;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_panic_ends_one_request_with_500_in_json_and_the_connection_and_the_others_go_on() {
    let stage = Stage::start();
    let pid = stage.gateway.pid();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for _ in 0..3 {
            let answer = stage.ask(&[version], PANICS);
            assert_eq!((answer.status, answer.header("x-gateway-reason")), (500, "internal"), "{version}");
            assert_eq!(answer.json()["error"], "Internal server error");
            for inside in ["fault", "panic", "src/", ".rs"] {
                assert!(!answer.body.contains(inside), "{}", answer.body);
            }
            assert_eq!(stage.ask(&[version], "/open/").status, 200);
        }
    }
    // On one connection, between two requests that are served.
    let url = |path: &str| stage.gateway.url(path);
    let output = std::process::Command::new("curl")
        .args([
            "--silent",
            "--write-out",
            "%{http_code} %{num_connects}\n",
            "--output",
            "/dev/null",
            &url("/open/"),
        ])
        .args(["--output", "/dev/null", &url(PANICS), "--output", "/dev/null", &url("/open/")])
        .output()
        .expect("curl runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200 1\n500 0\n200 0\n");

    assert_eq!(
        stage.gateway.cli_json(&["status"])["pid"].as_u64(),
        Some(u64::from(pid)),
        "the process is the same"
    );
    assert!(stage.gateway.said().contains("panicked"), "the diagnostic log has it");
    let started = Instant::now();
    let panicked = || {
        stage
            .gateway
            .access_log()
            .into_iter()
            .filter(|line| line["deny.detail"] == "panicked")
            .collect::<Vec<_>>()
    };
    while panicked().len() < 7 {
        assert!(started.elapsed() < Duration::from_secs(5), "each has its line: {:?}", panicked());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        panicked().iter().all(|line| line["http.response.status_code"] == 500 && line["url.path"] == PANICS)
    );
}

#[test]
fn a_refusal_of_a_head_request_has_no_body() {
    let gateway = Gateway::start("[route.a]\nmatch = \"/a\"\nrespond = { status = 200 }\n");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let head = curl(&[version, "--head", &gateway.url("/nowhere")]);
        assert_eq!((head.status, head.body.as_str()), (404, ""), "{version}");
        assert_eq!(head.header("x-gateway-reason"), "no-route", "{version}");
    }
}
