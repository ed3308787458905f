//! Header names and values as the gateway sees them.
//!
//! Policies, routes, cache and log use these two types and never the HTTP library's, so that a message layer of our
//! own can stand behind the same view later. They cost nothing: both are the library's types in a new coat.

use std::fmt;

/// A header field name, always lower case (RFC 9110 §5.1: names are case-insensitive).
#[derive(Clone, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Name(http::HeaderName);

impl Name {
    /// A name known at compile time. Panics when `name` is not a lower-case token.
    pub const fn from_static(name: &'static str) -> Name {
        Name(http::HeaderName::from_static(name))
    }

    /// Parses a name in any case; `None` when it is not a token (RFC 9110 §5.6.2).
    pub fn parse(name: &str) -> Option<Name> {
        http::HeaderName::from_bytes(name.as_bytes()).ok().map(Name)
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn raw(&self) -> &http::HeaderName {
        &self.0
    }

    pub(crate) fn from_raw_ref(raw: &http::HeaderName) -> &Name {
        // SAFETY: `Name` is `repr(transparent)` over `http::HeaderName`, and the lifetime is carried over.
        unsafe { &*std::ptr::from_ref(raw).cast::<Name>() }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A header field value: bytes without CR, LF or NUL, so it can never start a header of its own.
#[derive(Clone, PartialEq, Eq)]
#[repr(transparent)]
pub struct Value(http::HeaderValue);

impl Value {
    /// A value known at compile time. Panics when it holds a byte that is not visible ASCII, space or tab.
    pub const fn from_static(value: &'static str) -> Value {
        Value(http::HeaderValue::from_static(value))
    }

    /// Takes any bytes that may stand in a field value (RFC 9110 §5.5); `None` for CR, LF, NUL and other controls.
    pub fn parse(value: &[u8]) -> Option<Value> {
        http::HeaderValue::from_bytes(value).ok().map(Value)
    }

    /// The value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The value as text; `None` when it holds bytes outside visible ASCII.
    pub fn to_str(&self) -> Option<&str> {
        self.0.to_str().ok()
    }

    /// The same value, which does not show when it is printed for debugging.
    pub fn kept_secret(mut self) -> Value {
        self.0.set_sensitive(true);
        self
    }

    pub(crate) fn raw(&self) -> &http::HeaderValue {
        &self.0
    }

    pub(crate) fn from_raw_ref(raw: &http::HeaderValue) -> &Value {
        // SAFETY: `Value` is `repr(transparent)` over `http::HeaderValue`, and the lifetime is carried over.
        unsafe { &*std::ptr::from_ref(raw).cast::<Value>() }
    }

    pub(crate) fn into_raw(self) -> http::HeaderValue {
        self.0
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value(http::HeaderValue::from(number))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The header fields of one message, in order of arrival, several values to a name allowed.
#[derive(Default, Debug)]
pub struct Fields(http::HeaderMap);

impl Fields {
    /// The first value of `name`.
    #[inline]
    pub fn get(&self, name: &Name) -> Option<&Value> {
        self.0.get(name.raw()).map(Value::from_raw_ref)
    }

    /// All values of `name`, in order.
    pub fn get_all<'f>(&'f self, name: &Name) -> impl DoubleEndedIterator<Item = &'f Value> + use<'f> {
        self.0.get_all(name.raw()).iter().map(Value::from_raw_ref)
    }

    /// The value of `name` if there is exactly one: `Err(count)` says how many there were instead.
    pub fn single(&self, name: &Name) -> Result<&Value, usize> {
        let mut values = self.0.get_all(name.raw()).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(Value::from_raw_ref(value)),
            (None, _) => Err(0),
            (Some(_), Some(_)) => Err(2 + values.count()),
        }
    }

    /// Whether `name` is present.
    pub fn contains(&self, name: &Name) -> bool {
        self.0.contains_key(name.raw())
    }

    /// Replaces all values of `name` by one.
    pub fn set(&mut self, name: Name, value: Value) {
        self.0.insert(name.0, value.0);
    }

    /// Adds a value of `name` after those that are there.
    pub fn add(&mut self, name: Name, value: Value) {
        self.0.append(name.0, value.0);
    }

    /// Removes all values of `name`; says whether there were any.
    pub fn remove(&mut self, name: &Name) -> bool {
        self.0.remove(name.raw()).is_some()
    }

    /// Every (name, value) pair.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Value)> {
        self.0.iter().map(|(name, value)| (Name::from_raw_ref(name), Value::from_raw_ref(value)))
    }

    /// How many values there are, counting each value of a repeated name.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes room for `more` fields at once, where so many are about to be added.
    pub(crate) fn reserve(&mut self, more: usize) {
        // Without room for that many, adding them fails where it would have failed anyway.
        let _ = self.0.try_reserve(more);
    }

    pub(crate) fn from_raw(raw: http::HeaderMap) -> Fields {
        Fields(raw)
    }

    pub(crate) fn into_raw(self) -> http::HeaderMap {
        self.0
    }

    pub(crate) fn raw(&self) -> &http::HeaderMap {
        &self.0
    }
}

macro_rules! names {
    ($($constant:ident = $name:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $constant: Name = Name::from_static($name);)*
    };
}

names! {
    ACCEPT = "accept";
    ACCESS_CONTROL_ALLOW_CREDENTIALS = "access-control-allow-credentials";
    ACCESS_CONTROL_ALLOW_ORIGIN = "access-control-allow-origin";
    ACCESS_CONTROL_EXPOSE_HEADERS = "access-control-expose-headers";
    ALLOW = "allow";
    AUTHORIZATION = "authorization";
    CONNECTION = "connection";
    CONTENT_LENGTH = "content-length";
    CONTENT_TYPE = "content-type";
    COOKIE = "cookie";
    EXPECT = "expect";
    FORWARDED = "forwarded";
    HOST = "host";
    KEEP_ALIVE = "keep-alive";
    LOCATION = "location";
    PROXY_AUTHENTICATE = "proxy-authenticate";
    PROXY_AUTHORIZATION = "proxy-authorization";
    PROXY_CONNECTION = "proxy-connection";
    RATELIMIT = "ratelimit";
    RATELIMIT_POLICY = "ratelimit-policy";
    REFERER = "referer";
    RETRY_AFTER = "retry-after";
    SERVER = "server";
    SET_COOKIE = "set-cookie";
    TE = "te";
    TRACEPARENT = "traceparent";
    TRACESTATE = "tracestate";
    TRAILER = "trailer";
    TRANSFER_ENCODING = "transfer-encoding";
    UPGRADE = "upgrade";
    USER_AGENT = "user-agent";
    VIA = "via";
    WWW_AUTHENTICATE = "www-authenticate";
    X_FORWARDED_FOR = "x-forwarded-for";
    X_FORWARDED_HOST = "x-forwarded-host";
    X_FORWARDED_PORT = "x-forwarded-port";
    X_FORWARDED_PROTO = "x-forwarded-proto";
    X_BAN_TICKET = "x-ban-ticket";
    X_GATEWAY_REASON = "x-gateway-reason";
    X_RATELIMIT_LIMIT = "x-ratelimit-limit";
    X_RATELIMIT_REMAINING = "x-ratelimit-remaining";
    X_RATELIMIT_RESET = "x-ratelimit-reset";
    X_REAL_IP = "x-real-ip";
    X_REQUEST_ID = "x-request-id";
}
