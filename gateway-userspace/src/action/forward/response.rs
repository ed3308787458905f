//! The head of an upstream's answer, checked and cleaned.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{StatusCode, Version};

use crate::header::Fields;
use crate::http::hop_by_hop;
use crate::http::rejection::Rejection;
use crate::response::Head;

/// Takes an answer apart, or refuses it.
///
/// hyper has refused malformed lines, lengths that contradict each other and `Transfer-Encoding` in HTTP/1.0 before
/// this. `Content-Length` is kept only where it describes a body that is not sent (`HEAD` and 304).
pub(super) fn accept(mut parts: Parts, without_body: bool) -> Result<Head, Rejection> {
    if !is_unambiguous(&parts) {
        return Err(Rejection::UpstreamInvalid);
    }
    if !without_body && parts.status != StatusCode::NOT_MODIFIED {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let mut fields = Fields::from_raw(parts.headers);
    hop_by_hop::strip_response(&mut fields);
    Ok(Head { status: parts.status.as_u16(), fields })
}

/// Whether there is one way to read where the answer ends. A switch of protocols that nobody asked for has no end at
/// all; a coding besides `chunked`, or a length beside it, is how answers are smuggled (RFC 9112 §6.1, §6.3, §11.1).
fn is_unambiguous(parts: &Parts) -> bool {
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return false;
    }
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            parts.version == Version::HTTP_11
                && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !parts.headers.contains_key(CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    }
}
