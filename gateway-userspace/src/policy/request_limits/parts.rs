//! Counts the parts of a `multipart/*` body as it passes, in constant memory.
//!
//! A part costs an upstream far more than its bytes: a file, a header map, an entry in a form. The counter looks for
//! delimiters (RFC 2046 §5.1.1) at the beginning of lines, also after a bare LF, which some parsers accept, so it
//! never counts fewer than the upstream. Parts of a multipart inside a part have their own boundary and are not
//! counted, nor can those of a body with a `Content-Encoding` be. A `Content-Type` whose boundary two parsers could read differently is refused, or the limit could be
//! passed by.

use crate::header::{CONTENT_TYPE, Fields};

/// RFC 2046 §5.1.1: at most 70 characters.
const BOUNDARY_LENGTH_MAX: usize = 70;
/// LF, two dashes, boundary.
const DELIMITER_LENGTH_MAX: usize = BOUNDARY_LENGTH_MAX + 3;

/// Counts delimiters over chunks.
#[derive(Debug, Clone)]
pub struct Counter {
    delimiter: [u8; DELIMITER_LENGTH_MAX],
    length: usize,
    /// How much of the delimiter the bytes so far end with. A body begins as if after a line end.
    matched: usize,
    /// After a whole delimiter: how many dashes followed it; two make it the closing one.
    dashes: Option<u8>,
    parts: u32,
    parts_max: u32,
}

/// More parts than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body has more parts than allowed")]
pub struct TooMany;

/// A multipart body without one clear boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Content-Type of the multipart body has no clear boundary")]
pub struct UnclearBoundary;

impl Counter {
    /// A counter for a message with these fields; `None` when its body is not multipart.
    pub fn for_fields(fields: &Fields, parts_max: u32) -> Result<Option<Counter>, UnclearBoundary> {
        if !fields.get_all(&CONTENT_TYPE).any(|value| is_multipart(value.as_bytes())) {
            return Ok(None);
        }
        let value = fields.single(&CONTENT_TYPE).map_err(|_| UnclearBoundary)?;
        let boundary = boundary(value.to_str().ok_or(UnclearBoundary)?)?;
        let mut delimiter = [0; DELIMITER_LENGTH_MAX];
        delimiter[..3].copy_from_slice(b"\n--");
        let length = 3 + boundary.len();
        delimiter[3..length].copy_from_slice(boundary.as_bytes());
        Ok(Some(Counter { delimiter, length, matched: 1, dashes: None, parts: 0, parts_max }))
    }

    /// Looks at the next bytes of the body.
    pub fn step(&mut self, mut chunk: &[u8]) -> Result<(), TooMany> {
        while let Some(&byte) = chunk.first() {
            if let Some(dashes) = self.dashes {
                match (byte, dashes) {
                    (b'-', 0) => self.dashes = Some(1),
                    (b'-', _) => self.dashes = None,
                    _ => {
                        self.dashes = None;
                        self.count()?;
                        continue;
                    }
                }
                chunk = &chunk[1..];
            } else if self.matched == 0 {
                let Some(line_end) = chunk.iter().position(|byte| *byte == b'\n') else { break };
                self.matched = 1;
                chunk = &chunk[line_end + 1..];
            } else {
                self.advance(byte);
                chunk = &chunk[1..];
            }
        }
        Ok(())
    }

    /// Parts seen so far.
    pub fn parts(&self) -> u32 {
        self.parts
    }

    /// LF stands only at the beginning of the delimiter, so after a mismatch nothing but a new LF can be a beginning.
    fn advance(&mut self, byte: u8) {
        if byte == self.delimiter[self.matched] {
            self.matched += 1;
            if self.matched == self.length {
                self.matched = 0;
                self.dashes = Some(0);
            }
        } else {
            self.matched = usize::from(byte == b'\n');
        }
    }

    fn count(&mut self) -> Result<(), TooMany> {
        self.parts = self.parts.saturating_add(1);
        if self.parts > self.parts_max { Err(TooMany) } else { Ok(()) }
    }
}

fn is_multipart(content_type: &[u8]) -> bool {
    const PREFIX: &[u8] = b"multipart/";
    content_type.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}

/// The boundary parameter (RFC 9110 §8.3.1): once, a token or a quoted string without escapes, and no encoded variant
/// (`boundary*`, RFC 2231) beside it.
fn boundary(content_type: &str) -> Result<&str, UnclearBoundary> {
    let (_, mut rest) = content_type.split_once(';').ok_or(UnclearBoundary)?;
    let mut found = None;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return found.ok_or(UnclearBoundary);
        }
        let (name, after) = rest.split_once('=').ok_or(UnclearBoundary)?;
        let (value, after) = parameter_value(after)?;
        rest = after;
        let is_boundary = name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case("boundary"));
        if !is_boundary {
            continue;
        }
        if name.len() != 8 || found.is_some() || !is_boundary_value(value) {
            return Err(UnclearBoundary);
        }
        found = Some(value);
    }
}

