//! The id of a request: in its answer, its log line and what the upstream gets.
//!
//! A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds since 1970, so that ids sort by time, and 74 random bits. An id
//! that comes with the request is kept only from a trusted proxy; from anybody else it could be somebody else's.

use std::time::{SystemTime, UNIX_EPOCH};

use super::random::{Random, write_hex};
use crate::header::{self, Value};
use crate::request::{Head, RequestId};

/// Longest id that is taken from a trusted proxy, bytes.
pub const BYTES_MAX: usize = 128;

/// The id for a request: the trusted proxy's if there is exactly one and it is well-formed, else a new one.
pub fn for_request(head: &Head, trusted: bool, now: SystemTime, random: &Random) -> RequestId {
    if trusted
        && let Ok(id) = head.fields.single(&header::X_REQUEST_ID)
        && is_acceptable(id.as_bytes())
    {
        return RequestId(id.clone());
    }
    mint(now, random)
}

/// A new id.
pub fn mint(now: SystemTime, random: &Random) -> RequestId {
    let ms = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let (high, low) = (random.bits(), random.bits());
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    bytes[6..8].copy_from_slice(&(0x7000 | (high & 0x0fff) as u16).to_be_bytes());
    bytes[8..].copy_from_slice(&(0x8000_0000_0000_0000 | (low >> 2)).to_be_bytes());
    // One loop for all digits, and fixed places for them: half of what a loop for each group takes.
    let mut digits = [0; 32];
    write_hex(&bytes, &mut digits);
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&digits[..8]);
    text[9..13].copy_from_slice(&digits[8..12]);
    text[14..18].copy_from_slice(&digits[12..16]);
    text[19..23].copy_from_slice(&digits[16..20]);
    text[24..].copy_from_slice(&digits[20..]);
    RequestId(Value::parse(&text).expect("hexadecimal digits and hyphens may stand in a field"))
}

fn is_acceptable(id: &[u8]) -> bool {
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::header::Fields;
    use crate::request::Scheme;
    use crate::request::head::{Authority, Parts, Version};

    fn head(ids: &[&str]) -> Head {
        let mut fields = Fields::default();
        for id in ids {
            fields.add(header::X_REQUEST_ID, Value::parse(id.as_bytes()).expect("a field value"));
        }
        Head::new(Parts {
            method: http::Method::GET,
            scheme: Scheme::Http,
            version: Version::Http11,
            authority: Authority::Owned("a".into()),
            target: http::Uri::from_static("/"),
            path: None,
            fields,
        })
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_with_its_time() {
        let random = Random::new();
        let now = UNIX_EPOCH + Duration::from_millis(0x0199_1234_5678);
        let ids: Vec<String> = (0..100).map(|_| mint(now, &random).as_str().to_owned()).collect();
        for id in &ids {
            assert_eq!(id.len(), 36);
            assert!(id.starts_with("01991234-5678-7"), "{id}");
            assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
            let hyphens: Vec<usize> = id.match_indices('-').map(|(index, _)| index).collect();
            assert_eq!(hyphens, [8, 13, 18, 23]);
        }
        assert_ne!(ids[0], ids[1]);
        let later = mint(now + Duration::from_millis(1), &random);
        assert!(ids.iter().all(|id| id.as_str() < later.as_str()), "ids sort by time");
    }

    #[test]
    fn only_a_trusted_proxy_may_bring_an_id() {
        let random = Random::new();
        let now = SystemTime::now();
        let id = |ids: &[&str], trusted| for_request(&head(ids), trusted, now, &random).as_str().to_owned();
        assert_eq!(id(&["abc-123"], true), "abc-123");
        assert_ne!(id(&["abc-123"], false), "abc-123");
        let long = "x".repeat(BYTES_MAX + 1);
        for bad in [&["a", "b"][..], &[""], &["a b"], &["ä"], &[&long], &[]] {
            assert_eq!(id(bad, true).len(), 36, "{bad:?}");
        }
        assert_eq!(id(&[&long[1..]], true), long[1..]);
    }
}
