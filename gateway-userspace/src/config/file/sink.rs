//! `[sink.NAME]`: a receiver of the access log in the network, of the kind that is written: `http`, `splunk` or `otlp`.

pub mod request;

use crate::config::codes;
use crate::config::decode::{Decoder, Fields, Key, Presence, Spec, Takes};
use crate::config::model::Sink;
use crate::config::tree::Node;
use crate::config::value;
use crate::diagnostic::{Located, Problem};
use crate::dial::Url;
use crate::header::{Name, Value as HeaderValue};
use crate::observe::access_log::collector::{BatchLimits, Framing, Protocol, Settings};

use self::request::{HEADERS, SECRET, URL};
use super::{TableName, log};

/// Where Splunk's collector and OTLP's receiver listen, if the URL names no path.
const SPLUNK_PATH: &str = "/services/collector/event";
const OTLP_PATH: &str = "/v1/logs";
const FORMAT: Key = Key::new(
    "format",
    Takes::Value(log::FORMAT.describe),
    Presence::Optional,
    "What the lines of this sink look like; if not given, as `[log]` says.",
);
const HEADERS_KEY: Key = Key::new(
    "headers",
    Takes::Value(HEADERS.describe),
    Presence::Default("{}"),
    "Fields of each request, such as `{ Authorization = \"${LOG_AUTHORIZATION}\" }`. Their values are never shown.",
);
const CA: Key = Key::new(
    "ca",
    Takes::Value(value::PATH.describe),
    Presence::Optional,
    "PEM file with CA certificates for the receiver's TLS, beside the system's.",
);
const COMPRESS: Key = Key::new(
    "compress",
    Takes::Word(&["off", "gzip"]),
    Presence::Default("\"off\""),
    "Whether requests are compressed.",
);
const BATCH_SIZE: Key = Key::new(
    "batch-size",
    Takes::Value(value::SIZE.describe),
    Presence::Default("\"512KiB\""),
    "Bytes of lines at which a batch is sent, from 1 KiB to 64 MiB; what is sent is larger by what the protocol adds.",
);
const BATCH_LINES: Key = Key::new(
    "batch-lines",
    Takes::Number(1, 1_000_000),
    Presence::Default("2000"),
    "Lines at which a batch is sent.",
);
const BATCH_AGE: Key = Key::new(
    "batch-age",
    Takes::Value(value::DURATION.describe),
    Presence::Default("\"1s\""),
    "How long a line may wait for others before its batch is sent.",
);
const BUFFER: Key = Key::new(
    "buffer",
    Takes::Value(value::SIZE.describe),
    Presence::Default("\"16MiB\""),
    "Most bytes of lines that wait while the receiver is slow or away, at least `batch-size`, at most 4 GiB; what comes \
     then is dropped and counted.",
);
const TIMEOUT: Key = Key::new(
    "timeout",
    Takes::Value(value::DURATION.describe),
    Presence::Default("\"10s\""),
    "Longest time for one attempt, from connecting to the end of the answer.",
);
const RETRY_FOR: Key = Key::new(
    "retry-for",
    Takes::Value(value::DURATION_OR_ZERO.describe),
    Presence::Default("\"10m\""),
    "How old lines may get before a failed attempt is their last. Pauses between attempts grow from one second to \
     thirty, or are as long as `Retry-After` says, up to five minutes.",
);

/// The keys of `[sink.NAME]` with `http`.
pub static HTTP: Spec = Spec {
    title: "[sink.NAME] with http",
    doc: "The access log to an HTTP endpoint, in batches by POST: Vector, Logstash, Fluent Bit, Elasticsearch.",
    keys: &[
        Key::new("http", Takes::Value(URL.describe), Presence::Required, "Where batches are sent."),
        Key::new(
            "body",
            Takes::Word(&["lines", "array", "bulk"]),
            Presence::Default("\"lines\""),
            "How lines make a body: one after another (NDJSON where they are JSON), as a JSON array, or for the `_bulk` \
             of Elasticsearch and OpenSearch, which needs a JSON format.",
        ),
        FORMAT,
        HEADERS_KEY,
        CA,
        COMPRESS,
        BATCH_SIZE,
        BATCH_LINES,
        BATCH_AGE,
        BUFFER,
        TIMEOUT,
        RETRY_FOR,
    ],
};

