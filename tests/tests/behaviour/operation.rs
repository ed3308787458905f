//! Running it: reload, signals, admin socket, drain, as a stranger without root (AD-5, AD-6, AD-7, PK-3).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::{Gateway, binary};

fn configuration(port: u16, body: &str) -> String {
    format!(
        "[listen.main]\naddress = \"0.0.0.0:{port}\"\n[limit.l]\nrate = \"1000000/s\"\nby = \"address\"\n\
         [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200, body = \"{body}\" }}\nlimit = \"l\"\n"
    )
}

#[test]
fn diff_tells_what_a_reload_would_change_and_changes_nothing() {
    let gateway = Gateway::start_with(|_, port| configuration(port, "one"));
    let diff = |arguments: &[&str]| gateway.cli(&[&["diff", "--exit-code"], arguments].concat());
    assert_eq!(diff(&[]).status.code(), Some(0));
    let file = gateway.folder.join("gateway.toml");
    let before = gateway.folder.join("before.toml");
    std::fs::copy(&file, &before).unwrap();
    gateway.write_configuration(&configuration(gateway.port, "two").replace("1000000/s", "5/s"));

    let changed = diff(&[]);
    let text = String::from_utf8_lossy(&changed.stdout).into_owned();
    assert_eq!(changed.status.code(), Some(2), "{text}");
    assert!(text.contains("~ limit l (rate 1000000/s → 5/s"), "{text}");
    assert!(text.contains("~ route all (respond"), "{text}");
    assert_eq!(curl(&[&gateway.url("/")]).body, "one", "nothing is in force");

    // The same of two files, which needs no gateway.
    let files = [before.to_str().unwrap(), file.to_str().unwrap()];
    let without = tests::gateway::run(&["diff", "--exit-code", "--json", files[0], files[1]]);
    assert_eq!(without.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&without.stdout).expect("JSON");
    let lines: Vec<&str> =
        json["changes"].as_array().unwrap().iter().filter_map(|line| line.as_str()).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| text.contains(line)), "{lines:?} against {text}");
    assert_eq!(tests::gateway::run(&["diff", "--exit-code", files[0], files[0]]).status.code(), Some(0));
    assert_eq!(tests::gateway::run(&["diff", files[0]]).status.code(), Some(64), "one file is no comparison");
    std::fs::write(&before, "[listen.a]\nadress = 1\n").unwrap();
    let broken = tests::gateway::run(&["diff", files[0], files[1]]);
    assert_eq!(broken.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("before.toml:2:1"));
}

#[test]
fn the_schema_for_editors_is_json_and_knows_the_tables() {
    let output = tests::gateway::run(&["schema"]);
    assert!(output.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let tables: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    for table in ["listen", "route", "upstream", "auth", "limit", "shield", "log", "include"] {
        assert!(tables.contains(&table), "{table} is not in {tables:?}");
    }
}

#[test]
fn a_reload_takes_effect_and_a_bad_one_changes_nothing_and_says_why() {
    let gateway = Gateway::start_with(|_, port| configuration(port, "one"));
    gateway.write_configuration(&configuration(gateway.port, "two"));
    assert_eq!(curl(&[&gateway.url("/")]).body, "one", "not before it is asked to");
    let reloaded = gateway.cli(&["reload"]);
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    assert!(String::from_utf8_lossy(&reloaded.stdout).contains("route all"));
    assert_eq!(curl(&[&gateway.url("/")]).body, "two");

    gateway.write_configuration(
        &(configuration(gateway.port, "three") + "[route.bad]\nmatch = \"/b\"\nlimt = \"x\"\n"),
    );
    let refused = gateway.cli(&["reload"]);
    assert_eq!(refused.status.code(), Some(78));
    let said =
        String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("limt") && said.contains("limit") && said.contains("gateway.toml:"), "{said}");
    assert_eq!(curl(&[&gateway.url("/")]).body, "two");
    let (_, metrics) = gateway.operations("/metrics");
    assert!(metrics.contains("portcullis_config_last_reload_success 0"), "{metrics}");

    gateway.write_configuration(&configuration(gateway.port, "four"));
    gateway.signal(Signal::HUP);
    let started = Instant::now();
    while curl(&[&gateway.url("/")]).body != "four" {
        assert!(started.elapsed() < Duration::from_secs(5), "SIGHUP reloads");
    }
}

#[test]
fn a_reload_does_not_reset_a_limit() {
    let gateway = Gateway::start_with(|_, port| limited(port, "one"));
    assert_eq!(curl(&[&gateway.url("/")]).status, 200);
    assert_eq!(curl(&[&gateway.url("/")]).status, 429);
    gateway.write_configuration(&limited(gateway.port, "two"));
    assert!(gateway.cli(&["reload"]).status.success());
    assert_eq!(curl(&[&gateway.url("/")]).status, 429);
}

fn limited(port: u16, body: &str) -> String {
    format!(
        "[listen.main]\naddress = \"0.0.0.0:{port}\"\n[limit.l]\nrate = \"1/h\"\nby = \"address\"\n\
         [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200, body = \"{body}\" }}\nlimit = \"l\"\n"
    )
}

