//! OTLP logs in Protobuf, as `opentelemetry/proto/collector/logs/v1` has them: the messages and fields that are needed.
//!
//! A line of a JSON format becomes a record with its members as attributes, its own time, trace and span, and a short
//! text as body; any other line is the body itself. Answers with a status of 500 and above are of severity ERROR, all
//! others INFO.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use serde_json::{Map, Value};

use super::encode;

/// `SEVERITY_NUMBER_INFO` and `SEVERITY_NUMBER_ERROR`.
const INFO: (i32, &str) = (9, "INFO");
const ERROR: (i32, &str) = (17, "ERROR");

/// The body of a request for whole lines. Where a line tells no time, `now` is its time.
pub fn request(service: &str, json: bool, lines: &[u8], now: SystemTime) -> Vec<u8> {
    let now = nanoseconds(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let log_records = encode::each(lines).map(|line| record(json, line, now)).collect();
    let scope = Scope { name: "portcullis.access_log".into(), version: env!("CARGO_PKG_VERSION").into() };
    let scope_logs = ScopeLogs { scope: Some(scope), log_records };
    let resource_logs = ResourceLogs { resource: Some(resource(service)), scope_logs: vec![scope_logs] };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }.encode_to_vec()
}

/// How many records the receiver refused of a batch that it otherwise accepted.
pub fn refused(answer: &[u8]) -> u64 {
    let answer = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
    let refused = answer.partial_success.map_or(0, |partial| partial.rejected_log_records);
    u64::try_from(refused).unwrap_or(0)
}

fn resource(service: &str) -> Resource {
    let system = rustix::system::uname();
    let host = system.nodename().to_str().unwrap_or_default();
    let attributes =
        [("service.name", service), ("service.version", env!("CARGO_PKG_VERSION")), ("host.name", host)];
    let attributes = attributes.map(|(key, value)| attribute(key, AnyValue::text(value)));
    Resource { attributes: attributes.into() }
}

fn record(json: bool, line: &[u8], now: u64) -> LogRecord {
    let members = json.then(|| serde_json::from_slice::<Map<String, Value>>(line).ok()).flatten();
    let Some(members) = members else {
        return LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: INFO.0,
            severity_text: INFO.1.into(),
            body: Some(AnyValue::text(String::from_utf8_lossy(line))),
            ..LogRecord::default()
        };
    };
    let text = |names: [&str; 2]| names.into_iter().find_map(|name| members.get(name)?.as_str());
    let status =
        ["http.response.status_code", "status"].into_iter().find_map(|name| members.get(name)?.as_u64());
    let (severity_number, severity_text) =
        if status.is_some_and(|status| status >= 500) { ERROR } else { INFO };
    let summary = format!(
        "{} {} {}",
        text(["http.request.method", "method"]).unwrap_or("-"),
        text(["url.path", "url"]).unwrap_or("-"),
        status.unwrap_or_default(),
    );
    let id = |name: &str| members.get(name).and_then(Value::as_str).and_then(from_hex).unwrap_or_default();
    let elsewhere = ["time", "timestamp", "trace_id", "span_id"];
    let attributes = members.iter().filter(|(name, _)| !elsewhere.contains(&name.as_str()));
    LogRecord {
        time_unix_nano: encode::time_of(line).map_or(now, nanoseconds),
        observed_time_unix_nano: now,
        severity_number,
        severity_text: severity_text.into(),
        body: Some(AnyValue::text(summary)),
        attributes: attributes.map(|(name, value)| attribute(name, AnyValue::of(value))).collect(),
        trace_id: id("trace_id"),
        span_id: id("span_id"),
    }
}

fn nanoseconds(since: std::time::Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(pair.first()?)? << 4 | digit(pair.get(1)?)?) as u8)).collect()
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value) }
}

impl AnyValue {
    fn text(text: impl Into<String>) -> AnyValue {
        AnyValue { value: Some(Kind::Text(text.into())) }
    }

    fn of(value: &Value) -> AnyValue {
        let value = match value {
            Value::Bool(value) => Kind::Boolean(*value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Kind::Integer(number),
                None => Kind::Double(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => Kind::Text(text.clone()),
            other => Kind::Text(other.to_string()),
        };
        AnyValue { value: Some(value) }
    }
}

// The messages. Names are those of the specification, or its meaning where a field's name does not reach the wire.

#[derive(Clone, PartialEq, Message)]
struct ExportLogsServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KeyValue>,
    #[prost(bytes = "vec", tag = "9")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    observed_time_unix_nano: u64,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4")]
    value: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Boolean(bool),
    #[prost(int64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Double(f64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportLogsServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_log_records: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_what_its_line_says_each_thing_at_its_own_place() {
        let line = br#"{"time":"2026-11-22T05:20:00.007Z","http.request.method":"GET","url.path":"/a","http.response.status_code":503,"duration":0.5,"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"}"#;
        let record = record(true, line, 7);
        assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (1_795_324_800_007_000_000, 7));
        assert_eq!((record.severity_number, &*record.severity_text), ERROR);
        assert_eq!(record.body, Some(AnyValue::text("GET /a 503")));
        assert_eq!((record.trace_id.len(), record.trace_id[0], record.span_id[0]), (16, 0x0a, 0xb7));
        let names: Vec<&str> = record.attributes.iter().map(|attribute| &*attribute.key).collect();
        assert_eq!(names, ["duration", "http.request.method", "http.response.status_code", "url.path"]);
        assert_eq!(record.attributes[0].value, Some(AnyValue { value: Some(Kind::Double(0.5)) }));
        assert_eq!(record.attributes[2].value, Some(AnyValue { value: Some(Kind::Integer(503)) }));
    }

    #[test]
    fn a_line_that_is_not_json_is_the_body() {
        let record = record(false, b"{\"a\":1} GET", 7);
        assert_eq!(record.body, Some(AnyValue::text("{\"a\":1} GET")));
        assert_eq!((record.time_unix_nano, record.attributes.len()), (7, 0));
    }

    #[test]
    fn what_was_refused_is_read_from_the_answer() {
        // partial_success { rejected_log_records: 3, error_message: "no" }
        assert_eq!(refused(&[0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o']), 3);
        assert_eq!(refused(b""), 0);
        assert_eq!(refused(b"{}not protobuf"), 0);
    }
}
