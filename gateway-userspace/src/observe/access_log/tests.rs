//! Lines as they are written, and sinks that fail.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;

fn entry() -> Entry<'static> {
    Entry {
        time: UNIX_EPOCH + Duration::from_millis(1_795_324_800_007),
        method: "GET",
        scheme: "https",
        host: "api.example.com",
        path: "/v1/users/7",
        version: "1.1",
        route: Some("users"),
        status: 200,
        duration: Duration::from_micros(12_345),
        response_bytes: 1024,
        request_bytes: 0,
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        user_agent: Some(b"curl/8"),
        referer: None,
        ja4: None,
        user: Some("alice"),
        request_id: "01991234-5678-7000-8000-000000000000",
        trace: Some(("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")),
        upstream: Some(Upstream { address: "10.0.0.11:3001", duration: Some(Duration::from_millis(9)) }),
        limit: None,
        shadow: None,
        ban: None,
        reason: None,
        detail: None,
    }
}

/// A request of somebody who means harm, with nothing optional known.
fn hostile() -> Entry<'static> {
    Entry {
        method: "GE\u{1b}T",
        host: "a\"b",
        path: "/\u{85}\"\\\r\n{\"fake\":1}",
        route: None,
        status: 401,
        user_agent: Some(b"\x1b[2J\xff\"\n$context.status"),
        referer: Some(b"http://a/?token=secret"),
        user: None,
        trace: None,
        upstream: None,
        limit: Some("per-user"),
        reason: Some("invalid-token"),
        detail: Some("expired"),
        ..entry()
    }
}

fn line(format: Format, entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    Formatter::new(format).line(entry, &mut out);
    let line = String::from_utf8(out).expect("a line is UTF-8");
    assert!(line.ends_with('\n'));
    assert!(!line.trim_end_matches('\n').contains(|character: char| character.is_control()), "{line:?}");
    line.trim_end_matches('\n').to_owned()
}

#[test]
fn json_lines_have_opentelemetrys_names() {
    let parsed: Value = serde_json::from_str(&line(Format::Json, &entry())).expect("JSON");
    let expected = json!({
        "time": "2026-11-22T05:20:00.007Z", "http.request.method": "GET", "url.scheme": "https",
        "server.address": "api.example.com", "url.path": "/v1/users/7", "http.route": "users",
        "http.response.status_code": 200, "duration": 0.012345, "http.request.body.size": 0,
        "http.response.body.size": 1024, "network.protocol.version": "1.1", "client.address": "203.0.113.9",
        "user_agent.original": "curl/8", "user.id": "alice", "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331", "request_id": "01991234-5678-7000-8000-000000000000",
        "upstream.address": "10.0.0.11:3001", "upstream.duration": 0.009,
    });
    assert_eq!(parsed, expected);
}

#[test]
fn the_fingerprint_of_a_client_is_there_where_it_is_known() {
    let ja4 = "t13d1516h2_8daaf6152771_e5627efa2ab1";
    let parsed: Value =
        serde_json::from_str(&line(Format::Json, &Entry { ja4: Some(ja4), ..entry() })).expect("JSON");
    assert_eq!(parsed["ja4"], ja4);
    let template = || Format::Custom(Template::parse("$context.ja4 $context.status").expect("a template"));
    assert_eq!(line(template(), &Entry { ja4: Some(ja4), ..entry() }), format!("{ja4} 200"));
    assert_eq!(line(template(), &entry()), "- 200");
}

#[test]
fn a_request_under_a_shadow_ban_names_it() {
    let covered = Entry { shadow: Some(7), ..entry() };
    let parsed: Value = serde_json::from_str(&line(Format::Json, &covered)).expect("JSON");
    assert_eq!(parsed["shadow.ban"], 7);
    let template = || Format::Custom(Template::parse("$context.shadow.ban").expect("a template"));
    assert_eq!((line(template(), &covered), line(template(), &entry())), ("7".into(), "-".into()));
}

#[test]
fn a_request_that_a_ban_or_a_list_refuses_names_it() {
    let refused = Entry { ban: Some(7), ..entry() };
    let parsed: Value = serde_json::from_str(&line(Format::Json, &refused)).expect("JSON");
    assert_eq!(parsed["deny.ban"], 7);
    let parsed: Value = serde_json::from_str(&line(Format::Json, &entry())).expect("JSON");
    assert_eq!(parsed.get("deny.ban"), None);
}

#[test]
fn json_lines_keep_hostile_texts_within_their_strings() {
    let parsed: Value = serde_json::from_str(&line(Format::Json, &hostile())).expect("JSON");
    assert_eq!(parsed["url.path"], hostile().path);
    assert_eq!(parsed["user_agent.original"], "\u{1b}[2J\u{fffd}\"\n$context.status");
    assert_eq!(parsed["deny.reason"], "invalid-token");
    assert_eq!(parsed["deny.detail"], "expired");
    assert_eq!(parsed["limit"], "per-user");
    for absent in ["user.id", "trace_id", "http.route", "upstream.address", "fake"] {
        assert_eq!(parsed.get(absent), None, "{absent}");
    }
}

