//! From the text of a `match` to a [`Pattern`].
//!
//! ```text
//! pattern  = [ methods " " ] [ host ] path
//! methods  = METHOD *( "," METHOD )
//! host     = name | "*." name | "[" IPv6 "]"            no port: listeners choose ports
//! path     = "/" | 1*( "/" segment ) [ "/*" | "/{" name "+}" ]
//! segment  = literal | "{" name [ ":" ( "int" | "uuid" ) ] "}"
//! ```
//!
//! Literals are brought to the normal form that request paths are brought to: unreserved characters decoded, other
//! percent-encodings in upper case (RFC 3986 §6.2.2), bytes outside ASCII encoded. A trailing slash is kept as an empty
//! last literal, since `/a` and `/a/` are two paths. What a normalised request path can never hold (`//`, `.`, `..`,
//! `?`, `#`) is refused, because such a route would never be reached.

use std::ops::Range;
use std::sync::Arc;

use super::{HostPattern, Kind, PathPattern, Pattern, PatternError, Segment, Tail};
use crate::request::path::{self, EncodedSlash};

/// Most segments of a pattern.
const SEGMENTS_MAX: usize = 64;

impl Pattern {
    /// Parses a `match`; an error says which bytes of `text` are wrong and what to write.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let slash = text.find('/').ok_or_else(|| {
            fault(0..text.len(), "a match needs a path", format!("add one: `{}/*`", text.trim_end()))
        })?;
        let (before, path) = (&text[..slash], &text[slash..]);
        let (methods, host, host_start) = match before.rfind(' ') {
            Some(space) => (methods(&before[..space])?, &before[space + 1..], space + 1),
            None => (Vec::new(), before, 0),
        };
        Ok(Pattern { methods, host: parse_host(host, host_start)?, path: parse_path(path, slash)? })
    }
}

fn fault(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> PatternError {
    PatternError { span, message: message.into(), help: help.into() }
}

fn methods(text: &str) -> Result<Vec<Box<str>>, PatternError> {
    let mut found: Vec<Box<str>> = Vec::new();
    let mut start = 0;
    for method in text.split(',') {
        let span = start..start + method.len();
        start = span.end + 1;
        if method.is_empty() || method.contains(char::is_whitespace) {
            let help = "methods are separated by commas only, and one space stands before the host or path: \
                        `GET,POST /users`";
            return Err(fault(span, "this is not a list of methods", help));
        }
        // RFC 9110 §9.1: methods are case-sensitive; every method of the registry is upper-case letters and `-`.
        if !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            let help = format!("methods are written in upper case: `{}`", method.to_ascii_uppercase());
            return Err(fault(span, format!("`{method}` is not a method"), help));
        }
        if matches!(method, "CONNECT" | "TRACE") {
            return Err(fault(span, format!("`{method}` is never forwarded"), "leave it out"));
        }
        if !found.iter().any(|other| **other == *method) {
            found.push(method.into());
        }
    }
    found.sort();
    Ok(found)
}

fn parse_host(host: &str, start: usize) -> Result<HostPattern, PatternError> {
    let span = start..start + host.len();
    if host.is_empty() {
        return Ok(HostPattern::Any);
    }
    if host == "*" {
        return Err(fault(span, "`*` is not a host", "for any host leave it out: `/users/*`"));
    }
    if let Some(rest) = host.strip_prefix('[') {
        let Some(address) = rest.strip_suffix(']') else {
            return Err(fault(span, "a host has no port here", "ports belong to `[listen.NAME] address`"));
        };
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(address) => Ok(HostPattern::Exact(format!("[{address}]").into())),
            Err(_) => Err(fault(span, "this is not an IPv6 address", "for example `[2001:db8::1]/users`")),
        };
    }
    if let Some((name, _)) = host.split_once(':') {
        let help = format!("ports belong to `[listen.NAME] address`; write `{name}`");
        return Err(fault(span, "a host has no port here", help));
    }
    let (wildcard, name) = match host.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, host),
    };
    if name.contains('*') {
        let help = "a wildcard stands only at the beginning and for whole labels: `*.example.com`";
        return Err(fault(span, "this wildcard is not possible", help));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.is_ascii() {
        let help = "write internationalised names in their ASCII form (`xn--…`), which is what clients send";
        return Err(fault(span, "a host is written in ASCII", help));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(fault(span, format!("`{host}` is not a host"), "for example `api.example.com/users/*`"));
    }
    let name = name.to_ascii_lowercase().into();
    Ok(if wildcard { HostPattern::Wildcard(name) } else { HostPattern::Exact(name) })
}

