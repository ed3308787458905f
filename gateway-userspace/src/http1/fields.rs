//! Field lines.

use std::cell::RefCell;

use bytes::Bytes;
use http::Version;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};

/// Most fields of an answer's head, and of a trailer section.
pub const FIELDS_MAX: usize = 100;

/// Room for the fields that the gateway adds itself.
const FIELDS_TO_COME: usize = 10;

/// Most tables that a thread keeps for later messages, and most fields of one.
const TABLES_MAX: usize = 32;
const TABLE_FIELDS_MAX: usize = 64;

thread_local! {
    static TABLES: RefCell<Vec<HeaderMap>> = RefCell::default();
}

/// An empty table.
fn take_table() -> HeaderMap {
    TABLES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps the memory of a table whose message has been sent for another one.
pub fn recycle(mut table: HeaderMap) {
    if (1..=TABLE_FIELDS_MAX).contains(&table.capacity()) {
        table.clear();
        TABLES.with_borrow_mut(|tables| {
            if tables.len() < TABLES_MAX {
                tables.push(table);
            }
        });
    }
}

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
    let mut fields = take_table();
    fields.try_reserve(lines.len() + FIELDS_TO_COME).ok()?;
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = bytes.slice_ref(line.value);
        // SAFETY: the parser lets through HTAB, 0x20 to 0x7e and 0x80 to 0xff, which is what a value may hold.
        let value = unsafe { HeaderValue::from_maybe_shared_unchecked(value) };
        fields.try_append(name, value).ok()?;
    }
    Some(fields)
}

/// Whether the sender of these fields lets the connection be used again (RFC 9112 §9.3). A word that is nearly `close` ends it,
/// and only `keep-alive` itself keeps it.
pub fn persists(version: Version, fields: &HeaderMap) -> bool {
    !lists(fields, &CONNECTION, "close") && (version == Version::HTTP_11 || keeps_alive(fields))
}

fn keeps_alive(fields: &HeaderMap) -> bool {
    let values = fields.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut options = values.flat_map(|value| value.split(','));
    options.any(|option| option.trim().eq_ignore_ascii_case("keep-alive"))
}

/// Whether a list field has this element, in any case and with whatever parameters (RFC 9110 §5.6.1, §5.6.6).
pub fn lists(fields: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    let values = fields.get_all(name).iter();
    let mut elements = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    elements.any(|listed| {
        let name = listed.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(element.as_bytes())
    })
}
