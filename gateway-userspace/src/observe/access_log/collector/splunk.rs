//! Splunk's HTTP Event Collector: one JSON object for each event, one after another, to `/services/collector/event`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::escape;
use super::encode;
use super::settings::{Protocol, Settings};

/// The events of whole lines. Where a line tells no time, `now` is its time.
pub fn events(settings: &Settings, lines: &[u8], now: SystemTime) -> Vec<u8> {
    let rest = metadata(settings);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut out = Vec::with_capacity(lines.len() * 2);
    for line in encode::each(lines) {
        out.extend_from_slice(b"{\"time\":");
        time(encode::time_of(line).unwrap_or(now), &mut out);
        out.extend_from_slice(&rest);
        out.extend_from_slice(b",\"event\":");
        encode::value(settings.json, line, &mut out);
        out.extend_from_slice(b"}\n");
    }
    out
}

/// Seconds with three places.
fn time(since: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}.{:03}", since.as_secs(), since.subsec_millis()).as_bytes());
}

/// The members that are the same for all events.
fn metadata(settings: &Settings) -> Vec<u8> {
    let Protocol::Splunk { source, sourcetype, index, host } = &settings.protocol else { return Vec::new() };
    let system = rustix::system::uname();
    let host = host.as_deref().or(system.nodename().to_str().ok()).unwrap_or("-");
    let members = [
        ("host", Some(host)),
        ("source", Some(source)),
        ("sourcetype", Some(sourcetype)),
        ("index", index.as_deref()),
    ];
    let mut out = Vec::new();
    for (name, value) in members {
        let Some(value) = value else { continue };
        out.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
        escape::json(value.as_bytes(), &mut out);
        out.push(b'"');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::settings;
    use super::*;

    #[test]
    fn every_line_has_an_envelope_of_its_own() {
        let protocol = Protocol::Splunk {
            source: "edge \"1\"".into(),
            sourcetype: "portcullis:access".into(),
            index: Some("web".into()),
            host: Some("gw1".into()),
        };
        let settings = Settings { protocol, ..settings("http://localhost/") };
        let now = UNIX_EPOCH + Duration::from_millis(5_500);
        let lines = b"{\"time\":\"2026-11-22T05:20:00.007Z\",\"n\":1}\nnot json\n";
        let events = events(&settings, lines, now);
        let parsed: Vec<Value> = serde_json::Deserializer::from_slice(&events)
            .into_iter()
            .collect::<Result<_, _>>()
            .expect("JSON");
        let envelope = |time: f64, event: Value| {
            json!({ "time": time, "host": "gw1", "source": "edge \"1\"", "sourcetype": "portcullis:access",
                    "index": "web", "event": event })
        };
        let first = json!({ "time": "2026-11-22T05:20:00.007Z", "n": 1 });
        assert_eq!(parsed, [envelope(1_795_324_800.007, first), envelope(5.5, json!("not json"))]);
    }
}