fn parse_path(path: &str, start: usize) -> Result<PathPattern, PatternError> {
    let mut pattern = PathPattern { segments: Vec::new(), tail: Tail::End, text: Arc::from(path) };
    if path == "/" {
        return Ok(pattern);
    }
    let mut at = start + 1;
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let span = at..at + segment.len();
        at = span.end + 1;
        let last = segments.peek().is_none();
        if pattern.segments.len() == SEGMENTS_MAX {
            return Err(fault(
                span,
                format!("more than {SEGMENTS_MAX} segments"),
                "match a prefix with `/*`",
            ));
        }
        if segment == "*" {
            if !last {
                let help = "for one segment write `{name}`; `/*` stands only at the end";
                return Err(fault(span, "`*` stands in the middle of a path", help));
            }
            pattern.tail = Tail::Prefix;
        } else if segment.contains(['{', '}']) {
            let (name, rest, kind) = parameter(segment, &span)?;
            if rest && !last {
                let help = "for one segment write `{name}`; `{name+}` stands only at the end";
                return Err(fault(span, "`{name+}` stands in the middle of a path", help));
            }
            let taken =
                |segment: &Segment| matches!(segment, Segment::Parameter(other, _) if **other == *name);
            if pattern.segments.iter().any(taken) {
                return Err(fault(span, format!("`{{{name}}}` stands twice"), "give each its own name"));
            }
            match rest {
                true => pattern.tail = Tail::Rest(name.into()),
                false => pattern.segments.push(Segment::Parameter(name.into(), kind)),
            }
        } else {
            pattern.segments.push(Segment::Literal(literal(segment, span, last)?));
        }
    }
    Ok(pattern)
}

/// Name, whether it takes all that remains, and what it may be.
fn parameter<'t>(segment: &'t str, span: &Range<usize>) -> Result<(&'t str, bool, Kind), PatternError> {
    let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner.filter(|inner| !inner.contains(['{', '}'])) else {
        let help = "a parameter is a whole segment: `/users/{id}/orders`";
        return Err(fault(span.clone(), format!("`{segment}` is not a segment"), help));
    };
    let (inner, kind) = match inner.split_once(':') {
        None => (inner, Kind::Any),
        Some((inner, kind)) => {
            let known = Kind::NAMED.iter().find(|(name, _)| *name == kind);
            let Some((_, kind)) = known else {
                let help = "a parameter is `{name}`, `{name:int}` or `{name:uuid}`";
                return Err(fault(span.clone(), format!("`{kind}` is not a kind of parameter"), help));
            };
            (inner, *kind)
        }
    };
    let (name, rest) = match inner.strip_suffix('+') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if rest && kind != Kind::Any {
        let help = "a kind is of one segment; what remains of a path has none: `{name+}`";
        return Err(fault(span.clone(), format!("`{segment}` has a kind"), help));
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || !name.bytes().all(valid) {
        let help = "a parameter's name is letters, digits, `_` and `-`: `{id}`";
        return Err(fault(span.clone(), format!("`{segment}` has no valid name"), help));
    }
    Ok((name, rest, kind))
}

/// A literal in normal form.
fn literal(segment: &str, span: Range<usize>, last: bool) -> Result<Box<str>, PatternError> {
    if segment.is_empty() && !last {
        let help = "request paths are normalised first, so that `//` never reaches a route: write one slash";
        return Err(fault(span.start.saturating_sub(1)..span.end + 1, "an empty segment", help));
    }
    // Nearly all segments are letters and digits, which the normal form leaves as they are.
    if segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Ok(segment.into());
    }
    let normal = normalise(segment, &span)?;
    if normal == "." || normal == ".." {
        let help = "request paths are normalised first, so that dot segments never reach a route";
        return Err(fault(span, format!("`{segment}` is a dot segment"), help));
    }
    // What the form of request paths refuses or writes differently would be a route that nothing reaches.
    if path::normalise(&["/", &normal].concat(), EncodedSlash::Keep) != Ok(None) {
        let help = "requests with such a segment are refused before they are routed";
        return Err(fault(span, format!("no request has the segment `{segment}`"), help));
    }
    Ok(normal.into())
}

