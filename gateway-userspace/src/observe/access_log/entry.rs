//! What a line of the access log can tell.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// One request that is over. Borrows everything; queries, cookies and credentials are no part of it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When the request's head was complete.
    pub time: SystemTime,
    /// The method as sent.
    pub method: &'a str,
    /// `"http"` or `"https"`.
    pub scheme: &'static str,
    /// The host that the client named, in lower case.
    pub host: &'a str,
    /// The normalised path without the query.
    pub path: &'a str,
    /// `"1.0"`, `"1.1"` or `"2"`.
    pub version: &'static str,
    /// The route, if one was found.
    pub route: Option<&'a str>,
    /// Status.
    pub status: u16,
    /// From the end of the head to the end of the response.
    pub duration: Duration,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// Bytes of the request's body that were received.
    pub request_bytes: u64,
    /// The client's address.
    pub client: IpAddr,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`, for `combined`.
    pub referer: Option<&'a [u8]>,
    /// The TLS client's fingerprint, if it was taken.
    pub ja4: Option<&'a str>,
    /// Who the client is, if authenticated.
    pub user: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a str,
    /// The trace's id and the gateway's span in it.
    pub trace: Option<(&'a str, &'a str)>,
    /// The upstream that was asked, the last one where there were several.
    pub upstream: Option<Upstream<'a>>,
    /// The limit that refused, or was nearest to it.
    pub limit: Option<&'a str>,
    /// The shadow ban that would have kept the request out.
    pub shadow: Option<u32>,
    /// The ban, or the list that others keep, by which the request was refused.
    pub ban: Option<u32>,
    /// Why the gateway itself ended the request: the rejection's label.
    pub reason: Option<&'a str>,
    /// More about the reason, such as why a credential does not hold.
    pub detail: Option<&'a str>,
}

/// An upstream that was asked.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// Where it is.
    pub address: &'a str,
    /// Until it began its answer; none if it never did.
    pub duration: Option<Duration>,
}