/// The keys of `[sink.NAME]` with `splunk`.
pub static SPLUNK: Spec = Spec {
    title: "[sink.NAME] with splunk",
    doc: "The access log to Splunk's HTTP Event Collector.",
    keys: &[
        Key::new(
            "splunk",
            Takes::Value(URL.describe),
            Presence::Required,
            "The collector: `https://HOST:8088`. The path is `/services/collector/event` if none is written.",
        ),
        Key::new("token", Takes::Value(SECRET.describe), Presence::Required, "The collector's token."),
        Key::new(
            "index",
            Takes::Value(value::NAME.describe),
            Presence::Optional,
            "Index; if not given, the token's.",
        ),
        Key::new(
            "source",
            Takes::Value(value::NAME.describe),
            Presence::Default("\"portcullis\""),
            "Source of events.",
        ),
        Key::new(
            "sourcetype",
            Takes::Value(value::NAME.describe),
            Presence::Default("\"portcullis:access\""),
            "Source type of events.",
        ),
        Key::new(
            "host",
            Takes::Value(value::NAME.describe),
            Presence::Optional,
            "Host of events; if not given, this machine's name.",
        ),
        FORMAT,
        HEADERS_KEY,
        CA,
        COMPRESS,
        BATCH_SIZE,
        BATCH_LINES,
        BATCH_AGE,
        BUFFER,
        TIMEOUT,
        RETRY_FOR,
    ],
};

/// The keys of `[sink.NAME]` with `otlp`.
pub static OTLP: Spec = Spec {
    title: "[sink.NAME] with otlp",
    doc: "The access log as OTLP logs over HTTP in Protobuf: the OpenTelemetry Collector, Grafana Loki and others.",
    keys: &[
        Key::new(
            "otlp",
            Takes::Value(URL.describe),
            Presence::Required,
            "The receiver: `http://HOST:4318`. The path is `/v1/logs` if none is written.",
        ),
        Key::new(
            "service",
            Takes::Value(value::NAME.describe),
            Presence::Default("\"portcullis\""),
            "`service.name` of the resource.",
        ),
        FORMAT,
        HEADERS_KEY,
        CA,
        COMPRESS,
        BATCH_SIZE,
        BATCH_LINES,
        BATCH_AGE,
        BUFFER,
        TIMEOUT,
        RETRY_FOR,
    ],
};

/// Decodes `[sink.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<Sink> {
    let title = format!("[sink.{}]", name.value);
    let kinds: [(&str, Kind); 3] = [("http", of_http), ("splunk", of_splunk), ("otlp", of_otlp)];
    let written: Vec<_> = kinds.iter().filter(|(kind, _)| node.get(kind).is_some()).collect();
    let (_, of_kind) = match written.as_slice() {
        [one] => one,
        [] => {
            if !d.incomplete {
                let message = format!("{title} does not say where the log goes");
                let problem = Problem::error(codes::MISSING_KEY, message, node.place.clone());
                let help = "write `http = \"https://…\"`, `splunk = \"https://…\"` or `otlp = \"https://…\"`";
                d.report.push(problem.label("`http`, `splunk` or `otlp` is missing here").help(help));
            }
            return None;
        }
        [(first, _), (second, _), ..] => {
            let message = format!("{title} has both `{first}` and `{second}`");
            let problem = Problem::error(codes::EXCLUSIVE, message, node.place.clone());
            d.report.push(problem.help("make two tables, and name both in `to` of `[log]`"));
            return None;
        }
    };
    let (settings, format) = of_kind(d, title, node)?;
    Some(Sink { name: name.value, place: name.place, format, settings })
}

