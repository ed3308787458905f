//! The one normal form of a path, made before anything reads it.
//!
//! Router, policies, cache, log and upstream all see the same bytes, so nobody can name a protected resource in a
//! spelling that the router reads one way and the upstream another. The form is RFC 3986 §6.2.2, stricter where
//! upstreams are known to differ:
//!
//! - Percent-encoded unreserved characters are decoded, all other encodings get upper-case hex digits and stay.
//!   Nothing is decoded twice: `%252e` stays `%252e`.
//! - What may not stand in a path raw (`"`, `<`, `[`, `{`, bytes beyond ASCII, …) is percent-encoded.
//! - Empty segments are merged, then dot segments are removed, encoded ones included. A path that leaves the root is
//!   refused, not clamped.
//! - Controls, backslashes and overlong UTF-8 are refused, raw and encoded: old decoders make separators and dots of
//!   them. Other percent-encoded bytes that are not UTF-8 (Latin-1, say) stay as they are, opaque.
//! - Dot segments and empty segments with path parameters (`/..;/`, `/;x/`) are refused: servlet containers cut the
//!   parameters off after a proxy has looked.
//! - An encoded slash is refused unless the caller keeps it, see [`EncodedSlash`].
//!
//! A reserved character and its encoding stay different (`:` and `%3A`), as RFC 3986 §2.2 wants; the router matches
//! its literals against both spellings. The output is at most three times as long as the input.

/// What becomes of `%2F`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlash {
    /// Refused: an upstream that decodes it would see more segments than the router did.
    #[default]
    Reject,
    /// Kept as `%2F`, a part of its segment. Only for upstreams that do the same. Dot segments between encoded
    /// slashes are still refused.
    Keep,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Neither `*` nor beginning with `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    #[error("the path holds a `%` without two hexadecimal digits")]
    Percent,
    /// A control, space, backslash, `?` or `#`, or the encoding of a control or backslash.
    #[error("the path holds a character that is not allowed")]
    Character,
    /// `%2F` where it is not allowed.
    #[error("the path holds an encoded slash")]
    Slash,
    /// A character in more bytes than UTF-8 has for it.
    #[error("the path holds an overlong UTF-8 sequence")]
    Overlong,
    /// More `..` than segments before them.
    #[error("the path leaves the root")]
    AboveRoot,
    /// A dot segment or an empty segment that path parameters or encoded slashes disguise.
    #[error("the path holds a disguised dot segment")]
    DisguisedDots,
}

/// Brings a path (without its query) into normal form; `None` when it already is.
///
/// A path in normal form costs one pass and no allocation, and `*` (RFC 9112 §3.2.4) is taken as it is.
pub fn normalise(raw: &str, slash: EncodedSlash) -> Result<Option<Box<str>>, PathFault> {
    if is_plainly_normal(raw.as_bytes()) || raw == "*" {
        return Ok(None);
    }
    if !raw.starts_with('/') {
        return Err(PathFault::NotAbsolute);
    }
    let normal = rewrite(raw, slash)?;
    Ok((normal != raw).then(|| normal.into_boxed_str()))
}

/// Whether the path is certainly in normal form; `false` only says that a closer look is needed.
fn is_plainly_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut i = 0;
    while i < path.len() {
        match path[i] {
            byte if is_pchar(byte) => i += 1,
            b'/' => {
                if !begins_plainly(&path[i + 1..]) {
                    return false;
                }
                i += 1;
            }
            b'%' => {
                if !path.get(i + 1..i + 3).is_some_and(|hex| stays_encoded(hex[0], hex[1])) {
                    return false;
                }
                i += 3;
            }
            _ => return false,
        }
    }
    true
}

/// Whether what follows a slash is neither an empty segment in the middle nor possibly a dot segment.
fn begins_plainly(rest: &[u8]) -> bool {
    let dots = rest.iter().take(2).take_while(|byte| **byte == b'.').count();
    match rest.get(dots) {
        None => dots == 0,
        Some(b'/' | b';' | b'%') => false,
        Some(_) => true,
    }
}