/// The value at the beginning of the text and what follows its end.
fn parameter_value(text: &str) -> Result<(&str, &str), UnclearBoundary> {
    let (value, after) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or(UnclearBoundary)?,
        None => text.split_at(text.find(';').unwrap_or(text.len())),
    };
    let value = if text.starts_with('"') { value } else { value.trim_end_matches([' ', '\t']) };
    let after = after.trim_start_matches([' ', '\t']);
    let ends_clearly = after.is_empty() || after.starts_with(';');
    if ends_clearly && !value.contains(['\\', '"']) { Ok((value, after)) } else { Err(UnclearBoundary) }
}

/// RFC 2046 §5.1.1 `bchars`, a little wider; no space at the end, and none in a token.
fn is_boundary_value(value: &str) -> bool {
    (1..=BOUNDARY_LENGTH_MAX).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::{Counter, TooMany, UnclearBoundary};
    use crate::header::{CONTENT_TYPE, Fields, Value};

    fn counter(content_types: &[&str], parts_max: u32) -> Result<Option<Counter>, UnclearBoundary> {
        let mut fields = Fields::default();
        for content_type in content_types {
            fields.add(CONTENT_TYPE, Value::parse(content_type.as_bytes()).expect("a field value"));
        }
        Counter::for_fields(&fields, parts_max)
    }

    const BODY: &[u8] =
        b"preamble --b not a delimiter\r\n--b\r\nA: b\r\n\r\none\r\n--b\r\n\r\n--c\r\ntwo --b\r\n\
        --b \r\n\r\nthree\n--b\n\nfour\r\n-\r\n--\r\n\n\r\n--b--\r\nepilogue";

    #[test]
    fn delimiters_are_found_however_the_body_is_cut() {
        for size in 1..=BODY.len() {
            let mut counter = counter(&["multipart/form-data; boundary=b"], 4).unwrap().expect("multipart");
            for chunk in BODY.chunks(size) {
                counter.step(chunk).expect("four parts");
            }
            assert_eq!(counter.parts(), 4, "chunks of {size}");
        }
    }

    #[test]
    fn one_part_too_many_is_refused_at_its_delimiter() {
        let mut counter =
            counter(&["Multipart/Mixed; charset=x; Boundary=\"b\""], 3).unwrap().expect("multipart");
        assert_eq!(counter.step(BODY), Err(TooMany));
        assert_eq!(counter.parts(), 4);
    }

    #[test]
    fn the_body_may_begin_with_a_delimiter_and_the_closing_one_is_no_part() {
        let mut counter = counter(&["multipart/mixed; boundary=xyz"], 1).unwrap().expect("multipart");
        counter.step(b"--xyz\r\n\r\nbody\r\n--xyz-").expect("one part");
        counter.step(b"-").expect("one part");
        assert_eq!(counter.parts(), 1);
    }

    #[test]
    fn other_bodies_are_not_looked_at() {
        for content_types in
            [&[][..], &["application/json"], &["multipartish/x"], &["text/plain; a=multipart/b"]]
        {
            assert!(counter(content_types, 1).expect("not multipart").is_none(), "{content_types:?}");
        }
    }

    #[test]
    fn a_boundary_that_parsers_read_differently_is_refused() {
        for content_types in [
            &["multipart/form-data"][..],
            &["multipart/form-data; boundary="],
            &["multipart/form-data; boundary=\"\""],
            &["multipart/form-data; boundary=a; boundary=b"],
            &["multipart/form-data; boundary=a; boundary*=utf-8''b"],
            &["multipart/form-data; boundary*0=a; boundary*1=b"],
            &["multipart/form-data; boundary=\"a\\\"b\""],
            &["multipart/form-data; boundary=\"a"],
            &["multipart/form-data; boundary=\"a\"b"],
            &["multipart/form-data; boundary=\"a \""],
            &["multipart/form-data; x; boundary=a"],
            &[concat!(
                "multipart/form-data; boundary=",
                "0123456789012345678901234567890123456789",
                "0123456789012345678901234567890"
            )],
            &["multipart/form-data; boundary=a", "multipart/form-data; boundary=b"],
            &["text/plain", "multipart/form-data; boundary=b"],
        ] {
            assert_eq!(counter(content_types, 1).err(), Some(UnclearBoundary), "{content_types:?}");
        }
    }
}
