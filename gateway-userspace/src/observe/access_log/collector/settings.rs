//! What is to be known of a receiver.

use std::path::PathBuf;
use std::time::Duration;

use crate::dial::Url;
use crate::header::{Name, Value};

/// A receiver, how it is spoken to and how patiently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where batches are sent, by POST.
    pub url: Url,
    /// What a batch looks like.
    pub protocol: Protocol,
    /// Header fields of each request. All values are marked as sensitive: they do not show when printed.
    pub headers: Vec<(Name, Value)>,
    /// CA certificates beside the system's.
    pub ca: Option<PathBuf>,
    /// Whether batches are compressed.
    pub gzip: bool,
    /// When a batch is sent.
    pub batch: BatchLimits,
    /// Most bytes of lines that wait.
    pub buffer_bytes: usize,
    /// Longest time for one attempt: connection, request and answer.
    pub timeout: Duration,
    /// How old lines may get before they are given up after a failed attempt.
    pub retry_for: Duration,
    /// Whether lines are JSON objects.
    pub json: bool,
}

/// What a batch is sent for, whatever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Bytes of its lines. A line that is longer is a batch of its own.
    pub bytes: usize,
    /// Its lines.
    pub lines: u64,
    /// Age of its first line.
    pub age: Duration,
}

/// What a batch looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing but the lines.
    Http(Framing),
    /// Splunk's HTTP Event Collector, an envelope for each event.
    Splunk {
        /// `source` of each event.
        source: Box<str>,
        /// `sourcetype`.
        sourcetype: Box<str>,
        /// `index`; the token's own if none.
        index: Option<Box<str>>,
        /// `host`; this machine's name if none.
        host: Option<Box<str>>,
    },
    /// OTLP over HTTP, in Protobuf.
    Otlp {
        /// The resource's `service.name`.
        service: Box<str>,
    },
}

/// How lines make a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One after another: NDJSON where lines are JSON.
    Lines,
    /// A JSON array.
    Array,
    /// Elasticsearch's and OpenSearch's `_bulk`: each behind a `create`.
    Bulk,
}
