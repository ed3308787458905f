//! The head of an upstream's answer, checked and cleaned.

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http::response::Parts;

use crate::header::Fields;
use crate::http::hop_by_hop;
use crate::http::rejection::Rejection;
use crate::response::Head;

/// Takes an answer apart, or refuses it.
///
/// Malformed lines, and framing that can be read in more than one way, have been refused before this.
/// `Content-Length` is kept only where it describes a body that is not sent (`HEAD` and 304).
pub(super) fn accept(mut parts: Parts, without_body: bool) -> Result<Head, Rejection> {
    // Not in HTTP/2 at all (RFC 9113 §8.6), and in HTTP/1 only if it was asked for.
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Rejection::UpstreamInvalid);
    }
    if !without_body && parts.status != StatusCode::NOT_MODIFIED {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let mut fields = Fields::from_raw(parts.headers);
    hop_by_hop::strip_response(&mut fields);
    Ok(Head { status: parts.status.as_u16(), fields })
}
