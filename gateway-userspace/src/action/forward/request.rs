//! The request as an upstream gets it.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TE, TRANSFER_ENCODING, VIA};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body::Body as _;

use crate::http::rejection::Rejection;
use crate::request::Head;
use crate::request::head::Version as ClientVersion;
use crate::upstream::body::{ClientBody, RequestBody};
use crate::upstream::config::{HostHeader, Protocol};
use crate::upstream::plan::{Host, Plan, PlannedTarget};

/// What depends on the target of a request, ready for whichever target it becomes.
pub(super) struct Outbound {
    host: OutboundHost,
    /// Set for HTTP/2, where each target makes a URI of its own.
    path_and_query: Option<PathAndQuery>,
}

enum OutboundHost {
    /// For HTTP/1.1.
    Field(HeaderValue),
    /// For HTTP/2.
    Authority(Authority),
    /// Each target's own.
    Target,
}

impl Outbound {
    /// Makes the request, complete but for what [`Outbound::address`] adds.
    pub(super) fn prepare<B: ClientBody>(
        head: Head,
        path: Option<&str>,
        body: B,
        plan: &Plan,
    ) -> Result<(Outbound, Request<RequestBody<B>>), Rejection> {
        let path_and_query = path_and_query(&head, path).ok_or(Rejection::BadTarget)?;
        let host = OutboundHost::choose(&head, plan)?;
        let method = head.raw_method().clone();
        let via = via(head.version());
        let body = RequestBody::new(body);

        let mut fields = head.fields.into_raw();
        fields.remove(EXPECT);
        fields.append(VIA, via);
        let mut request = Request::new(body);
        let path_and_query = match plan.config.protocol {
            Protocol::Http1 => {
                frame_http1(&mut fields, &method, request.body());
                if fields.contains_key(TE) {
                    // RFC 9110 §10.1.4: whoever sends `TE` says that it is for this connection only.
                    fields.insert(CONNECTION, HeaderValue::from_static("te"));
                }
                let mut uri = http::uri::Parts::default();
                uri.path_and_query = Some(path_and_query);
                *request.uri_mut() = Uri::from_parts(uri).map_err(|_invalid| Rejection::BadTarget)?;
                None
            }
            Protocol::Http2 => {
                // RFC 9113 §8.2.2; gRPC refuses to work without it, and trailers do go through.
                fields.insert(TE, HeaderValue::from_static("trailers"));
                fields.remove(TRANSFER_ENCODING);
                set_length(&mut fields, &method, request.body());
                *request.version_mut() = Version::HTTP_2;
                Some(path_and_query)
            }
        };
        *request.method_mut() = method;
        *request.headers_mut() = fields;
        Ok((Outbound { host, path_and_query }, request))
    }

    /// Writes the target into the request, over an earlier one if need be.
    pub(super) fn address<B>(&self, request: &mut Request<B>, target: &PlannedTarget) {
        match &self.path_and_query {
            None => {
                let host = match &self.host {
                    OutboundHost::Field(host) => host.clone(),
                    OutboundHost::Authority(_) | OutboundHost::Target => target.host.field.clone(),
                };
                request.headers_mut().insert(HOST, host);
            }
            Some(path_and_query) => {
                let authority = match &self.host {
                    OutboundHost::Authority(authority) => authority.clone(),
                    OutboundHost::Field(_) | OutboundHost::Target => target.host.authority.clone(),
                };
                let mut uri = http::uri::Parts::default();
                uri.scheme = Some(target.scheme.clone());
                uri.authority = Some(authority);
                uri.path_and_query = Some(path_and_query.clone());
                *request.uri_mut() = Uri::from_parts(uri).expect("all three parts are there");
            }
        }
    }
}

impl OutboundHost {
    fn choose(head: &Head, plan: &Plan) -> Result<OutboundHost, Rejection> {
        let for_http2 = plan.config.protocol == Protocol::Http2;
        let fixed = |host: &Host| match for_http2 {
            true => OutboundHost::Authority(host.authority.clone()),
            false => OutboundHost::Field(host.field.clone()),
        };
        match (&plan.config.host, &plan.fixed_host) {
            (HostHeader::Target, _) => Ok(OutboundHost::Target),
            (HostHeader::Fixed(_), Some(host)) => Ok(fixed(host)),
            (HostHeader::Fixed(_), None) | (HostHeader::Preserve, _) => match head.raw_authority() {
                // HTTP/1.0 without `Host`.
                None => Ok(OutboundHost::Target),
                Some(field) if !for_http2 => Ok(OutboundHost::Field(field)),
                Some(field) => Authority::try_from(field.as_bytes())
                    .map(OutboundHost::Authority)
                    .map_err(|_invalid| Rejection::BadHost),
            },
        }
    }
}

/// Path and query as the upstream gets them; `None` when a replaced path is not one.
fn path_and_query(head: &Head, path: Option<&str>) -> Option<PathAndQuery> {
    match (path, head.query()) {
        (None, _) => head.raw_path_and_query(),
        (Some(path), Some(query)) => PathAndQuery::try_from(format!("{path}?{query}")).ok(),
        (Some(path), None) => PathAndQuery::try_from(path).ok(),
    }
}

/// Exactly one of `Content-Length`, `Transfer-Encoding`, and neither (RFC 9112 §6).
fn frame_http1<B: ClientBody>(fields: &mut HeaderMap, method: &Method, body: &RequestBody<B>) {
    fields.remove(TRANSFER_ENCODING);
    set_length(fields, method, body);
    if body.size_hint().exact().is_none() {
        // The connection writes chunks for such a body, and only what stands in the fields tells the upstream so.
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// `Content-Length` from what is known of the body, and never from the client's word.
fn set_length<B: ClientBody>(fields: &mut HeaderMap, method: &Method, body: &RequestBody<B>) {
    match body.size_hint().exact() {
        // RFC 9110 §8.6: a length of 0 is said only where the method expects content.
        Some(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            fields.remove(CONTENT_LENGTH);
        }
        Some(length) => {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            fields.remove(CONTENT_LENGTH);
        }
    }
}

fn via(version: ClientVersion) -> HeaderValue {
    HeaderValue::from_static(match version {
        ClientVersion::Http10 => "1.0 portcullis",
        ClientVersion::Http11 => "1.1 portcullis",
        ClientVersion::Http2 => "2 portcullis",
    })
}
