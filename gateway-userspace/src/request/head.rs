//! The head of a request: one view for router, policies, cache, log and upstream.
//!
//! The path in it is already normalised (once, before anything reads it), and the host is lower case without its
//! port, so that every reader sees the same bytes.

use super::{Summary, cookie, query};
use crate::header::{COOKIE, Fields, Value};

/// How the client reached the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `"http"` or `"https"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The version that the client spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// `"1.0"`, `"1.1"` or `"2"`, as OpenTelemetry's `network.protocol.version` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }
}

/// Method, target and header fields of a request.
///
/// Nothing is copied in the common case: the path is a slice of the target as it came unless normalising changed it,
/// and the authority is the `Host` field's own value unless it held upper-case letters.
#[derive(Debug)]
pub struct Head {
    method: http::Method,
    scheme: Scheme,
    version: Version,
    authority: Authority,
    host_length: usize,
    target: http::Uri,
    /// The normalised path where it differs from the target's.
    path: Option<Box<str>>,
    /// The query where something was removed from it; empty: none.
    query: Option<Box<str>>,
    /// Header fields, without `Host`, which is in the authority.
    pub fields: Fields,
}

/// `host[:port]`, already in lower case.
#[derive(Debug, Clone)]
pub enum Authority {
    /// The value of the `Host` field.
    Field(Value),
    /// The authority of the target (HTTP/2's `:authority`, or HTTP/1.1's absolute form).
    Target(http::uri::Authority),
    /// A lower-cased copy.
    Owned(Box<str>),
}

impl Authority {
    /// `host[:port]`.
    pub fn as_str(&self) -> &str {
        match self {
            Authority::Field(value) => value.to_str().unwrap_or(""),
            Authority::Target(authority) => authority.as_str(),
            Authority::Owned(text) => text,
        }
    }
}

/// What a [`Head`] is made from; built by the message layer only.
pub struct Parts {
    /// The method.
    pub(crate) method: http::Method,
    /// How the client reached us.
    pub scheme: Scheme,
    /// What the client spoke.
    pub version: Version,
    /// Validated and in lower case.
    pub authority: Authority,
    /// The target as it came.
    pub(crate) target: http::Uri,
    /// Normalised path where it differs from the target's.
    pub path: Option<Box<str>>,
    /// Header fields without `Host`.
    pub fields: Fields,
}

impl Head {
    /// Assembles a head; the parts must already be validated and normalised.
    pub fn new(parts: Parts) -> Head {
        let Parts { method, scheme, version, authority, target, path, fields } = parts;
        let host_length = host_length(authority.as_str());
        Head { method, scheme, version, authority, host_length, target, path, query: None, fields }
    }

    /// The method as sent (methods are case-sensitive, RFC 9110 §9.1).
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// How the client reached the listener.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The version that the client spoke.
    pub fn version(&self) -> Version {
        self.version
    }

    /// `host[:port]` in lower case; empty for an HTTP/1.0 request without `Host`.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The authority as a field value, without copying it where that is possible.
    pub(crate) fn authority_value(&self) -> Value {
        match &self.authority {
            Authority::Field(value) => value.clone(),
            other => Value::parse(other.as_str().as_bytes()).unwrap_or_else(|| Value::from_static("")),
        }
    }

    /// The host alone, in lower case; brackets kept around an IPv6 literal.
    pub fn host(&self) -> &str {
        &self.authority.as_str()[..self.host_length]
    }

    /// The port that the client named, if it did.
    pub fn port(&self) -> Option<u16> {
        self.authority.as_str()[self.host_length..].strip_prefix(':')?.parse().ok()
    }