type Kind = fn(&mut Decoder<'_>, String, &Node) -> Option<(Settings, Format)>;
type Format = Option<crate::config::model::LogFormat>;

fn of_http(d: &mut Decoder<'_>, title: String, node: &Node) -> Option<(Settings, Format)> {
    let f = d.fields(&HTTP, title, node)?;
    let url = f.located(d, "http", &URL);
    let framing =
        f.word(d, "body", &[("lines", Framing::Lines), ("array", Framing::Array), ("bulk", Framing::Bulk)]);
    let (settings, format) = shared(d, &f, url, "/")?;
    Some((Settings { protocol: Protocol::Http(framing?), ..settings }, format))
}

fn of_splunk(d: &mut Decoder<'_>, title: String, node: &Node) -> Option<(Settings, Format)> {
    let f = d.fields(&SPLUNK, title, node)?;
    let url = f.located(d, "splunk", &URL);
    let token = f.located(d, "token", &SECRET);
    let index = f.get(d, "index", &value::NAME);
    let source = f.get(d, "source", &value::NAME);
    let sourcetype = f.get(d, "sourcetype", &value::NAME);
    let host = f.get(d, "host", &value::NAME);
    let (mut settings, format) = shared(d, &f, url, SPLUNK_PATH)?;
    let authorization = [b"Splunk ", token?.value.as_bytes()].concat();
    // The token was a header field's value already.
    let authorization = HeaderValue::parse(&authorization)?.kept_secret();
    settings.headers.push((Name::from_static("authorization"), authorization));
    let text = |text: std::sync::Arc<str>| Box::<str>::from(&*text);
    let protocol = Protocol::Splunk {
        source: text(source?),
        sourcetype: text(sourcetype?),
        index: index.map(text),
        host: host.map(text),
    };
    Some((Settings { protocol, ..settings }, format))
}

fn of_otlp(d: &mut Decoder<'_>, title: String, node: &Node) -> Option<(Settings, Format)> {
    let f = d.fields(&OTLP, title, node)?;
    let url = f.located(d, "otlp", &URL);
    let service = f.get(d, "service", &value::NAME);
    let (settings, format) = shared(d, &f, url, OTLP_PATH)?;
    Some((Settings { protocol: Protocol::Otlp { service: (&*service?).into() }, ..settings }, format))
}

/// What all kinds have in common; the protocol is still to be put in.
fn shared(
    d: &mut Decoder<'_>,
    f: &Fields<'_>,
    url: Option<Located<Url>>,
    path: &str,
) -> Option<(Settings, Format)> {
    let format = f.get(d, "format", &log::FORMAT);
    let headers = f.get(d, "headers", &HEADERS);
    let ca = f.get(d, "ca", &value::PATH);
    let gzip = f.word(d, "compress", &[("off", false), ("gzip", true)]);
    let batch_size = f.located(d, "batch-size", &value::SIZE);
    let lines = f.number(d, "batch-lines");
    let age = f.get(d, "batch-age", &value::DURATION);
    let buffer = f.located(d, "buffer", &value::SIZE);
    let timeout = f.get(d, "timeout", &value::DURATION);
    let retry_for = f.get(d, "retry-for", &value::DURATION_OR_ZERO);
    let batch_size = batch_size.and_then(|size| within(d, size, 1 << 10, 64 << 20));
    let buffer = buffer.and_then(|size| within(d, size, batch_size.unwrap_or(0) as u64, 4 << 30));
    let Located { value: mut url, place } = url?;
    if url.path.as_ref() == "/" {
        url.path = path.into();
    }
    if !url.is_protected() {
        let message = "the access log goes over the network without TLS";
        let problem = Problem::warning(codes::CLEARTEXT_LOG, message, place);
        d.report.push(problem.help("use `https://`; `ca` names the CA of a receiver of your own"));
    }
    let settings = Settings {
        url,
        protocol: Protocol::Http(Framing::Lines),
        headers: headers?,
        ca,
        gzip: gzip?,
        batch: BatchLimits { bytes: batch_size?, lines: lines?, age: age? },
        buffer_bytes: buffer?,
        timeout: timeout?,
        retry_for: retry_for?,
        json: false,
    };
    Some((settings, format))
}

fn within(d: &mut Decoder<'_>, size: Located<u64>, least: u64, most: u64) -> Option<usize> {
    if (least..=most).contains(&size.value) {
        return usize::try_from(size.value).ok();
    }
    let (least, most) = (crate::config::units::show_size(least), crate::config::units::show_size(most));
    let problem = Problem::error(codes::OUT_OF_RANGE, "this size is out of range", size.place);
    d.report.push(problem.label(format!("expected {least} to {most}")));
    None
}