/// Whether an encoding with these two digits is in normal form beyond doubt.
fn stays_encoded(high: u8, low: u8) -> bool {
    if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
        return false;
    }
    let Some(byte) = decode(high, low) else { return false };
    let needs_a_look = matches!(byte, b'/' | b'\\' | b';' | 0xC0 | 0xC1 | 0xE0 | 0xF0 | 0xF8 | 0xFC);
    !(needs_a_look || byte.is_ascii_control() || is_unreserved(byte))
}

/// The normal form, segment by segment.
fn rewrite(raw: &str, slash: EncodedSlash) -> Result<String, PathFault> {
    let mut out = String::with_capacity(raw.len() + 16);
    out.push('/');
    let mut segments = raw[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let begin = out.len();
        push_segment(&mut out, segment, slash)?;
        match &out[begin..] {
            "" => continue,
            "." => out.truncate(begin),
            ".." => {
                out.truncate(begin - 1);
                let parent = out.rfind('/').ok_or(PathFault::AboveRoot)?;
                out.truncate(parent + 1);
            }
            kept if disguises_dots(kept) => return Err(PathFault::DisguisedDots),
            _ if segments.peek().is_some() => out.push('/'),
            _ => {}
        }
    }
    Ok(out)
}

/// Appends one segment, each character in its normal spelling.
fn push_segment(out: &mut String, segment: &str, slash: EncodedSlash) -> Result<(), PathFault> {
    let bytes = segment.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'%' => {
                let byte = encoded_byte(&bytes[i..])?;
                if byte == b'/' && slash == EncodedSlash::Reject {
                    return Err(PathFault::Slash);
                }
                if byte == b'\\' || byte.is_ascii_control() {
                    return Err(PathFault::Character);
                }
                if is_overlong(byte, encoded_byte(&bytes[i + 3..]).ok()) {
                    return Err(PathFault::Overlong);
                }
                if is_unreserved(byte) {
                    out.push(char::from(byte))
                } else {
                    push_encoded(out, byte)
                }
                i += 3;
                continue;
            }
            b'\\' | b' ' | b'?' | b'#' => return Err(PathFault::Character),
            byte if byte.is_ascii_control() => return Err(PathFault::Character),
            byte if is_pchar(byte) => out.push(char::from(byte)),
            byte => push_encoded(out, byte),
        }
        i += 1;
    }
    Ok(())
}

/// The byte that an encoding at the beginning of `bytes` stands for.
fn encoded_byte(bytes: &[u8]) -> Result<u8, PathFault> {
    match bytes {
        [b'%', high, low, ..] => decode(*high, *low).ok_or(PathFault::Percent),
        _ => Err(PathFault::Percent),
    }
}

fn push_encoded(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Whether a segment, already in normal spelling, is `.`, `..` or nothing once path parameters are cut off or encoded
/// slashes are decoded.
fn disguises_dots(segment: &str) -> bool {
    let split_by_slash = segment.contains("%2F");
    segment.split("%2F").any(|part| {
        let name = part.split(';').next().unwrap_or(part);
        let name = name.split("%3B").next().unwrap_or(name);
        let has_parameters = name.len() < part.len();
        (has_parameters && name.is_empty())
            || (matches!(name, "." | "..") && (has_parameters || split_by_slash))
    })
}

/// Whether a lead byte and the byte after it spell a character in more bytes than it needs (RFC 3629 §10).
fn is_overlong(lead: u8, next: Option<u8>) -> bool {
    let Some(next) = next else { return false };
    match lead {
        0xC0 | 0xC1 => (0x80..=0xBF).contains(&next),
        0xE0 => (0x80..=0x9F).contains(&next),
        0xF0 => (0x80..=0x8F).contains(&next),
        0xF8 => (0x80..=0x87).contains(&next),
        0xFC => (0x80..=0x83).contains(&next),
        _ => false,
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §3.3, without the percent sign.
pub(crate) const fn is_pchar(byte: u8) -> bool {
    PCHARS[byte as usize]
}

/// A look-up costs half of the comparisons, and every byte of every path pays it.
static PCHARS: [bool; 256] = {
    let mut pchars = [false; 256];
    let marks = b"-._~!$&'()*+,;=:@";
    let mut i = 0;
    while i < marks.len() {
        pchars[marks[i] as usize] = true;
        i += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            pchars[byte] = true;
        }
        byte += 1;
    }
    pchars
};

/// The value of two hexadecimal digits.
pub(crate) fn decode(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests;
