//! Answers of a target that was asked by its own name, told in the client's.
//!
//! With `host = "target"` the upstream believes that it is reached at its own authority, and says so in redirects and
//! cookies. What names exactly that authority is given the client's; anything else is somebody else's and stays.

use crate::header::{self, Fields, Name, Value};
use crate::request::Head;
use crate::upstream::config::{Config, HostHeader, Target};

const CONTENT_LOCATION: Name = Name::from_static("content-location");

/// How the client sees the gateway.
pub(super) struct Reverse {
    scheme: &'static str,
    authority: Box<str>,
    host: Box<str>,
}

impl Reverse {
    /// `None` when there is nothing to turn back.
    pub(super) fn of(head: &Head, config: &Config) -> Option<Reverse> {
        (config.host == HostHeader::Target && !head.authority().is_empty()).then(|| Reverse {
            scheme: head.scheme().as_str(),
            authority: head.authority().into(),
            host: head.host().into(),
        })
    }

    /// Rewrites `Location`, `Content-Location` and the `Domain` of cookies.
    pub(super) fn apply(&self, fields: &mut Fields, target: &Target) {
        for name in [header::LOCATION, CONTENT_LOCATION] {
            let rewritten =
                fields.get(&name).and_then(Value::to_str).and_then(|text| self.location(text, target));
            if let Some(value) = rewritten.and_then(|text| Value::parse(text.as_bytes())) {
                fields.set(name, value);
            }
        }
        if fields.contains(&header::SET_COOKIE) {
            self.cookies(fields, target);
        }
    }

    /// The location in the client's terms, if it names the target: with its scheme, or none (`//host/path`).
    fn location(&self, location: &str, target: &Target) -> Option<String> {
        let (scheme, rest) = location.split_once("//")?;
        let scheme = scheme.strip_suffix(':').unwrap_or(scheme);
        if !(scheme.is_empty() || scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        names_target(scheme, authority, target).then(|| format!("{}://{}{path}", self.scheme, self.authority))
    }

    fn cookies(&self, fields: &mut Fields, target: &Target) {
        let cookies: Vec<Value> = fields
            .get_all(&header::SET_COOKIE)
            .map(|cookie| self.cookie(cookie, target).unwrap_or_else(|| cookie.clone()))
            .collect();
        fields.remove(&header::SET_COOKIE);
        for cookie in cookies {
            fields.add(header::SET_COOKIE, cookie);
        }
    }

    /// The cookie with its `Domain` turned, if that is the target's host. A client that uses an address gets a cookie
    /// without `Domain`, because none may be an address (RFC 6265 §5.1.3).
    fn cookie(&self, cookie: &Value, target: &Target) -> Option<Value> {
        let text = cookie.to_str()?;
        let (start, end, domain) = domain_attribute(text)?;
        if !domain.eq_ignore_ascii_case(&target.host) {
            return None;
        }
        let is_address = self.host.starts_with('[') || self.host.parse::<std::net::Ipv4Addr>().is_ok();
        let attribute = if is_address { String::new() } else { format!("; Domain={}", self.host) };
        Value::parse(format!("{}{attribute}{}", &text[..start], &text[end..]).as_bytes())
    }
}

/// Where `; Domain=…` stands in a cookie, and its value without a leading dot.
fn domain_attribute(cookie: &str) -> Option<(usize, usize, &str)> {
    let mut start = cookie.find(';')?;
    loop {
        let end = cookie[start + 1..].find(';').map_or(cookie.len(), |next| start + 1 + next);
        if let Some((name, value)) = cookie[start + 1..end].split_once('=')
            && name.trim().eq_ignore_ascii_case("domain")
        {
            return Some((start, end, value.trim().trim_start_matches('.')));
        }
        if end == cookie.len() {
            return None;
        }
        start = end;
    }
}

/// Whether `authority` is the target's, its port being the scheme's own where it names none.
fn names_target(scheme: &str, authority: &str, target: &Target) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ if scheme.eq_ignore_ascii_case("https") => (authority, Some(443)),
        _ if scheme.is_empty() && target.tls => (authority, Some(443)),
        _ => (authority, Some(80)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case(&target.host) && port == Some(target.port)
}