#[test]
fn six_hundred_reloads_under_load_fail_no_request_mix_no_two_configurations_and_keep_memory_flat() {
    let echo = Echo::start();
    // Each configuration says its number at three places that are compiled apart: in what every answer gets, in what
    // the route sets, and in another route's answer.
    let text = |port: u16, generation: usize| {
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\n[limit.l]\nrate = \"1000000/s\"\nby = \"address\"\n\
             [headers]\nset = {{ X-Everywhere = \"{generation}\" }}\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\nlimit = \"l\"\nheaders = {{ set = {{ X-Generation = \"{generation}\" }} }}\n\
             [route.own]\nmatch = \"/own\"\nrespond = {{ status = 200, body = \"{generation}\" }}\nheaders = {{ set = {{ X-Generation = \"{generation}\" }} }}\n",
            echo.url()
        )
    };
    let gateway = Gateway::start_with(|_, port| text(port, 0));
    let stop = Arc::new(AtomicBool::new(false));
    let (good, bad) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = std::sync::Mutex::new(Vec::new());
    let mut sizes = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (gateway, stop, good, bad, wrong) = (&gateway, &stop, &good, &bad, &wrong);
            scope.spawn(move || {
                let path = if client % 2 == 0 { "/" } else { "/own" };
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(gateway.address()) else {
                        bad.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let mut last = 0;
                    for _ in 0..50 {
                        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
                        if stream.write_all(request.as_bytes()).is_err() {
                            bad.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        let answer = whole_answer(&mut stream);
                        if !answer.starts_with("HTTP/1.1 200") {
                            bad.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        good.fetch_add(1, Ordering::Relaxed);
                        match generation_of(&answer, path == "/own") {
                            // A connection stays on its worker, which never goes back to what was before.
                            Some(generation) if generation >= last => last = generation,
                            _ => wrong.lock().unwrap().push(answer),
                        }
                    }
                }
            });
        }
        for generation in 1..=600 {
            gateway.write_configuration(&text(gateway.port, generation));
            let reply = gateway.cli(&["reload", "--quiet"]);
            assert!(reply.status.success(), "{}", String::from_utf8_lossy(&reply.stderr));
            if generation % 100 == 0 {
                sizes.push(gateway.resident_bytes());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(bad.load(Ordering::Relaxed), 0, "of {} requests", good.load(Ordering::Relaxed));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} answers of two configurations, such as {}", wrong.len(), wrong[0]);
    assert!(good.load(Ordering::Relaxed) > 600, "the load was real");
    let growth = sizes[5].saturating_sub(sizes[1]);
    assert!(growth < 4 << 20, "resident memory after each hundred reloads: {sizes:?}");
    // The history is as bounded as the memory.
    assert_eq!(std::fs::read_dir(gateway.folder.join("state/history")).unwrap().count(), 32);
}

/// One answer with a `Content-Length`; less if the connection ends.
fn whole_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if length.and_then(|length| length.parse().ok()).is_none_or(|length: usize| body.len() >= length)
            {
                break;
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => answer.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The number of the configuration that made an answer, if all its parts are of one.
fn generation_of(answer: &str, with_body: bool) -> Option<usize> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let (one, other) = (field("x-everywhere")?, field("x-generation")?);
    let same = one == other && (!with_body || body == one);
    one.parse().ok().filter(|_| same)
}

#[test]
fn sigterm_lets_a_request_in_flight_finish_and_refuses_new_ones() {
    let slow = tests::gateway::free_port();
    let listener = std::net::TcpListener::bind(("127.0.0.1", slow)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 1024]);
            std::thread::sleep(Duration::from_secs(1));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        }
    });
    let mut gateway =
        Gateway::start(&format!("[route.all]\nmatch = \"/*\"\nto = \"http://127.0.0.1:{slow}\"\n"));
    let url = gateway.url("/");
    let request = std::thread::spawn(move || curl(&[&url]));
    std::thread::sleep(Duration::from_millis(300));
    gateway.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    assert!(TcpStream::connect(gateway.address()).is_err(), "no new connections while it drains");
    let answer = request.join().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "slow"));
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn every_setting_can_come_from_the_environment() {
    let folder = tests::gateway::folder();
    let path = folder.join("gateway.toml");
    std::fs::write(&path, "[listen.main]\naddress = \"127.0.0.1:1\"\n[limit.l]\nrate = \"${RATE:-1/s}\"\nby = \"address\"\n[route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\nlimit = \"l\"\n").unwrap();
    let check = |name: &str, value: &str| {
        Command::new(binary()).env(name, value).args(["check", path.to_str().unwrap()]).output().unwrap()
    };
    assert!(check("UNRELATED", "1").status.success());
    assert!(check("RATE", "5/min").status.success());
    assert_eq!(check("RATE", "5/fortnight").status.code(), Some(78));
    assert!(check("PORTCULLIS__LIMIT__L__RATE", "7/min").status.success());
    let wrong = check("PORTCULLIS__LIMIT__L__RATE", "7");
    assert_eq!(wrong.status.code(), Some(78));
    let said = String::from_utf8_lossy(&wrong.stdout).into_owned() + &String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("PORTCULLIS__LIMIT__L__RATE"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_admin_socket_serves_curl_and_the_command_line_alike() {
    let gateway = Gateway::start("[route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\n");
    let socket = gateway.socket();
    let status = curl(&["--unix-socket", socket.to_str().unwrap(), "http://x/v1/status"]);
    assert_eq!(status.status, 200);
    assert_eq!(status.json()["pid"].as_u64(), Some(u64::from(gateway.pid())));
    assert_eq!(gateway.cli_json(&["status"])["pid"].as_u64(), Some(u64::from(gateway.pid())));
    let unknown = curl(&["--unix-socket", socket.to_str().unwrap(), "http://x/v1/nothing"]);
    assert_eq!(unknown.status, 404);
    let explained = gateway.cli(&["explain", "GET", "http://any.test/x"]);
    assert!(explained.status.success());
    assert!(String::from_utf8_lossy(&explained.stdout).contains("all"));
}

#[test]
fn a_ban_without_the_kernel_stage_holds_at_layer_7_and_can_be_undone() {
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.1/32\"]\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200 }}\n",
            folder.display()
        )
    });
    let from = ["-H", "X-Forwarded-For: 203.0.113.9"];
    let url = gateway.url("/");
    assert_eq!(curl(&[&from[..], &[&url]].concat()).status, 200);
    let banned = gateway.cli(&["ban", "203.0.113.9", "--for", "10m", "--reason", "test"]);
    assert!(banned.status.success(), "{}", String::from_utf8_lossy(&banned.stderr));
    assert!(String::from_utf8_lossy(&banned.stdout).contains("portcullis unban"), "prints its inverse");
    let refused = curl(&[&from[..], &[&url]].concat());
    assert_eq!((refused.status, refused.header("x-gateway-reason")), (403, "banned"));
    assert_eq!(curl(&[&url]).status, 200, "others are not affected");
    assert_eq!(gateway.cli_json(&["bans"])["bans"][0]["reason"], "test");
    assert!(gateway.cli(&["unban", "203.0.113.9"]).status.success());
    assert_eq!(curl(&[&from[..], &[&url]].concat()).status, 200);
    assert_eq!(gateway.cli(&["unban", "203.0.113.9"]).status.code(), Some(1), "there is nothing to lift");
    let lenient = gateway.cli(&["unban", "203.0.113.9", "--if-banned"]);
    assert_eq!((lenient.status.code(), &lenient.stdout[..]), (Some(0), &b"nothing to do\n"[..]));
}

