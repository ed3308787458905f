//! What a scrape shows of what workers counted.

use std::time::Duration;

use super::*;
use crate::request::head::Version;

fn finished(route: Label, status: u16, ms: u64) -> Finished<'static> {
    Finished {
        route,
        method: "GET",
        version: Version::Http11,
        status,
        duration: Duration::from_millis(ms),
        rejection: None,
    }
}

/// The value of the sample whose line begins with `line`.
fn value(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn a_scrape_adds_the_workers_up() {
    let registry = Registry::new();
    let route = registry.label("users");
    let workers = [registry.cells(), registry.cells()];
    for cells in &workers {
        for ms in [1, 5, 6, 20_000] {
            cells.request_started();
            cells.request_finished(&finished(route, 200, ms));
        }
        cells.request_started();
        cells.connection_opened();
        cells.connection_opened();
        cells.connection_closed();
        cells.upstream_answered(registry.label("backend"), Duration::from_millis(30));
        cells.limit_decided(registry.label("per-user"), true);
        cells.handshake_failed("no-server-name");
    }
    let text = registry.text();
    let labels = "http_route=\"users\",http_request_method=\"GET\",http_response_status_code=\"200\",\
                  network_protocol_version=\"1.1\"";
    let name = names::HTTP_SERVER_REQUEST_DURATION;
    for (bound, count) in [("0.005", 4.0), ("0.01", 6.0), ("10", 6.0), ("+Inf", 8.0)] {
        assert_eq!(
            value(&text, &format!("{name}_bucket{{{labels},le=\"{bound}\"}}")),
            Some(count),
            "{bound}\n{text}"
        );
    }
    assert_eq!(value(&text, &format!("{name}_count{{{labels}}}")), Some(8.0));
    let sum = value(&text, &format!("{name}_sum{{{labels}}}")).expect("a sum");
    assert!((sum - 40.024).abs() < 1e-6, "{sum}");
    assert_eq!(value(&text, names::HTTP_SERVER_ACTIVE_REQUESTS), Some(2.0));
    assert_eq!(value(&text, names::CONNECTIONS_ACTIVE), Some(2.0));
    assert_eq!(value(&text, &format!("{} ", names::CONNECTIONS)), Some(4.0));
    assert_eq!(value(&text, "http_client_request_duration_seconds_count{upstream=\"backend\"}"), Some(2.0));
    assert_eq!(
        value(&text, "portcullis_limit_decisions_total{limit=\"per-user\",result=\"refused\"}"),
        Some(2.0)
    );
    assert_eq!(value(&text, "portcullis_tls_handshakes_failed_total{reason=\"no-server-name\"}"), Some(2.0));
    assert_eq!(value(&text, "portcullis_build_info{version=\"0.1.0\"}"), Some(1.0));
}

#[test]
fn a_name_keeps_its_counts_over_reloads() {
    let registry = Registry::new();
    let cells = registry.cells();
    let before = registry.label("users");
    cells.request_finished(&finished(before, 200, 1));
    registry.label("orders");
    let after = registry.label("users");
    assert_eq!(before, after);
    cells.request_finished(&finished(after, 200, 1));
    assert!(registry.text().contains("network_protocol_version=\"1.1\"} 2\n"));
}

#[test]
fn what_clients_send_makes_no_series_without_end() {
    let registry = Registry::new();
    let cells = registry.cells();
    for n in 0..10_000_u32 {
        let method = format!("M{n}");
        cells.request_finished(&Finished { method: &method, ..finished(Label::NONE, 404, 1) });
    }
    let text = registry.text();
    let series =
        text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count")).count();
    assert_eq!(series, 1);
    assert!(text.contains("http_route=\"\",http_request_method=\"_OTHER\""), "{text}");
}

#[test]
fn series_beyond_the_limit_are_counted_together() {
    let registry = Registry::new();
    let cells = registry.cells();
    for n in 0..SERIES_MAX + 100 {
        let route = Label(u32::try_from(n % 100).expect("small"));
        registry.label(&format!("route-{}", n % 100));
        cells.request_finished(&finished(route, u16::try_from(n / 100).expect("small"), 1));
    }
    let text = registry.text();
    let lines = text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
    assert_eq!(lines.count(), SERIES_MAX + 1);
    let rest = "http_server_request_duration_seconds_count{http_route=\"\",http_request_method=\"_OTHER\",\
                http_response_status_code=\"0\",network_protocol_version=\"1.1\"}";
    assert_eq!(value(&text, rest), Some(100.0));
}

#[test]
fn the_cpu_time_of_refusals_is_added_up_in_seconds() {
    let registry = Registry::new();
    let cells = [registry.cells(), registry.cells()];
    for cells in &cells {
        cells.refused_for("tls-handshake", Duration::from_micros(750_000));
    }
    let line = "portcullis_refused_cpu_seconds_total{reason=\"tls-handshake\"}";
    assert_eq!(value(&registry.text(), line), Some(1.5));
}

#[test]
fn refusals_are_counted_by_reason() {
    let registry = Registry::new();
    let cells = registry.cells();
    for reason in ["no-route", "rate-limited", "rate-limited"] {
        cells.request_finished(&Finished { rejection: Some(reason), ..finished(Label::NONE, 400, 1) });
    }
    let text = registry.text();
    assert_eq!(value(&text, "portcullis_rejections_total{reason=\"rate-limited\"}"), Some(2.0));
    assert_eq!(value(&text, "portcullis_rejections_total{reason=\"no-route\"}"), Some(1.0));
}

#[test]
fn readings_are_taken_at_each_scrape() {
    let registry = Registry::new();
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = count.clone();
    registry.gauge_fn(names::BANS_ACTIVE, "Bans in force", &[], move || {
        vec![Sample::new([], f64::from(counted.load(std::sync::atomic::Ordering::Relaxed)))]
    });
    registry.counter_fn(names::XDP_PACKETS, "Packets by verdict", &["verdict"], || {
        vec![Sample::new(["pass"], 7.0), Sample::new(["drop"], 3.0)]
    });
    count.store(5, std::sync::atomic::Ordering::Relaxed);
    let text = registry.text();
    assert_eq!(value(&text, names::BANS_ACTIVE), Some(5.0));
    assert_eq!(value(&text, "portcullis_xdp_packets_total{verdict=\"drop\"}"), Some(3.0));
    assert!(text.contains("# TYPE portcullis_xdp_packets_total counter"));
    assert!(text.contains("# TYPE portcullis_bans_active gauge"));
}

#[test]
fn label_values_are_escaped() {
    let registry = Registry::new();
    registry.cells().request_finished(&finished(registry.label("a\"b\\c\nd"), 200, 1));
    assert!(registry.text().contains(r#"http_route="a\"b\\c\nd""#));
}
