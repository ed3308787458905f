//! Field lines.

use bytes::Bytes;
use http::Version;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

/// Most fields of an answer's head, and of a trailer section.
pub const FIELDS_MAX: usize = 100;

/// Room for the fields that the gateway adds itself.
const FIELDS_TO_COME: usize = 10;

/// A section of fields with the empty line that ends it; `None` when it is anything else.
pub fn section(bytes: &Bytes) -> Option<HeaderMap> {
    let mut lines = [httparse::EMPTY_HEADER; FIELDS_MAX];
    match httparse::parse_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete((length, lines))) if length == bytes.len() => keep(lines, bytes),
        _ => None,
    }
}

/// The fields, whose lines lie in `bytes`; `None` when they are too many for a map.
pub fn keep(lines: &[httparse::Header<'_>], bytes: &Bytes) -> Option<HeaderMap> {
    let mut fields = HeaderMap::try_with_capacity(lines.len() + FIELDS_TO_COME).ok()?;
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = bytes.slice_ref(line.value);
        // SAFETY: the parser lets through HTAB, 0x20 to 0x7e and 0x80 to 0xff, which is what a value may hold.
        let value = unsafe { HeaderValue::from_maybe_shared_unchecked(value) };
        fields.try_append(name, value).ok()?;
    }
    Some(fields)
}

/// Whether the sender of these fields lets the connection be used again (RFC 9112 §9.3).
pub fn persists(version: Version, fields: &HeaderMap) -> bool {
    let mut persists = version == Version::HTTP_11;
    for value in fields.get_all(CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            persists |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    persists
}