#[test]
fn seed_lines_have_exactly_the_names_and_types_of_the_seed() {
    let text = line(Format::Seed, &entry());
    assert_eq!(
        text,
        r#"{"timestamp":"2026-11-22T05:20:00.007Z","method":"GET","url":"/v1/users/7","status":200,"duration":12,"#
            .to_owned()
            + r#""size":1024,"ip":"203.0.113.9","userAgent":"curl/8","requestId":"01991234-5678-7000-8000-000000000000"}"#
    );
    let without = line(Format::Seed, &Entry { user_agent: None, ..entry() });
    assert!(!without.contains("userAgent"));
    serde_json::from_str::<Value>(&line(Format::Seed, &hostile())).expect("JSON");
}

#[test]
fn combined_lines_are_those_of_nginx() {
    assert_eq!(
        line(Format::Combined, &Entry { version: "2", ..entry() }),
        r#"203.0.113.9 - alice [22/Nov/2026:05:20:00 +0000] "GET /v1/users/7 HTTP/2.0" 200 1024 "-" "curl/8""#
    );
    let hostile = line(Format::Combined, &hostile());
    assert_eq!(hostile.matches('"').count(), 6, "only the three quoted fields have quotes: {hostile}");
    assert!(!hostile.contains("secret"), "{hostile}");
    let user = line(Format::Combined, &Entry { user: Some("a b] \"c"), ..entry() });
    assert!(user.contains(r" - a_b]_\x22c ["), "{user}");
}

#[test]
fn custom_lines_follow_their_template() {
    let template =
        "$context.requestId: $context.endpoint $context.httpMethod $context.status $context.responseLatency";
    let format = Format::Custom(Template::parse(template).expect("a template"));
    assert_eq!(
        line(format.clone(), &entry()),
        "01991234-5678-7000-8000-000000000000: /v1/users/7 GET 200 12"
    );
    assert!(line(format, &hostile()).contains(r"/\xC2\x85\x22\x5C\x0D\x0A{\x22fake\x22:1} GE\x1BT 401"));
    let every: Vec<String> = template::variables().map(|name| format!("{name}=$context.{name}")).collect();
    let format = Format::Custom(Template::parse(&every.join(" ")).expect("a template"));
    let all = line(format.clone(), &entry());
    for expected in ["identity.sourceIp=203.0.113.9", "integrationLatency=9", "limit=-", "protocol=HTTP/1.1"]
    {
        assert!(all.contains(expected), "{expected}: {all}");
    }
    assert!(line(format, &hostile()).contains("integrationLatency=- "));
}

/// A file of this test alone, removed at the end.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str) -> TestFile {
        TestFile(std::env::temp_dir().join(format!("portcullis-{}-{name}.log", std::process::id())))
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A writer with sinks that all have one format.
fn writer_to(format: Format, sinks: impl IntoIterator<Item = Sink>) -> Writer {
    let writer = Writer::default();
    let targets = sinks.into_iter().enumerate().map(|(n, sink)| Target {
        name: format!("sink-{n}").into(),
        format: format.clone(),
        sink,
    });
    let prepared = writer.prepare(targets.collect()).expect("they open").expect("none was in use");
    writer.adopt(prepared);
    writer
}

fn writer(format: Format, path: &std::path::Path) -> Writer {
    writer_to(format, [Sink::File(path.to_owned())])
}

fn log(writer: &Writer) -> Log {
    writer.log().expect("there is a sink")
}

fn dropped(writer: &Writer) -> u64 {
    writer.tallies().iter().map(|(_, tally)| tally.dropped_in_all()).sum()
}

/// Waits until all is written. Logs must be gone.
fn end(writer: &Writer) {
    writer.end(std::time::Instant::now() + Duration::from_secs(5));
    while !writer.ended() {
        std::thread::yield_now();
    }
}

