//! Messages as they are sent.

use std::cell::RefCell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{HOST, HeaderMap, TRAILER};
use http::{HeaderName, Method, StatusCode, Version};

/// What ends a chunk, and a line.
pub const CRLF: &[u8] = b"\r\n";

/// What ends a chunk and the body, when there are no trailers.
pub const CRLF_AND_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Writes the head of a request for a target in origin form. `Host` comes first, as RFC 9110 §7.2 asks for; the rest
/// keeps its order.
pub fn request(out: &mut Vec<u8>, method: &Method, target: &str, fields: &HeaderMap) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = fields.get(HOST) {
        field(out, "host", host.as_bytes());
    }
    for (name, value) in fields {
        if *name != HOST {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    out.extend_from_slice(CRLF);
}

/// Writes the line before a chunk.
pub fn chunk_size(out: &mut Vec<u8>, size: usize) {
    write!(out, "{size:x}\r\n").expect("memory takes everything");
}

/// Writes what ends a body in chunks: the trailers that the head announced, and no others (RFC 9110 §6.6.2).
pub fn last_chunk(out: &mut Vec<u8>, trailers: &HeaderMap, announced: &[HeaderName]) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        if announced.contains(name) {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    out.extend_from_slice(CRLF);
}

/// The names in `Trailer`.
pub fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(TRAILER).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// Writes the first line of an answer.
pub fn status_line(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(CRLF);
}

/// Writes a field line. The value must hold no CR and no LF.
pub fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

/// Writes `Content-Length`.
pub fn length(out: &mut Vec<u8>, length: u64) {
    field(out, "content-length", itoa::Buffer::new().format(length).as_bytes());
}

/// Writes `Date` (RFC 9110 §6.6.1), put together once in a second.
pub fn date(out: &mut Vec<u8>) {
    thread_local! {
        static LAST: RefCell<(u64, Vec<u8>)> = RefCell::default();
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(at, text)| {
        if *at != second || text.is_empty() {
            text.clear();
            field(text, "date", httpdate::fmt_http_date(now).as_bytes());
            *at = second;
        }
        out.extend_from_slice(text);
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_is_written_with_its_host_first() {
        let mut fields = HeaderMap::new();
        for (name, value) in [("b", "1"), ("a", "2"), ("b", "3"), ("host", "api.test")] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut out = Vec::new();
        request(&mut out, &Method::GET, "/x?y=1", &fields);
        assert_eq!(out, b"GET /x?y=1 HTTP/1.1\r\nhost: api.test\r\nb: 1\r\nb: 3\r\na: 2\r\n\r\n");
    }

    #[test]
    fn only_announced_trailers_are_written() {
        let mut head = HeaderMap::new();
        head.insert(TRAILER, HeaderValue::from_static("X-Sum, bad name,x-b"));
        let mut trailers = HeaderMap::new();
        for (name, value) in [("x-sum", "1"), ("x-secret", "2")] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut out = Vec::new();
        chunk_size(&mut out, 255);
        last_chunk(&mut out, &trailers, &announced(&head));
        assert_eq!(out, b"ff\r\n0\r\nx-sum: 1\r\n\r\n");
    }
}
