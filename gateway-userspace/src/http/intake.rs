//! From a parsed HTTP message to the [`request::Head`](crate::request::Head) that everything else reads.
//!
//! Here a request is brought into its one form, or refused: one host, one path, framing that cannot be read in two
//! ways, and no field that belongs to the connection. Decisions beyond the RFCs:
//!
//! - Fields with an underscore in their name are dropped, as nginx does: upstreams that turn names into variables
//!   cannot tell `X_User_Id` from `X-User-Id`, which the gateway sets.
//! - A trailing dot of the host is dropped, so that `example.com.` finds the routes of `example.com`.
//! - The scheme is how the client reached us, whatever the target says.
//! - `Content-Length` beside `Transfer-Encoding` is refused. On a listener with `http1 = "hyper"` it does not reach this
//!   place: the library drops the length, reads the chunks and closes the connection afterwards (RFC 9112 §6.3). The
//!   upstream gets framing of our own in any case.

use std::net::Ipv6Addr;

use http::request::Parts;
use http::{Method, Uri};

use super::connection::Connection;
use super::hop_by_hop;
use super::rejection::Rejection;
use crate::header::{self, Fields, Name, Value};
use crate::http1::framing;
use crate::request::Scheme;
use crate::request::head::{self, Authority, Head, Version};
use crate::request::path::{self, EncodedSlash};

/// Longest host that is looked at, in bytes (RFC 1035 §2.3.4), port aside.
const HOST_BYTES_MAX: usize = 255;

/// Judges a request and brings it into its one form.
pub fn read(parts: Parts, connection: &Connection) -> Result<Head, Rejection> {
    let Parts { method, uri, version, headers, .. } = parts;
    let version = match version {
        http::Version::HTTP_10 => Version::Http10,
        http::Version::HTTP_11 => Version::Http11,
        http::Version::HTTP_2 => Version::Http2,
        _ => return Err(Rejection::BadFraming),
    };
    let mut fields = Fields::from_raw(headers);
    let framed = check_sizes(&uri, &mut fields, connection)?;
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return Err(Rejection::MethodRefused);
    }
    if framed {
        check_framing(version, &mut fields)?;
    }
    let authority = authority(&uri, version, &mut fields)?;
    let path = normal_path(&method, &uri)?;
    join_cookies(&mut fields);
    hop_by_hop::strip_request(&mut fields);
    let scheme = if connection.is_tls() { Scheme::Https } else { Scheme::Http };
    let head = Head::new(head::Parts { method, scheme, version, authority, target: uri, path, fields });
    if !connection.serves(head.host()) {
        return Err(Rejection::Misdirected);
    }
    Ok(head)
}

/// Length of the target, and bytes and number of fields; drops fields with an underscore on the way. Says whether there
/// is a field that [`check_framing`] is about.
fn check_sizes(uri: &Uri, fields: &mut Fields, connection: &Connection) -> Result<bool, Rejection> {
    let limits = &connection.settings().limits;
    let target_bytes = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > limits.uri_bytes_max {
        return Err(Rejection::UriTooLong);
    }
    let mut bytes = target_bytes;
    let mut framed = false;
    let mut underscores: Vec<Name> = Vec::new();
    for (name, value) in fields.iter() {
        // Four bytes for `: ` and CRLF; in HTTP/2, where a field counts 32 more, the library has its own limit.
        bytes += name.as_str().len() + value.as_bytes().len() + 4;
        framed |= matches!(name.as_str(), "content-length" | "expect" | "transfer-encoding");
        if name.as_str().bytes().any(|byte| byte == b'_') {
            underscores.push(name.clone());
        }
    }
    if bytes > limits.header_bytes_max || fields.len() > limits.header_count_max {
        return Err(Rejection::HeadersTooLarge);
    }
    for name in underscores {
        fields.remove(&name);
    }
    Ok(framed)
}

