//! Comparing a literal of a pattern with a segment of a path, in all spellings that an upstream may read as equal.
//!
//! The normal form keeps `:` and `%3A` apart, as RFC 3986 §2.2 wants, and it keeps path parameters (`admin;x=1`).
//! Most upstreams read `%3A` as `:`, and servlet containers cut the parameters off. If `/users:export` were matched by
//! bytes alone, `/users%3Aexport` would be served by a less specific and perhaps less protected route, and reach the
//! same resource. So a literal matches both spellings, and also its segment with parameters.

use std::borrow::Cow;

use crate::request::path::{decode, is_pchar};

/// The bytes of a segment with every encoding decoded that stands for a character that a path may hold raw.
pub(super) fn fold(segment: &str) -> impl Iterator<Item = u8> {
    let bytes = segment.as_bytes();
    let mut i = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(i)?;
        let decoded = match bytes.get(i + 1..i + 3) {
            Some(hex) if byte == b'%' => decode(hex[0], hex[1]).filter(|byte| is_pchar(*byte)),
            _ => None,
        };
        i += if decoded.is_some() { 3 } else { 1 };
        Some(decoded.unwrap_or(byte))
    })
}

/// The same at once; nothing is copied where nothing is encoded.
pub(super) fn folded(segment: &str) -> Cow<'_, [u8]> {
    match segment.contains('%') {
        true => fold(segment).collect::<Vec<u8>>().into(),
        false => segment.as_bytes().into(),
    }
}

/// Hands the folded bytes to `read`; allocates only for segments longer than 256 bytes.
pub(super) fn with_folded<T>(segment: &str, read: impl FnOnce(&[u8]) -> T) -> T {
    let mut buffer = [0; 256];
    if segment.len() > buffer.len() {
        return read(&folded(segment));
    }
    let length = buffer.iter_mut().zip(fold(segment)).map(|(to, byte)| *to = byte).count();
    read(&buffer[..length])
}

/// Whether folding, or cutting parameters off, may change this segment.
pub(super) fn has_spellings(segment: &str) -> bool {
    segment.bytes().any(|byte| matches!(byte, b'%' | b';'))
}

/// The segment without its path parameters.
pub(super) fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or(segment)
}

#[cfg(test)]
mod tests {
    use super::{fold, folded, has_spellings, with_folded, without_parameters};

    #[test]
    fn only_what_may_stand_raw_in_a_path_is_decoded() {
        for (segment, expected) in [
            ("users", "users"),
            ("users%3Aexport", "users:export"),
            ("%40me%2B%3B", "@me+;"),
            ("a%2Fb%20c%25", "a%2Fb%20c%25"),
            ("%253A", "%253A"),
            ("%C3%A9", "%C3%A9"),
            ("%3", "%3"),
        ] {
            assert_eq!(String::from_utf8(fold(segment).collect()).as_deref(), Ok(expected), "{segment}");
            assert_eq!(*folded(segment), *expected.as_bytes(), "{segment}");
            with_folded(segment, |bytes| assert_eq!(bytes, expected.as_bytes(), "{segment}"));
        }
    }

    #[test]
    fn long_segments_are_folded_too() {
        for length in [84, 85, 86, 255, 256, 257, 300] {
            let folded = ":".repeat(length);
            with_folded(&"%3A".repeat(length), |bytes| assert_eq!(bytes, folded.as_bytes()));
        }
    }

    #[test]
    fn parameters_begin_at_the_first_semicolon() {
        assert_eq!(without_parameters("admin;x=1;y"), "admin");
        assert!(has_spellings("admin;x") && has_spellings("a%3A") && !has_spellings("admin"));
    }
}
