//! Answers of a target that was asked by other names, told in the client's.
//!
//! With `host = "target"` the upstream believes that it is reached at its own authority, and behind `replace-prefix`
//! that its paths are the client's; it says so in redirects and cookies. What names exactly that authority, or a path of
//! it, is given the client's; anything else is somebody else's and stays.

use std::borrow::Cow;

use super::prefix::{Mapping, WayBack};
use crate::header::{self, Fields, Name, Value};
use crate::request::Head;
use crate::upstream::config::{Config, HostHeader, Target};

const CONTENT_LOCATION: Name = Name::from_static("content-location");

/// How the client sees the gateway.
pub(super) struct Reverse {
    naming: Naming,
    way_back: Option<WayBack>,
}

/// By which name the upstream was asked.
enum Naming {
    /// Its own; the client used these.
    Target { scheme: &'static str, authority: Box<str>, host: Box<str> },
    /// The client's, or one that is fixed.
    Client(Option<http::HeaderValue>),
}

impl Reverse {
    /// `None` when there is nothing to turn back.
    pub(super) fn of(head: &Head, config: &Config, mapping: Option<Mapping<'_>>) -> Option<Reverse> {
        let by_target = config.host == HostHeader::Target && !head.authority().is_empty();
        let naming = match (by_target, mapping.is_some()) {
            (true, _) => Naming::Target {
                scheme: head.scheme().as_str(),
                authority: head.authority().into(),
                host: head.host().into(),
            },
            (false, true) => Naming::Client(head.raw_authority()),
            (false, false) => return None,
        };
        Some(Reverse { naming, way_back: mapping.as_ref().map(Mapping::way_back) })
    }

    /// Rewrites `Location`, `Content-Location` and the `Domain` and `Path` of cookies.
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

    /// The location in the client's terms, if it names the target: with its scheme, or none (`//host/path`), or as a
    /// path alone.
    fn location(&self, location: &str, target: &Target) -> Option<String> {
        if location.starts_with('/') && !location.starts_with("//") {
            return self.way_back.as_ref()?.back(location);
        }
        let (scheme, rest) = location.split_once("//")?;
        let scheme = scheme.strip_suffix(':').unwrap_or(scheme);
        if !(scheme.is_empty() || scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let mapped = self.way_back.as_ref().and_then(|way_back| way_back.back(path));
        match &self.naming {
            Naming::Target { scheme: clients, authority: client, .. } => {
                let path = mapped.as_deref().unwrap_or(path);
                names_target(scheme, authority, target).then(|| format!("{clients}://{client}{path}"))
            }
            Naming::Client(client) => {
                let client = client.as_ref()?.to_str().ok()?;
                let own = authority.eq_ignore_ascii_case(client);
                let begin = &location[..location.len() - path.len()];
                own.then(|| Some(format!("{begin}{}", mapped?)))?
            }
        }
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

    /// The cookie with its `Domain` and `Path` turned, if these are the target's. A client that uses an address gets a
    /// cookie without `Domain`, because none may be an address (RFC 6265 §5.1.3).
    fn cookie(&self, cookie: &Value, target: &Target) -> Option<Value> {
        let text = cookie.to_str()?;
        let mut turned = Cow::Borrowed(text);
        if let Naming::Target { host, .. } = &self.naming
            && let Some((start, end, domain)) = attribute(text, "domain")
            && domain.trim_start_matches('.').eq_ignore_ascii_case(&target.host)
        {
            let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
            let attribute = if is_address { String::new() } else { format!("; Domain={host}") };
            turned = Cow::Owned(format!("{}{attribute}{}", &text[..start], &text[end..]));
        }
        if let Some(way_back) = &self.way_back
            && let Some((start, end, path)) = attribute(&turned, "path")
            && let Some(mapped) = way_back.cookie_path(path)
        {
            turned = Cow::Owned(format!("{}; Path={mapped}{}", &turned[..start], &turned[end..]));
        }
        match turned {
            Cow::Borrowed(_) => None,
            Cow::Owned(turned) => Value::parse(turned.as_bytes()),
        }
    }
}

/// Where `; NAME=…` stands in a cookie, and its value.
fn attribute<'c>(cookie: &'c str, wanted: &str) -> Option<(usize, usize, &'c str)> {
    let mut start = cookie.find(';')?;
    loop {
        let end = cookie[start + 1..].find(';').map_or(cookie.len(), |next| start + 1 + next);
        if let Some((name, value)) = cookie[start + 1..end].split_once('=')
            && name.trim().eq_ignore_ascii_case(wanted)
        {
            return Some((start, end, value.trim()));
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