/// What says where the body ends must have one reading (RFC 9112 §6.3).
fn check_framing(version: Version, fields: &mut Fields) -> Result<(), Rejection> {
    let one_reading = match version {
        Version::Http2 => {
            let length = fields.single(&header::CONTENT_LENGTH);
            // Several equal lengths come through, though no sender of good faith writes them.
            !fields.contains(&header::TRANSFER_ENCODING)
                && (length == Err(0) || length.is_ok_and(|length| content_length(length).is_some()))
        }
        Version::Http11 => framing::of_request(http::Version::HTTP_11, fields.raw()).is_ok(),
        Version::Http10 => framing::of_request(http::Version::HTTP_10, fields.raw()).is_ok(),
    };
    if !one_reading {
        return Err(Rejection::BadFraming);
    }
    if let Some(expect) = fields.get(&header::EXPECT) {
        if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Rejection::ExpectationFailed);
        }
        // `100 Continue` is answered when the body is first read; the upstream is not asked again.
        fields.remove(&header::EXPECT);
    }
    Ok(())
}

/// The value of `Content-Length`: digits only (RFC 9110 §8.6).
pub(super) fn content_length(value: &Value) -> Option<u64> {
    let text = value.to_str()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// The one host of the request (RFC 9112 §3.2): of the field, of the target, or of both if they agree.
fn authority(uri: &Uri, version: Version, fields: &mut Fields) -> Result<Authority, Rejection> {
    let field = match fields.single(&header::HOST) {
        Ok(host) => Some(host.clone()),
        Err(0) => None,
        Err(_) => return Err(Rejection::BadHost),
    };
    fields.remove(&header::HOST);
    let authority = match (uri.authority(), field) {
        (None, None) if version == Version::Http10 => return Ok(Authority::Owned("".into())),
        (None, None) => return Err(Rejection::BadHost),
        (None, Some(field)) => Authority::Field(field),
        (Some(target), None) if version == Version::Http11 => {
            // The absolute form does not replace the field (RFC 9112 §3.2.2).
            let _ = target;
            return Err(Rejection::BadHost);
        }
        (Some(target), None) => Authority::Target(target.clone()),
        (Some(target), Some(field)) => {
            let scheme = uri.scheme_str().unwrap_or("");
            let field_text = field.to_str().ok_or(Rejection::BadHost)?;
            let same = without_default_port(field_text, scheme)
                .eq_ignore_ascii_case(without_default_port(target.as_str(), scheme));
            if !same {
                return Err(Rejection::BadHost);
            }
            Authority::Field(field)
        }
    };
    in_lower_case(authority)
}

/// Checks an authority and brings it into lower case, copying it only if it is not.
fn in_lower_case(authority: Authority) -> Result<Authority, Rejection> {
    let text = authority.as_str();
    let (host, port) = split_port(text).ok_or(Rejection::BadHost)?;
    if !is_host(host) {
        return Err(Rejection::BadHost);
    }
    let dotted = host.ends_with('.');
    if !dotted && !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(authority);
    }
    let mut owned = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if let Some(port) = port {
        owned.push(':');
        owned.push_str(port);
    }
    Ok(Authority::Owned(owned.into_boxed_str()))
}

/// Splits `host[:port]`; `None` when what follows the host is not a port.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let end_of_literal = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[end_of_literal..].find(':') else {
        return Some((authority, None));
    };
    let (host, port) = authority.split_at(end_of_literal + colon);
    let port = &port[1..];
    let is_port =
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_port.then_some((host, Some(port)))
}

/// Whether `host` is a name of letters, digits, `-`, `_` and single dots, or an address.
fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}

fn without_default_port<'a>(authority: &'a str, scheme: &str) -> &'a str {
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(default).unwrap_or(authority)
}

/// The normal form of the path, if it is not in it already.
fn normal_path(method: &Method, uri: &Uri) -> Result<Option<Box<str>>, Rejection> {
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return Err(Rejection::BadTarget);
    }
    match uri.path() {
        "*" if method == Method::OPTIONS => Ok(None),
        raw if raw.starts_with('/') => {
            path::normalise(raw, EncodedSlash::Reject).map_err(|_| Rejection::BadTarget)
        }
        _ => Err(Rejection::BadTarget),
    }
}

/// HTTP/2 may split `Cookie` at its pairs; one field is what everybody else reads (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut Fields) {
    if fields.get_all(&header::COOKIE).nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = fields.get_all(&header::COOKIE).map(Value::as_bytes).collect();
    if let Some(joined) = Value::parse(&crumbs.join(&b"; "[..])) {
        fields.set(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests;
