//! What an operator sees: log, metrics, health, trace.

mod access_log;
mod sinks;

use std::time::{Duration, Instant};

use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::Gateway;

/// The lines of the access log, once there are enough or five seconds have passed.
fn log_lines(gateway: &Gateway, count: usize) -> Vec<serde_json::Value> {
    gateway.access_log_of(count)
}

/// The value of a series as it is shown: `name`, or `name{label="value"}`.
fn metric(gateway: &Gateway, name: &str) -> String {
    let text = gateway.operations("/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_default()
}

/// Waits until `holds`, at most ten seconds; tells whether it does.
fn soon(holds: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn metrics_count_by_route_and_many_urls_make_no_new_series() {
    let gateway = Gateway::start("[route.users]\nmatch = \"/users/*\"\nrespond = { status = 200 }\n");
    for id in 0..50 {
        curl(&[&gateway.url(&format!("/users/{id}"))]);
    }
    curl(&["-X", "BREW", &gateway.url("/users/1")]);
    let (status, text) = gateway.operations("/metrics");
    assert_eq!(status, 200);
    let count: u64 = text
        .lines()
        .filter(|line| {
            line.starts_with("http_server_request_duration_seconds_count{") && line.contains("users")
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>() as u64;
    assert_eq!(count, 51, "{text}");
    assert!(!text.contains("/users/17"), "no series by URL");
    assert!(!text.contains("BREW"), "no series by a client's own method");
    for name in ["portcullis_config_generation", "portcullis_connections_total", "portcullis_build_info"] {
        assert!(text.contains(name), "{name} is missing");
    }
}

#[test]
fn health_and_readiness_answer_on_the_operations_listener_only() {
    let gateway = Gateway::start("[route.x]\nmatch = \"/x\"\nrespond = { status = 200 }\n");
    assert_eq!(gateway.operations("/healthz").0, 200);
    assert_eq!(gateway.operations("/readyz").0, 200);
    let (_, verbose) = gateway.operations("/readyz?verbose");
    assert!(verbose.contains("kernel"), "says that the kernel stage is off: {verbose}");
    assert_eq!(gateway.operations("/nothing").0, 404);
    assert_eq!(curl(&[&gateway.url("/metrics")]).status, 404);
}

#[test]
fn request_id_and_trace_go_on_and_a_strangers_id_is_not_believed() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!("[route.all]\nmatch = \"/*\"\nto = \"{}\"\n", echo.url()));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = curl(&[
        "-H",
        &format!("traceparent: {trace}"),
        "-H",
        "tracestate: a=1",
        "-H",
        "X-Request-Id: chosen-by-client",
        &gateway.url("/"),
    ]);
    let headers = answer.json()["headers"].to_string().to_lowercase();
    assert!(headers.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{headers}");
    assert!(headers.contains("[\"tracestate\",\"a=1\"]"), "{headers}");
    assert!(!headers.contains("chosen-by-client"), "{headers}");
    assert!(
        headers.contains(&format!("[\"x-request-id\",\"{}\"]", answer.header("x-request-id"))),
        "{headers}"
    );
}