fn normalise(segment: &str, span: &Range<usize>) -> Result<String, PatternError> {
    let bytes = segment.as_bytes();
    let mut normal = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3).and_then(|two| {
                    Some((two[0] as char).to_digit(16)? as u8 * 16 + (two[1] as char).to_digit(16)? as u8)
                });
                let Some(decoded) = digits else {
                    let here = span.start + at..span.end.min(span.start + at + 3);
                    return Err(fault(
                        here,
                        "not a percent-encoding",
                        "two digits follow `%`; `%` itself is `%25`",
                    ));
                };
                match decoded {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        normal.push(decoded as char)
                    }
                    _ => normal.push_str(&format!("%{decoded:02X}")),
                }
                at += 3;
                continue;
            }
            b'*' => {
                let here = span.start + at..span.start + at + 1;
                let help =
                    "`*` stands alone in the last segment: `/v1/*`; for the character itself write `%2A`";
                return Err(fault(here, "`*` within a segment", help));
            }
            b'?' | b'#' => {
                let here = span.start + at..span.end;
                return Err(fault(here, "a match has no query and no fragment", "leave them out"));
            }
            b' ' | 0..=0x1f | 0x7f | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|' | b'[' | b']' => {
                let here = span.start + at..span.start + at + 1;
                let help = format!("write it percent-encoded: `%{byte:02X}`");
                return Err(fault(here, "this character cannot stand in a path", help));
            }
            0x80.. => normal.push_str(&format!("%{byte:02X}")),
            _ => normal.push(byte as char),
        }
        at += 1;
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.into())
    }

    fn parse(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn methods_host_and_path_are_told_apart() {
        let pattern = parse("POST,GET,GET api.Example.com/v1/users/*");
        assert_eq!(pattern.methods, ["GET".into(), "POST".into()] as [Box<str>; 2]);
        assert_eq!(pattern.host, HostPattern::Exact("api.example.com".into()));
        assert_eq!(pattern.path.segments, [literal("v1"), literal("users")]);
        assert_eq!(pattern.path.tail, Tail::Prefix);
        assert_eq!(&*pattern.path.text, "/v1/users/*");
    }

    #[test]
    fn wildcard_hosts_parameters_and_rests_are_understood() {
        let pattern = parse("*.example.com/u/{id}/{rest+}");
        assert_eq!(pattern.host, HostPattern::Wildcard("example.com".into()));
        assert_eq!(pattern.path.segments, [literal("u"), Segment::Parameter("id".into(), Kind::Any)]);
        let typed = parse("/{n:int}/{u:uuid}").path.segments;
        assert_eq!(
            typed,
            [Segment::Parameter("n".into(), Kind::Int), Segment::Parameter("u".into(), Kind::Uuid)]
        );
        assert_eq!(pattern.path.tail, Tail::Rest("rest".into()));
        assert_eq!(parse("[2001:DB8::1]/").host, HostPattern::Exact("[2001:db8::1]".into()));
        assert_eq!(parse("/").path.segments, []);
        assert_eq!(parse("/*").path, PathPattern { segments: vec![], tail: Tail::Prefix, text: "/*".into() });
        assert_eq!(parse("/a/").path.segments, [literal("a"), literal("")]);
    }

    #[test]
    fn literals_are_brought_to_the_normal_form_of_request_paths() {
        assert_eq!(
            parse("/%7euser/a%2fb/caf\u{e9}/%41").path.segments,
            [literal("~user"), literal("a%2Fb"), literal("caf%C3%A9"), literal("A"),]
        );
    }

    #[test]
    fn every_fault_points_at_its_bytes() {
        let cases: &[(&str, &str, &str)] = &[
            ("api.example.com", "api.example.com", "a match needs a path"),
            ("", "", "a match needs a path"),
            ("get /x", "get", "`get` is not a method"),
            ("GET, POST /x", " POST", "this is not a list of methods"),
            ("TRACE /x", "TRACE", "`TRACE` is never forwarded"),
            ("GET */x", "*", "`*` is not a host"),
            ("a.example.com:8080/x", "a.example.com:8080", "a host has no port here"),
            ("api.*.com/x", "api.*.com", "this wildcard is not possible"),
            ("a..b/x", "a..b", "`a..b` is not a host"),
            ("/a//b", "//", "an empty segment"),
            ("/a/../b", "..", "`..` is a dot segment"),
            ("/a/%2e%2E/b", "%2e%2E", "`%2e%2E` is a dot segment"),
            ("/a/*/b", "*", "`*` stands in the middle of a path"),
            ("/a*", "*", "`*` within a segment"),
            ("/a/{x+}/b", "{x+}", "`{name+}` stands in the middle of a path"),
            ("/a/u{x}", "u{x}", "`u{x}` is not a segment"),
            ("/a/{}", "{}", "`{}` has no valid name"),
            ("/{a}/{a}", "{a}", "`{a}` stands twice"),
            ("/a/{x:hex}", "{x:hex}", "`hex` is not a kind of parameter"),
            ("/a/{x+:int}", "{x+:int}", "`{x+:int}` has a kind"),
            ("/a%2", "%2", "not a percent-encoding"),
            ("/a[0]", "[", "this character cannot stand in a path"),
            ("/a%00/b", "a%00", "no request has the segment `a%00`"),
            ("/a/..;x", "..;x", "no request has the segment `..;x`"),
            ("/a?b=c", "?b=c", "a match has no query and no fragment"),
        ];
        for (text, bytes, message) in cases {
            let error = Pattern::parse(text).expect_err(text);
            assert_eq!((&text[error.span.clone()], error.message.as_str()), (*bytes, *message), "{text}");
            assert!(!error.help.is_empty(), "{text}");
        }
    }
}
