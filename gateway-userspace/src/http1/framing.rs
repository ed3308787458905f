//! Where a body ends (RFC 9112 §6.3).

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{StatusCode, Version};

/// Largest length: others read lengths into a signed number of 64 bits, and for them a larger one is negative or another.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes; 0 for no body.
    Known(u64),
    /// It says so itself, chunk by chunk.
    Chunked,
    /// Until the sender closes.
    UntilClose,
}

/// What the fields say cannot be read in one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// Any coding but `chunked`, or that twice, or in HTTP/1.0.
    #[error("a transfer coding other than chunked")]
    Coding,
    /// `Transfer-Encoding` beside `Content-Length`.
    #[error("both a transfer coding and a length")]
    Both,
    /// Not a number, too large for one, or several that differ.
    #[error("the length is not one number")]
    Length,
    /// 101, which nobody asked for: what follows is no message at all.
    #[error("a switch of protocols")]
    Switch,
}

/// The length of an answer's body.
pub fn of_answer(
    to_head: bool,
    status: StatusCode,
    version: Version,
    fields: &HeaderMap,
) -> Result<Length, Ambiguous> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Ambiguous::Switch);
    }
    let coded = fields.contains_key(TRANSFER_ENCODING);
    if coded {
        check_coding(version, fields)?;
    }
    let length = content_length(fields)?;
    let bodiless = to_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match length {
        Some(_) if coded => return Err(Ambiguous::Both),
        _ if bodiless => Length::Known(0),
        Some(length) => Length::Known(length),
        None if coded => Length::Chunked,
        None => Length::UntilClose,
    })
}

/// The length of a request's body.
pub fn of_request(version: Version, fields: &HeaderMap) -> Result<Length, Ambiguous> {
    let coded = fields.contains_key(TRANSFER_ENCODING);
    if coded {
        check_coding(version, fields)?;
    }
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) if coded => Ok(Length::Chunked),
        (None, _) => Ok(Length::Known(0)),
        (Some(_), _) if coded => Err(Ambiguous::Both),
        // Equal ones may be taken for one (RFC 9112 §6.3), but nobody of good faith sends them.
        (Some(length), None) => number(length.as_bytes()).map(Length::Known).ok_or(Ambiguous::Length),
        (Some(_), Some(_)) => Err(Ambiguous::Length),
    }
}

fn check_coding(version: Version, fields: &HeaderMap) -> Result<(), Ambiguous> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None)
            if version == Version::HTTP_11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(())
        }
        _ => Err(Ambiguous::Coding),
    }
}

/// The one number that all `Content-Length` fields and their list elements say.
fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Ambiguous> {
    let mut said = None;
    for value in fields.get_all(CONTENT_LENGTH) {
        for element in value.as_bytes().split(|byte| *byte == b',') {
            let length = number(element.trim_ascii()).ok_or(Ambiguous::Length)?;
            if said.replace(length).is_some_and(|before| before != length) {
                return Err(Ambiguous::Length);
            }
        }
    }
    Ok(said)
}

/// Digits, and nothing else, of at most [`LENGTH_MAX`].
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| *number <= LENGTH_MAX)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn length(
        status: u16,
        version: Version,
        lines: &[(&'static str, &'static str)],
    ) -> Result<Length, Ambiguous> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        of_answer(false, StatusCode::from_u16(status).unwrap(), version, &fields)
    }

    #[test]
    fn one_reading_or_none() {
        const TE: &str = "transfer-encoding";
        const CL: &str = "content-length";
        let now = Version::HTTP_11;
        for (status, version, lines, expected) in [
            (200, now, &[][..], Ok(Length::UntilClose)),
            (200, now, &[(CL, "0")], Ok(Length::Known(0))),
            (200, now, &[(CL, "9223372036854775807")], Ok(Length::Known(LENGTH_MAX))),
            (200, now, &[(CL, "9223372036854775808")], Err(Ambiguous::Length)),
            (200, now, &[(CL, "5"), (CL, "5")], Ok(Length::Known(5))),
            (200, now, &[(CL, "5, 5")], Ok(Length::Known(5))),
            (200, now, &[(TE, "Chunked")], Ok(Length::Chunked)),
            (204, now, &[(CL, "5")], Ok(Length::Known(0))),
            (304, now, &[(TE, "chunked")], Ok(Length::Known(0))),
            (200, now, &[(CL, "5"), (CL, "6")], Err(Ambiguous::Length)),
            (200, now, &[(CL, "5, 6")], Err(Ambiguous::Length)),
            (200, now, &[(CL, "")], Err(Ambiguous::Length)),
            (200, now, &[(CL, "+5")], Err(Ambiguous::Length)),
            (200, now, &[(CL, "-1")], Err(Ambiguous::Length)),
            (200, now, &[(CL, "0x5")], Err(Ambiguous::Length)),
            (200, now, &[(CL, "18446744073709551616")], Err(Ambiguous::Length)),
            (304, now, &[(CL, "x")], Err(Ambiguous::Length)),
            (200, now, &[(TE, "chunked"), (CL, "5")], Err(Ambiguous::Both)),
            (204, now, &[(TE, "chunked"), (CL, "5")], Err(Ambiguous::Both)),
            (200, now, &[(TE, "gzip, chunked")], Err(Ambiguous::Coding)),
            (200, now, &[(TE, "chunked"), (TE, "chunked")], Err(Ambiguous::Coding)),
            (200, now, &[(TE, "identity")], Err(Ambiguous::Coding)),
            (200, now, &[(TE, "chunked ;a=b")], Err(Ambiguous::Coding)),
            (101, now, &[], Err(Ambiguous::Switch)),
            (200, Version::HTTP_10, &[(TE, "chunked")], Err(Ambiguous::Coding)),
        ] {
            assert_eq!(length(status, version, lines), expected, "{status} {lines:?}");
        }
    }

    #[test]
    fn requests_are_held_to_less() {
        const TE: (&str, &str) = ("transfer-encoding", "chunked");
        let length = |version, lines: &[(&'static str, &'static str)]| {
            let mut fields = HeaderMap::new();
            for (name, value) in lines {
                fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            of_request(version, &fields)
        };
        let now = Version::HTTP_11;
        assert_eq!(length(now, &[]), Ok(Length::Known(0)));
        assert_eq!(length(now, &[("content-length", "007")]), Ok(Length::Known(7)));
        assert_eq!(length(now, &[TE]), Ok(Length::Chunked));
        for value in ["", "5, 5", "5 5", "+5", "5 ;", "9223372036854775808", "18446744073709551616"] {
            assert_eq!(length(now, &[("content-length", value)]), Err(Ambiguous::Length), "{value}");
        }
        let twice = [("content-length", "5"), ("content-length", "5")];
        assert_eq!(length(now, &twice), Err(Ambiguous::Length));
        assert_eq!(length(now, &[TE, ("content-length", "5")]), Err(Ambiguous::Both));
        assert_eq!(length(now, &[TE, TE]), Err(Ambiguous::Coding));
        assert_eq!(length(Version::HTTP_10, &[TE]), Err(Ambiguous::Coding));
    }

    #[test]
    fn an_answer_to_head_has_no_body_whatever_it_says() {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert_eq!(of_answer(true, StatusCode::OK, Version::HTTP_11, &fields), Ok(Length::Known(0)));
    }
}
