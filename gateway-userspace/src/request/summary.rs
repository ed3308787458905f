//! What the access log, the metrics and a receipt need of a head after it has gone upstream.

use super::head::{Authority, Head, Scheme, Version};
use crate::header::{REFERER, USER_AGENT, Value};

/// Shares of the head's own buffers; making one allocates only where normalising the path did.
#[derive(Debug)]
pub struct Summary {
    method: http::Method,
    target: http::Uri,
    path: Option<Box<str>>,
    authority: Authority,
    /// How the client reached the listener.
    pub scheme: Scheme,
    /// The version that the client spoke.
    pub version: Version,
    /// `User-Agent`, first value.
    pub user_agent: Option<Value>,
    /// `Referer`, first value.
    pub referer: Option<Value>,
}

impl Summary {
    pub(super) fn of(
        head: &Head,
        method: &http::Method,
        target: &http::Uri,
        path: Option<&str>,
        authority: &Authority,
    ) -> Summary {
        Summary {
            method: method.clone(),
            target: target.clone(),
            path: path.map(Box::from),
            authority: authority.clone(),
            scheme: head.scheme(),
            version: head.version(),
            user_agent: head.fields.get(&USER_AGENT).cloned(),
            referer: head.fields.get(&REFERER).cloned(),
        }
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// `host[:port]`.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The normalised path.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.target.path())
    }
}
