//! The head of an answer.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{StatusCode, Version};

use super::fields::{self, FIELDS_MAX};

/// The status line and the fields.
#[derive(Debug)]
pub struct Head {
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// From 100 to 999.
    pub status: StatusCode,
    /// All fields, in order.
    pub fields: HeaderMap,
}

/// Why a head is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a status line or field lines.
    #[error("the head is not valid: {0}")]
    Syntax(#[source] httparse::Error),
    /// A status below 100.
    #[error("the status is not a number from 100 to 999")]
    Status,
    /// More than there is room for.
    #[error("the head has too many fields")]
    TooManyFields,
}

/// The head at the beginning of these bytes, and its length; `None` when it has not come whole. The values of its fields
/// are parts of the bytes and keep all of them.
pub fn parse(bytes: &Bytes) -> Result<Option<(Head, usize)>, Fault> {
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut answer, bytes, &mut lines)
        .map_err(|error| match error {
            httparse::Error::TooManyHeaders => Fault::TooManyFields,
            other => Fault::Syntax(other),
        })?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let version = if answer.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let status = StatusCode::from_u16(answer.code.unwrap_or_default()).map_err(|_invalid| Fault::Status)?;
    let fields = fields::keep(answer.headers, bytes).ok_or(Fault::TooManyFields)?;
    Ok(Some((Head { version, status, fields }, length)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
        parse(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: \xe9 b\t\r\nx-a:\r\n\r\nhello";
        let (head, length) = read(bytes).unwrap().unwrap();
        assert_eq!((head.version, head.status.as_u16()), (Version::HTTP_11, 200));
        assert_eq!(head.fields["content-length"], "5");
        let both: Vec<_> = head.fields.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(both, [&b"\xe9 b"[..], b""]);
        assert_eq!(&bytes[length..], b"hello");
        for end in 0..bytes.len() - 5 {
            assert!(read(&bytes[..end]).unwrap().is_none(), "after {end} bytes");
        }
    }

    #[test]
    fn what_is_not_a_head_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 +20 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na : c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n a: c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\x7fc\r\n\r\n",
        ] {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let lines = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(lines(FIELDS_MAX).as_bytes()).unwrap().unwrap().0.fields.len(), FIELDS_MAX);
        assert_eq!(read(lines(FIELDS_MAX + 1).as_bytes()).unwrap_err(), Fault::TooManyFields);
    }

    #[test]
    fn who_may_be_asked_again() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: keep-alive, x\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: x, Keep-Alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive;timeout=5\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: \u{e9}, keep-alive\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: \u{e9}, close;x\r\n\r\n", false),
        ] {
            let (head, _) = read(head.as_bytes()).unwrap().unwrap();
            assert_eq!(fields::persists(head.version, &head.fields), expected, "{head:?}");
        }
    }
}
