//! The head of a request.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Uri, Version};

use super::fields;

/// Fields that there is room for without an allocation.
const FIELDS_INLINE: usize = 100;

/// The request line and the fields.
#[derive(Debug)]
pub struct Head {
    /// As sent.
    pub method: Method,
    /// The target, in any of its forms (RFC 9112 §3.2).
    pub target: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields, in order.
    pub fields: HeaderMap,
}

/// Why a head is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a request line or field lines.
    #[error("the head is not valid: {0}")]
    Syntax(#[source] httparse::Error),
    /// A line ends with LF alone.
    #[error("a line does not end with CRLF")]
    LineEnd,
    /// The target is not a URI.
    #[error("the target is not valid")]
    Target,
    /// More fields than allowed.
    #[error("the head has too many fields")]
    TooManyFields,
}

/// The head at the beginning of these bytes, and its length; `None` when it has not come whole. The target and the
/// values are parts of the bytes and keep all of them.
pub fn parse(bytes: &Bytes, fields_max: usize) -> Result<Option<(Head, usize)>, Fault> {
    if fields_max <= FIELDS_INLINE {
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_INLINE];
        parse_into(bytes, &mut lines[..fields_max])
    } else {
        parse_into(bytes, &mut vec![MaybeUninit::uninit(); fields_max])
    }
}

fn parse_into<'b>(
    bytes: &'b Bytes,
    lines: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<(Head, usize)>, Fault> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, lines).map_err(|error| match error {
        httparse::Error::TooManyHeaders => Fault::TooManyFields,
        other => Fault::Syntax(other),
    })?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    if !ends_lines_with_crlf(&bytes[..length]) {
        return Err(Fault::LineEnd);
    }
    let method = request.method.unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Fault::Syntax(httparse::Error::Token))?;
    let target = bytes.slice_ref(request.path.unwrap_or_default().as_bytes());
    let target = Uri::from_maybe_shared(target).map_err(|_| Fault::Target)?;
    let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let fields = fields::keep(request.headers, bytes).ok_or(Fault::TooManyFields)?;
    Ok(Some((Head { method, target, version, fields }, length)))
}

fn ends_lines_with_crlf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).all(|at| at > 0 && head[at - 1] == b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
        parse(&Bytes::copy_from_slice(bytes), 4)
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let bytes = b"\r\n\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nx-a:  \xe9 b \r\n\r\nbody";
        let (head, length) = read(bytes).unwrap().unwrap();
        assert_eq!((head.method.as_str(), head.version), ("POST", Version::HTTP_11));
        assert_eq!((head.target.path(), head.target.query()), ("/a", Some("b")));
        assert_eq!(
            (&head.fields["host"], head.fields["x-a"].as_bytes()),
            (&"x".parse().unwrap(), &b"\xe9 b"[..])
        );
        assert_eq!(&bytes[length..], b"body");
        for end in 0..length {
            assert!(read(&bytes[..end]).unwrap().is_none(), "after {end} bytes");
        }
    }

    #[test]
    fn what_is_not_a_head_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\nHost: x\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nHost: x\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\n",
            b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET /a b HTTP/1.1\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / HTTP/1.2\r\n\r\n",
            b"GET /\r\n\r\n",
            b"G@T / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\na : b\r\n\r\n",
            b"GET / HTTP/1.1\r\n a: b\r\n\r\n",
            b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
            b"GET / HTTP/1.1\r\na: b\0\r\n\r\n",
            b"GET / HTTP/1.1\r\na: b\rc\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET http:// HTTP/1.1\r\n\r\n",
        ] {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn fields_have_a_limit_below_and_above_what_is_inline() {
        let head = |count: usize| Bytes::from(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count)));
        for fields_max in [1, FIELDS_INLINE, FIELDS_INLINE + 1, 1000] {
            assert_eq!(parse(&head(fields_max), fields_max).unwrap().unwrap().0.fields.len(), fields_max);
            assert_eq!(parse(&head(fields_max + 1), fields_max).unwrap_err(), Fault::TooManyFields);
        }
    }
}