#[test]
fn an_upstream_that_is_known_by_name_is_never_banned_either() {
    let echo = Echo::start();
    let port = echo.address.port();
    let gateway = Gateway::start(&format!("[route.all]\nmatch = \"/*\"\nto = \"http://localhost:{port}\"\n"));
    let started = Instant::now();
    let exempt = || {
        let allowed = gateway.cli_json(&["allow", "--list"]);
        allowed["allowed"].as_array().unwrap().iter().any(|entry| entry["because"] == "upstream")
    };
    while !exempt() {
        assert!(started.elapsed() < Duration::from_secs(10), "the resolved address is not on the list");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn liveness_and_readiness_tell_the_truth_while_it_serves_and_while_it_leaves() {
    let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = slow.local_addr().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (mut stream, _) = slow.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = held.recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
    });
    let mut gateway = Gateway::start(&format!(
        "[route.all]\nmatch = \"/*\"\nto = \"http://{address}\"\n\
         [route.health]\nmatch = \"/health\"\nlog = false\nrespond = {{ status = 200, body = \"healthy\\n\", content-type = \"text/plain\" }}\n"
    ));
    assert_eq!((gateway.operations("/healthz").0, gateway.operations("/readyz").0), (200, 200));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = curl(&[version, &gateway.url("/health")]);
        assert_eq!(
            (answer.header("content-type"), &*answer.body),
            ("text/plain", "healthy\n"),
            "one type: {version}"
        );
    }
    assert!(gateway.access_log().is_empty(), "the health route is not logged");
    let url = gateway.url("/");
    let request = std::thread::spawn(move || curl(&[&url]));
    let started = Instant::now();
    while !gateway.operations("/metrics").1.contains("http_server_active_requests")
        && started.elapsed() < Duration::from_secs(5)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    gateway.signal(Signal::TERM);
    while gateway.operations("/readyz").0 != 503 {
        assert!(started.elapsed() < Duration::from_secs(10), "it leaves, and says so");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(gateway.operations("/healthz").0, 200, "it is alive all the same");
    release.send(()).unwrap();
    assert_eq!(request.join().unwrap().body, "slow");
    assert_eq!(gateway.wait(), Some(0));
}
