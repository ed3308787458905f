//! The access log and its receivers.

use super::{hash, joined, pair};
use crate::config::model::{Log, LogFormat, Sink};
use crate::config::units::{show_duration, show_size};
use crate::observe::access_log::collector::{Framing, Protocol, Settings};

/// Of `[log]`.
pub fn of_log(log: &Log) -> Vec<(String, String)> {
    let Log { format, ja4, to } = log;
    let to = if to.is_empty() { "off".to_owned() } else { joined(to) };
    vec![pair("format", show_format(format)), pair("ja4", ja4), pair("to", to)]
}

fn show_format(format: &LogFormat) -> &str {
    match format {
        LogFormat::Json => "json",
        LogFormat::Seed => "seed",
        LogFormat::Combined => "combined",
        LogFormat::Custom(text) => text,
    }
}

/// Of `[sink.NAME]`.
pub fn of_sink(sink: &Sink) -> Vec<(String, String)> {
    let Sink { name: _, place: _, format, settings } = sink;
    let Settings { url, protocol, headers, ca, gzip, batch, buffer_bytes, timeout, retry_for, json: _ } =
        settings;
    let mut values = match protocol {
        Protocol::Http(framing) => {
            let framing = match framing {
                Framing::Lines => "lines",
                Framing::Array => "array",
                Framing::Bulk => "bulk",
            };
            vec![pair("http", url), pair("body", framing)]
        }
        Protocol::Splunk { source, sourcetype, index, host } => vec![
            pair("splunk", url),
            pair("source", source),
            pair("sourcetype", sourcetype),
            pair("index", index.as_deref().unwrap_or_default()),
            pair("host", host.as_deref().unwrap_or_default()),
        ],
        Protocol::Otlp { service } => vec![pair("otlp", url), pair("service", service)],
    };
    // Values may be secret, so only their hashes are shown.
    let headers =
        headers.iter().map(|(name, value)| format!("{}: {}", name.as_str(), hash(value.as_bytes())));
    values.extend([
        pair("format", format.as_ref().map_or("", show_format)),
        pair("headers", joined(headers)),
        pair("ca", joined(ca.iter().map(|path| path.display()))),
        pair("compress", if *gzip { "gzip" } else { "off" }),
        pair("batch-size", show_size(batch.bytes as u64)),
        pair("batch-lines", batch.lines),
        pair("batch-age", show_duration(batch.age)),
        pair("buffer", show_size(*buffer_bytes as u64)),
        pair("timeout", show_duration(*timeout)),
        pair("retry-for", show_duration(*retry_for)),
    ]);
    values
}