#[test]
fn every_line_of_every_worker_arrives_whole() {
    let file = TestFile::new("workers");
    let writer = writer(Format::Json, &file.0);
    std::thread::scope(|scope| {
        for worker in 0..4_u16 {
            let log = log(&writer);
            // A log stays on its thread, so it is made where the writer is and moved once.
            let log = std::sync::Mutex::new(log);
            scope.spawn(move || {
                let log = log.into_inner().expect("no panic");
                for n in 0..1000 {
                    log.write(&Entry { status: worker, response_bytes: n, ..entry() });
                    if n % 100 == 0 {
                        // The disk of a test machine may be slower than four loops.
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            });
        }
    });
    end(&writer);
    let lines = file.lines();
    assert_eq!((lines.len(), dropped(&writer)), (4000, 0));
    for worker in 0..4_u16 {
        let own = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("a whole line"));
        let numbers: Vec<u64> = own
            .filter(|line| line["http.response.status_code"] == worker)
            .map(|line| line["http.response.body.size"].as_u64().expect("a number"))
            .collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn a_lonely_line_is_written_soon() {
    let file = TestFile::new("lonely");
    let writer = writer(Format::Seed, &file.0);
    let log = std::rc::Rc::new(log(&writer));
    let local = tokio::task::LocalSet::new();
    let flushing = log.clone();
    let task = local.spawn_local(async move { flushing.keep_flushed().await });
    local
        .run_until(async {
            log.write(&entry());
            while !file.0.exists() || file.lines().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            log.write(&entry());
            log.stop();
            task.await.expect("no panic");
        })
        .await;
    drop(log);
    drop(local);
    end(&writer);
    assert_eq!(file.lines().len(), 2);
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let (file, rotated) = (TestFile::new("rotate"), TestFile::new("rotated"));
    let writer = writer(Format::Seed, &file.0);
    let log = log(&writer);
    log.write(&entry());
    log.flush();
    while file.lines().is_empty() {
        std::thread::yield_now();
    }
    std::fs::rename(&file.0, &rotated.0).expect("renamed");
    writer.reopen();
    while !file.0.exists() {
        std::thread::yield_now();
    }
    log.write(&entry());
    drop(log);
    end(&writer);
    assert_eq!((rotated.lines().len(), file.lines().len()), (1, 1));
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let writer = writer(Format::Seed, std::path::Path::new("/dev/full"));
    let log = log(&writer);
    for _ in 0..1000 {
        log.write(&entry());
    }
    log.flush();
    while dropped(&writer) < 1000 {
        std::thread::yield_now();
    }
    assert_eq!(dropped(&writer), 1000);
}

/// A named pipe, and an end that keeps it open: reading and writing, so that opening does not wait for anybody.
fn pipe(name: &str) -> (TestFile, std::fs::File) {
    let pipe = TestFile::new(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe.0, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    let end = std::fs::File::options().read(true).write(true).open(&pipe.0).expect("opened");
    (pipe, end)
}

#[test]
fn a_reader_that_stops_never_stalls_a_request() {
    let (pipe, reader) = pipe("stalled");
    let writer = writer(Format::Json, &pipe.0);
    let log = log(&writer);
    let lines = 20_000;
    for _ in 0..lines {
        log.write(&entry());
    }
    let lost = dropped(&writer);
    assert!(lost > 0 && lost < lines, "{lost}");
    drop(log);
    drop(reader);
    end(&writer);
}

#[test]
fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
    let (pipe, reader) = pipe("closed");
    let writer = writer(Format::Json, &pipe.0);
    drop(reader);
    let log = log(&writer);
    for lost in 1..=3 {
        log.write(&entry());
        log.flush();
        while dropped(&writer) < lost {
            std::thread::yield_now();
        }
    }
    assert_eq!(dropped(&writer), 3);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let sink = Sink::File(PathBuf::from("/proc/nonexistent/access.log"));
    let target = Target { name: "file".into(), format: Format::Json, sink };
    let error = Writer::default().prepare(vec![target]).map(|_| ()).expect_err("no such folder");
    assert!(error.to_string().contains("/proc/nonexistent/access.log"));
}

#[test]
fn several_sinks_get_every_line_each_in_its_format() {
    let (first, second, third) = (TestFile::new("first"), TestFile::new("second"), TestFile::new("third"));
    let writer = Writer::default();
    let target = |file: &TestFile, format| Target {
        name: file.0.to_string_lossy().into(),
        format,
        sink: Sink::File(file.0.clone()),
    };
    let targets =
        vec![target(&first, Format::Json), target(&second, Format::Json), target(&third, Format::Combined)];
    writer.adopt(writer.prepare(targets).expect("they open").expect("new ones"));
    let log = log(&writer);
    (0..100).for_each(|_| log.write(&entry()));
    drop(log);
    end(&writer);
    assert_eq!(first.lines(), vec![line(Format::Json, &entry()); 100]);
    assert_eq!(second.lines(), first.lines());
    assert_eq!(third.lines(), vec![line(Format::Combined, &entry()); 100]);
    assert_eq!(writer.tallies().iter().map(|(_, tally)| tally.written()).sum::<u64>(), 300);
}

#[test]
fn a_change_keeps_the_sinks_that_stay_and_their_counts() {
    let (stays, goes) = (TestFile::new("stays"), TestFile::new("goes"));
    let writer = Writer::default();
    let target =
        |file: &TestFile| Target { name: "x".into(), format: Format::Seed, sink: Sink::File(file.0.clone()) };
    let named = |name: &str, file| Target { name: name.into(), ..target(file) };
    let change = |targets| writer.prepare(targets).expect("they open");
    writer.adopt(change(vec![named("a", &stays), named("b", &goes)]).expect("new ones"));
    let before = log(&writer);
    before.write(&entry());
    assert!(change(vec![named("a", &stays), named("b", &goes)]).is_none(), "nothing changes");
    writer.adopt(change(vec![named("a", &stays)]).expect("one goes"));
    let after = log(&writer);
    after.write(&entry());
    drop((before, after));
    end(&writer);
    assert_eq!((stays.lines().len(), goes.lines().len()), (2, 1));
    let written: Vec<_> =
        writer.tallies().iter().map(|(name, tally)| (name.to_string(), tally.written())).collect();
    assert_eq!(written, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}
