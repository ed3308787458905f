//! From lines to the body of a request.

use std::io::Write;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::escape;
use super::settings::{Framing, Protocol, Settings};
use super::{otlp, splunk};

/// The body of a request.
#[derive(Debug)]
pub struct Body {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

/// Encodes whole lines; `now` is the time of those that tell none.
pub fn body(settings: &Settings, lines: &[u8], now: SystemTime) -> Body {
    let (content_type, bytes) = match &settings.protocol {
        Protocol::Http(Framing::Lines) if settings.json => ("application/x-ndjson", lines.to_vec()),
        Protocol::Http(Framing::Lines) => ("text/plain; charset=utf-8", lines.to_vec()),
        Protocol::Http(Framing::Array) => ("application/json", array(settings, lines)),
        Protocol::Http(Framing::Bulk) => ("application/x-ndjson", bulk(lines)),
        Protocol::Splunk { .. } => ("application/json", splunk::events(settings, lines, now)),
        Protocol::Otlp { service } => {
            ("application/x-protobuf", otlp::request(service, settings.json, lines, now))
        }
    };
    Body { content_type, bytes: if settings.gzip { gzip(&bytes) } else { bytes } }
}

/// The lines without their ends.
pub fn each(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// A line as a JSON value: itself if it is an object, else a string.
pub fn value(json: bool, line: &[u8], out: &mut Vec<u8>) {
    if json && line.starts_with(b"{") {
        out.extend_from_slice(line);
        return;
    }
    out.push(b'"');
    escape::json(line, out);
    out.push(b'"');
}

/// When the request of a JSON line began, since 1970: its first member says so in both JSON formats.
pub fn time_of(line: &[u8]) -> Option<Duration> {
    let (_, rest) = time_member(line)?;
    let text = rest.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    let time: jiff::Timestamp = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Duration::try_from(time.duration_since(jiff::Timestamp::UNIX_EPOCH)).ok()
}

/// The line up to the value of its time, and from there on.
fn time_member(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let names: [&[u8]; 2] = [b"{\"time\":", b"{\"timestamp\":"];
    let name = names.into_iter().find(|name| line.starts_with(name))?;
    Some(line.split_at(name.len()))
}

fn array(settings: &Settings, lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + 2);
    out.push(b'[');
    for (index, line) in each(lines).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value(settings.json, line, &mut out);
    }
    out.push(b']');
    out
}

/// A `create` in front of each line, for data streams take no other action; and data streams want `@timestamp`.
fn bulk(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() * 2);
    for line in each(lines) {
        out.extend_from_slice(b"{\"create\":{}}\n");
        match time_member(line) {
            Some((_, rest)) => {
                out.extend_from_slice(b"{\"@timestamp\":");
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(line),
        }
        out.push(b'\n');
    }
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Writing to memory does not fail.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::tests::settings;
    use super::*;

    const LINES: &[u8] =
        b"{\"time\":\"2026-11-22T05:20:00.007Z\",\"n\":1}\n{\"timestamp\":\"2026-11-22T05:20:01.000Z\"}\n";

    fn text(framing: Framing, json: bool, lines: &[u8]) -> (&'static str, String) {
        let settings = Settings { protocol: Protocol::Http(framing), json, ..settings("http://localhost/") };
        let Body { content_type, bytes } = body(&settings, lines, SystemTime::now());
        (content_type, String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn lines_are_framed_as_the_receiver_wants_them() {
        let lines = String::from_utf8_lossy(LINES).into_owned();
        assert_eq!(text(Framing::Lines, true, LINES), ("application/x-ndjson", lines));
        assert_eq!(
            text(Framing::Array, true, LINES).1,
            r#"[{"time":"2026-11-22T05:20:00.007Z","n":1},{"timestamp":"2026-11-22T05:20:01.000Z"}]"#
        );
        assert_eq!(
            text(Framing::Bulk, true, LINES).1,
            "{\"create\":{}}\n{\"@timestamp\":\"2026-11-22T05:20:00.007Z\",\"n\":1}\n\
             {\"create\":{}}\n{\"@timestamp\":\"2026-11-22T05:20:01.000Z\"}\n"
        );
    }

    #[test]
    fn lines_that_are_not_json_are_strings_where_json_is_due() {
        let plain = b"{a} \\x22 \"GET\"\n";
        assert_eq!(text(Framing::Lines, false, plain).0, "text/plain; charset=utf-8");
        assert_eq!(text(Framing::Array, false, plain).1, r#"["{a} \\x22 \"GET\""]"#);
    }

    #[test]
    fn the_time_is_read_from_both_json_formats() {
        let times: Vec<_> = each(LINES).map(|line| time_of(line).map(|time| time.as_millis())).collect();
        assert_eq!(times, [Some(1_795_324_800_007), Some(1_795_324_801_000)]);
        for none in [&b"GET /"[..], b"{\"n\":1}", b"{\"time\":1}", b"{\"time\":\"soon\"}", b"{\"time\":\""] {
            assert_eq!(time_of(none), None);
        }
    }

    #[test]
    fn a_compressed_body_is_the_same_body() {
        let settings = Settings { gzip: true, ..settings("http://localhost/") };
        let compressed = body(&settings, LINES, SystemTime::now()).bytes;
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*compressed).read_to_end(&mut plain).expect("gzip");
        assert_eq!(plain, LINES);
    }
}