    /// The normalised path, beginning with `/` (or `*` for `OPTIONS *`).
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.target.path())
    }

    /// The query without `?`, as sent, less what was removed.
    pub fn query(&self) -> Option<&str> {
        match &self.query {
            Some(edited) => (!edited.is_empty()).then_some(edited),
            None => self.target.query(),
        }
    }

    /// The value of a query parameter, first occurrence, as sent (not percent-decoded).
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        self.query_parameters(name).next()
    }

    /// The values of all query parameters whose name, percent-decoded, is `name`, as sent.
    pub fn query_parameters(&self, name: &str) -> impl Iterator<Item = &str> {
        let pairs = self.query().into_iter().flat_map(query::pairs);
        pairs.filter(move |(sent, _)| query::is_named(sent, name)).map(|(_, value)| value)
    }

    /// Removes all query parameters of this name; allocates only when there are any.
    pub fn remove_query_parameter(&mut self, name: &str) {
        if self.query_parameters(name).next().is_some() {
            self.query = self.query().and_then(|query| query::without(query, name));
        }
    }

    /// The value of a cookie, first occurrence (RFC 6265 §5.4: pairs separated by `; `), if it is text.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all cookies of this name.
    pub fn cookies(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.get_all(&COOKIE).flat_map(move |line| cookie::values(line.as_bytes(), name))
    }

    /// Removes all cookies of this name, and `Cookie` fields that hold no other.
    pub fn remove_cookie(&mut self, name: &str) {
        if self.cookies(name).next().is_none() {
            return;
        }
        let lines: Vec<Value> =
            self.fields.get_all(&COOKIE).filter_map(|line| without_cookie(line, name)).collect();
        self.fields.remove(&COOKIE);
        for line in lines {
            self.fields.add(COOKIE, line);
        }
    }

    /// What is needed of the head after it has gone upstream.
    pub fn summary(&self) -> Summary {
        Summary::of(self, &self.method, &self.target, self.path.as_deref(), &self.authority)
    }

    pub(crate) fn raw_method(&self) -> &http::Method {
        &self.method
    }

    /// The authority as a field value, without copying it where it came as one; `None` when it is empty.
    pub(crate) fn raw_authority(&self) -> Option<http::HeaderValue> {
        match &self.authority {
            Authority::Field(value) => Some(value.clone().into_raw()),
            Authority::Target(authority) => http::HeaderValue::from_str(authority.as_str()).ok(),
            Authority::Owned(text) => http::HeaderValue::from_str(text).ok(),
        }
        .filter(|value| !value.is_empty())
    }

    /// Path and query in one, without copying them where both are as they came.
    pub(crate) fn raw_path_and_query(&self) -> Option<http::uri::PathAndQuery> {
        if self.path.is_none() && self.query.is_none() {
            return self.target.path_and_query().cloned();
        }
        match self.query() {
            Some(query) => format!("{}?{query}", self.path()).parse().ok(),
            None => self.path().parse().ok(),
        }
    }
}

/// The field value without a cookie; `None` when nothing is left.
fn without_cookie(line: &Value, name: &str) -> Option<Value> {
    match cookie::without(line.as_bytes(), name) {
        None => Some(line.clone()),
        Some(rest) if rest.is_empty() => None,
        Some(rest) => Value::parse(&rest),
    }
}

/// Length of the host in `host[:port]`; an IPv6 literal keeps its brackets.
fn host_length(authority: &str) -> usize {
    let after_literal = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    authority[after_literal..].find(':').map_or(authority.len(), |colon| after_literal + colon)
}

#[cfg(test)]
mod tests {
    use super::host_length;
    use crate::header::COOKIE;
    use crate::request::sample;

    #[test]
    fn the_host_ends_before_the_port_and_keeps_the_brackets_of_a_literal() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("example.com:8443", "example.com"),
            ("[::1]", "[::1]"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(&authority[..host_length(authority)], host, "{authority}");
        }
    }

    #[test]
    fn a_removed_query_parameter_leaves_the_rest_as_it_was_sent() {
        let mut head = sample::head("/x?a=%41&key=1&b&k%65y=2", &[]);
        assert_eq!(head.query_parameters("key").collect::<Vec<_>>(), ["1", "2"]);
        head.remove_query_parameter("other");
        assert_eq!(head.query(), Some("a=%41&key=1&b&k%65y=2"));
        head.remove_query_parameter("key");
        assert_eq!((head.path(), head.query()), ("/x", Some("a=%41&b")));
        head.remove_query_parameter("a");
        head.remove_query_parameter("b");
        assert_eq!(head.query(), None);
        assert_eq!(head.query_parameter("key"), None);
    }

    #[test]
    fn a_removed_cookie_leaves_the_others() {
        let mut head = sample::head("/", &[("cookie", "a=1; key=x"), ("cookie", "key=y"), ("cookie", "b=2")]);
        assert_eq!(head.cookies("key").collect::<Vec<_>>(), [b"x", b"y"]);
        assert_eq!(head.cookie("key"), Some("x"));
        head.remove_cookie("key");
        let lines: Vec<_> = head.fields.get_all(&COOKIE).filter_map(|value| value.to_str()).collect();
        assert_eq!(lines, ["a=1", "b=2"]);
    }
}
