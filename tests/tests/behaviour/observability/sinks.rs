//! The access log to receivers in the network: what they get, and what becomes of requests and lines when they fail.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::curl::curl;
use tests::gateway::{Gateway, run};
use tests::nginx::Nginx;
use tests::receiver::{Mood, Receiver, Request};

use super::{log_lines, metric, soon};

const OK: Mood = Mood::Accepts("");

/// A configuration whose log goes to the sink `net`, and a route that answers.
fn configuration(port: u16, log: &str, sink: &str) -> String {
    format!(
        "[log]\n{log}\n[sink.net]\n{sink}\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
         [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200, body = \"hello\" }}\n"
    )
}

fn gateway(sink: &str) -> Gateway {
    Gateway::start_with(|_, port| configuration(port, "to = \"net\"", sink))
}

/// Asks for `/0` to `/count - 1`, over one connection; how long it took.
fn ask(gateway: &Gateway, count: usize) -> Duration {
    let urls: Vec<String> = (0..count).map(|n| gateway.url(&format!("/{n}"))).collect();
    let started = Instant::now();
    let output = Command::new("curl")
        .args(["--silent", "--write-out", "%{http_code}\\n"])
        .args(urls.iter().flat_map(|url| [url.as_str(), "--output", "/dev/null"]))
        .output()
        .expect("curl runs");
    let passed = String::from_utf8_lossy(&output.stdout).lines().filter(|status| *status == "200").count();
    assert_eq!(passed, count);
    started.elapsed()
}

fn dropped(gateway: &Gateway, reason: &str) -> String {
    metric(gateway, &format!("portcullis_access_log_dropped_total{{sink=\"net\",reason=\"{reason}\"}}"))
}

/// The lines of requests whose body is NDJSON.
fn lines(requests: &[Request]) -> Vec<Value> {
    let texts: Vec<String> = requests.iter().map(Request::text).collect();
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The paths that were logged, in order, each once if all went well.
fn paths(requests: &[Request]) -> Vec<u64> {
    let path = |line: &Value| line["url.path"].as_str()?.trim_start_matches('/').parse().ok();
    let mut paths: Vec<u64> = lines(requests).iter().filter_map(path).collect();
    paths.sort_unstable();
    paths
}

fn numbers(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn an_http_endpoint_gets_batches_of_lines_with_the_fields_that_are_wanted() {
    let receiver = Receiver::start(OK);
    let gateway = gateway(&format!(
        "http = \"{}\"\nbatch-lines = 10\nheaders = {{ X-Scope = \"edge\" }}",
        receiver.url("/in?a=b")
    ));
    ask(&gateway, 25);
    let requests = receiver.wait(|requests| lines(requests).len() >= 25);
    assert_eq!(paths(&requests), numbers(25));
    for request in &requests {
        assert_eq!(request.line, "POST /in?a=b HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/x-ndjson");
        assert_eq!(request.header("x-scope"), "edge");
        assert!(request.text().lines().count() <= 10, "no more lines than a batch has");
    }
    assert!(soon(|| metric(&gateway, "portcullis_access_log_written_total{sink=\"net\"}") == "25"));
    assert_eq!(metric(&gateway, "portcullis_access_log_waiting_bytes{sink=\"net\"}"), "0");
}

#[test]
fn elasticsearch_gets_bulk_requests_of_documents_with_a_timestamp() {
    let receiver = Receiver::start(Mood::Accepts("{\"errors\":false,\"items\":[]}"));
    let gateway =
        gateway(&format!("http = \"{}\"\nbody = \"bulk\"\nformat = \"seed\"", receiver.url("/logs/_bulk")));
    ask(&gateway, 2);
    let requests = receiver.wait(|requests| lines(requests).len() >= 4);
    assert_eq!(requests[0].header("content-type"), "application/x-ndjson");
    let documents = lines(&requests);
    assert_eq!(documents.len(), 4);
    for pair in documents.chunks(2) {
        assert_eq!(pair[0], json!({ "create": {} }));
        assert!(pair[1]["@timestamp"].as_str().is_some_and(|time| time.starts_with("20")), "{}", pair[1]);
        assert_eq!((&pair[1]["method"], pair[1].get("timestamp")), (&json!("GET"), None));
    }
}

#[test]
fn splunk_gets_an_envelope_for_each_event_and_the_token_stays_a_secret() {
    let token = "b7a60ae8-7a4d-4c5e-8d2d-1f0f2a6c9e11";
    let receiver = Receiver::start(Mood::Accepts("{\"text\":\"Success\",\"code\":0}"));
    let sink =
        format!("splunk = \"{}\"\ntoken = \"file:TOKEN\"\nindex = \"web\"\nhost = \"gw1\"", receiver.url(""));
    let gateway = Gateway::start_with(|folder, port| {
        let file = folder.join("token");
        std::fs::write(&file, format!("{token}\n")).unwrap();
        configuration(port, "to = \"net\"", &sink.replace("TOKEN", file.to_str().unwrap()))
    });
    ask(&gateway, 3);
    let events = |requests: &[Request]| -> Vec<Value> {
        let bodies: Vec<u8> = requests.iter().flat_map(|request| request.body.clone()).collect();
        serde_json::Deserializer::from_slice(&bodies).into_iter().collect::<Result<_, _>>().expect("JSON")
    };
    let requests = receiver.wait(|requests| events(requests).len() >= 3);
    for request in &requests {
        assert_eq!(request.line, "POST /services/collector/event HTTP/1.1");
        assert_eq!(request.header("authorization"), format!("Splunk {token}"));
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let events = events(&requests);
    assert_eq!(events.len(), 3);
    for event in events {
        assert!(
            event["time"].as_f64().is_some_and(|time| (now - 60.0..now + 1.0).contains(&time)),
            "{event}"
        );
        assert_eq!((&event["host"], &event["index"]), (&json!("gw1"), &json!("web")));
        assert_eq!(
            (&event["source"], &event["sourcetype"]),
            (&json!("portcullis"), &json!("portcullis:access"))
        );
        assert_eq!(event["event"]["http.request.method"], "GET");
    }

    // A refusal, a change of the token, and what `diff` says of that: nowhere does a token show.
    receiver.becomes(Mood::Refuses(401, Some(300)));
    ask(&gateway, 1);
    assert!(soon(|| gateway.said().contains("status 401")), "{}", gateway.said());
    std::fs::write(gateway.folder.join("token"), "another-token-altogether").unwrap();
    let diff = gateway.cli(&["diff"]);
    let shown = [diff.stdout, diff.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("sink net"), "{shown}");
    receiver.becomes(OK);
    assert!(gateway.cli(&["reload"]).status.success());
    // The line that waited goes with the new token.
    let requests = receiver.wait(|all| all.len() > requests.len());
    assert_eq!(requests.last().unwrap().header("authorization"), "Splunk another-token-altogether");
    for text in [&*shown, &gateway.said()] {
        assert!(!text.contains(token) && !text.contains("another-token"), "{text}");
    }
}

#[test]
fn otlp_is_what_opentelemetrys_own_messages_decode() {
    let receiver = Receiver::start(OK);
    let gateway = gateway(&format!("otlp = \"{}\"\nservice = \"edge\"", receiver.url("")));
    curl(&[
        "-H",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "-A",
        "agent \"\u{fc}\"",
        &gateway.url("/users/7"),
    ]);
    let request = receiver.wait(|requests| !requests.is_empty()).pop().expect("a request");
    assert_eq!(request.line, "POST /v1/logs HTTP/1.1");
    assert_eq!(request.header("content-type"), "application/x-protobuf");

    let decoded = decode_otlp(&request.body);
    let resource = &decoded["resource_logs"][0]["resource"];
    assert_eq!(attribute(resource, "service.name")["string_value"], "edge");
    let scope = &decoded["resource_logs"][0]["scope_logs"][0];
    assert_eq!(scope["scope"]["name"], "portcullis.access_log");
    let record = &scope["log_records"][0];
    assert_eq!(record["body"]["string_value"], "GET /users/7 200");
    assert_eq!(
        (&record["severity_number"], &record["severity_text"]),
        (&json!("SEVERITY_NUMBER_INFO"), &json!("INFO"))
    );
    // 4bf92f35… in base64.
    assert_eq!(record["trace_id"], "S/kvNXezTaajzpKdDg5HNg==");
    assert_eq!(record["span_id"].as_str().map(str::len), Some(12), "eight bytes");
    let time: u128 = record["time_unix_nano"].as_str().and_then(|time| time.parse().ok()).expect("a time");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    assert!(time <= now && now - time < 60_000_000_000, "{time}");
    assert_eq!(attribute(record, "http.request.method")["string_value"], "GET");
    assert_eq!(attribute(record, "http.response.status_code")["int_value"], "200");
    assert_eq!(attribute(record, "user_agent.original")["string_value"], "agent \"\u{fc}\"");
    assert!(attribute(record, "duration")["double_value"].is_number());
}

fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let attributes = of["attributes"].as_array().expect("attributes");
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {of}"))["value"]
}

/// What OpenTelemetry's own messages for Python make of a request.
fn decode_otlp(body: &[u8]) -> Value {
    const PROGRAM: &str = "import sys\n\
        from google.protobuf.json_format import MessageToJson\n\
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest\n\
        request = ExportLogsServiceRequest()\n\
        request.ParseFromString(sys.stdin.buffer.read())\n\
        print(MessageToJson(request, preserving_proto_field_name=True))\n";
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/python/bin/python3");
    let mut decoder = Command::new(python)
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the decoder runs; `cargo xtask test` installs it");
    std::io::Write::write_all(&mut decoder.stdin.take().expect("piped"), body).expect("written");
    let output = decoder.wait_with_output().expect("it ends");
    assert!(output.status.success(), "it cannot be decoded");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn over_an_outage_within_the_bounds_nothing_is_lost_and_nothing_comes_twice() {
    let receiver = Receiver::start(Mood::Refuses(503, Some(1)));
    let gateway = gateway(&format!("http = \"{}\"\nbatch-age = \"100ms\"", receiver.url("/")));
    ask(&gateway, 100);
    assert!(soon(|| !receiver.turned_away().is_empty()), "it is tried");
    assert!(soon(|| metric(&gateway, "portcullis_access_log_waiting_bytes{sink=\"net\"}") != "0"));
    assert!(gateway.said().contains("will be tried again"));
    receiver.becomes(OK);
    ask(&gateway, 1);
    let requests = receiver.wait(|requests| lines(requests).len() >= 101);
    let mut expected = numbers(100);
    expected.insert(0, 0);
    assert_eq!(paths(&requests), expected);
    assert!(soon(|| gateway.said().contains("accepted again")));
    for reason in ["full", "refused", "expired", "failed", "ended"] {
        assert_eq!(dropped(&gateway, reason), "0", "{reason}");
    }
}

#[test]
fn a_receiver_that_never_answers_slows_no_request_and_memory_stays_bounded() {
    let receiver = Receiver::start(OK);
    let sink = format!(
        "http = \"{}\"\nbuffer = \"64KiB\"\nbatch-size = \"16KiB\"\ntimeout = \"30s\"",
        receiver.url("/")
    );
    let gateway = gateway(&sink);
    let well = ask(&gateway, 2000);
    receiver.becomes(Mood::Silent);
    let stalled = ask(&gateway, 2000);
    // Generous: waiting for the receiver even once would be half a minute.
    assert!(stalled < 3 * well + Duration::from_secs(2), "{stalled:?} against {well:?}");
    assert!(
        soon(|| dropped(&gateway, "full").parse::<f64>().is_ok_and(|lost| lost > 0.0)),
        "what has no room is counted"
    );
    let waiting: u64 =
        metric(&gateway, "portcullis_access_log_waiting_bytes{sink=\"net\"}").parse().expect("a number");
    assert!((1..=64 << 10).contains(&waiting), "{waiting}");
}

#[test]
fn what_waits_is_sent_when_the_gateway_stops() {
    let receiver = Receiver::start(OK);
    let mut gateway = gateway(&format!("http = \"{}\"\nbatch-age = \"10m\"", receiver.url("/")));
    ask(&gateway, 10);
    assert!(receiver.accepted().is_empty(), "the batch is neither full nor old");
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(paths(&receiver.accepted()), numbers(10));
}

#[test]
fn several_sinks_get_the_same_requests_each_in_its_format_and_a_reload_keeps_what_waits() {
    let receiver = Receiver::start(Mood::Refuses(503, Some(300)));
    let sink = format!("http = \"{}\"\nformat = \"seed\"\nbatch-age = \"50ms\"", receiver.url("/"));
    let text = |folder: &std::path::Path, port| {
        configuration(port, &format!("to = [\"file:{}/access.log\", \"net\"]", folder.display()), &sink)
    };
    let gateway = Gateway::start_with(text);
    ask(&gateway, 20);
    assert!(soon(|| !receiver.turned_away().is_empty()));
    // Another sink leaves; the one that has something to send stays.
    gateway.write_configuration(&configuration(
        gateway.port,
        "to = \"net\"",
        &format!("{sink}\nbatch-lines = 7"),
    ));
    receiver.becomes(OK);
    assert!(gateway.cli(&["reload"]).status.success(), "{}", gateway.said());
    ask(&gateway, 5);
    let requests = receiver.wait(|requests| lines(requests).len() >= 25);
    assert_eq!(lines(&requests).len(), 25);
    assert!(lines(&requests).iter().all(|line| line.get("requestId").is_some()), "the seed format");
    let of_file = log_lines(&gateway, 20);
    assert_eq!(of_file.len(), 20, "nothing after the reload");
    assert!(of_file.iter().all(|line| line.get("request_id").is_some()), "the JSON format");
    let ids = |lines: &[Value], name: &str| -> std::collections::BTreeSet<String> {
        lines.iter().map(|line| line[name].to_string()).collect()
    };
    assert!(ids(&lines(&requests), "requestId").is_superset(&ids(&of_file, "request_id")));
}

#[test]
fn over_tls_the_receiver_is_verified_and_batches_are_compressed() {
    let receiver = Receiver::start(OK);
    let folder = tests::gateway::folder();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, secret) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, key.cert.pem()).unwrap();
    std::fs::write(&secret, key.signing_key.serialize_pem()).unwrap();
    let port = tests::gateway::free_port();
    let nginx = Nginx::start(&format!(
        "listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ proxy_pass http://{}; }}",
        certificate.display(),
        secret.display(),
        receiver.address
    ));
    let url = format!("http = \"https://localhost:{port}/in\"\ncompress = \"gzip\"");
    let stranger = gateway(&format!("{url}\nretry-for = \"0s\""));
    ask(&stranger, 1);
    assert!(soon(|| stranger.said().contains("TLS with `localhost` failed")), "{}", stranger.said());
    let gateway = gateway(&format!("{url}\nca = \"{}\"", certificate.display()));
    ask(&gateway, 3);
    let requests = receiver.wait(|requests| !requests.is_empty());
    assert_eq!(requests[0].header("content-encoding"), "gzip");
    let file = folder.join("body.gz");
    std::fs::write(&file, &requests[0].body).unwrap();
    let text =
        Command::new("gzip").args(["--decompress", "--stdout"]).arg(&file).output().expect("gzip runs");
    assert!(text.status.success());
    assert!(String::from_utf8_lossy(&text.stdout).contains("\"url.path\":\"/0\""));
    assert!(!nginx.requests().is_empty());
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_sink_that_cannot_be_is_told_when_the_configuration_is_checked() {
    let folder = tests::gateway::folder();
    let config = folder.join("gateway.toml");
    let text = "[log]\nto = [\"net\", \"spulnk\"]\n\
                [sink.net]\nsplunk = \"http://logs.example:8088\"\ntoken = \"literal-secret\"\n\
                [sink.splunk]\nhttp = \"https://user:password@logs.example/\"\nbuffer = \"1KiB\"\n\
                [listen.main]\naddress = \"0.0.0.0:1\"\n[route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\n";
    std::fs::write(&config, text).unwrap();
    let output = run(&["check", config.to_str().unwrap()]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for expected in ["C014", "did you mean `splunk`?", "C033", "C056", "C010", "C070"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}
