//! The end of a request: its record is written exactly once, when the answer's last byte has been handed over, or when
//! the client has gone before that.

use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::abuse::shadow::{Outcome, Shadows};
use crate::abuse::signal::{Evidence, Kinds, Signal};
use crate::action::Error;
use crate::action::forward::UpstreamTiming;
use crate::header::Value;
use crate::http::body::{RequestBody, Watch};
use crate::http::rejection::{Appearance, Rejection};
use crate::observe::access_log::{Entry, Upstream};
use crate::observe::metrics::{Finished, Label};
use crate::observe::trace_context::TraceContext;
use crate::request::head::Version;
use crate::request::{Context, Head, Summary};
use crate::tls::Ja4;
use crate::worker::{View, Worker};

/// Longest method, host and path that a receipt keeps, in bytes.
const EVIDENCE_METHOD_BYTES: usize = 16;
const EVIDENCE_HOST_BYTES: usize = 255;
const EVIDENCE_PATH_BYTES: usize = 256;
/// In place of the path, on routes that keep it out of the log.
const NOT_LOGGED: &str = "(not logged)";

/// What the log and the metrics say of a client that left before its answer began, as NGINX does.
const CLIENT_LEFT: u16 = 499;

/// What is being found out about a request, from its head to the end of its answer.
///
/// It is written when it is dropped, and so exactly once, however the request ends: with the last byte of the answer,
/// with a client that leaves in the middle of it or while the upstream is still asked, or with a panic.
pub struct Record {
    worker: Rc<Worker>,
    view: Rc<View>,
    method: http::Method,
    version: http::Version,
    summary: Option<Summary>,
    refusal: Option<Appearance>,
    detail: Option<&'static str>,
    /// Whether it was refused in a way that counts against the client.
    denied: bool,
    /// Status of the answer, once its head is decided.
    status: Option<u16>,
    /// Bytes of the answer's body.
    bytes: u64,
    /// Whether the answer broke off.
    broken: bool,
    /// What the policies found out.
    pub context: Context,
    /// Index of the route, once found.
    pub route: Option<usize>,
    /// How the request's body fares, once it is forwarded.
    pub body: Option<Watch>,
    /// CPU time until it was refused, as far as that is measured: nothing for what was forwarded first.
    pub cost: Duration,
    /// Which upstream answered, and when.
    pub upstream: Option<UpstreamTiming>,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
}

impl Record {
    /// Begins with what every request has, even one that is not understood.
    pub fn open(
        worker: Rc<Worker>,
        view: Rc<View>,
        parts: &http::request::Parts,
        context: Context,
    ) -> Record {
        worker.cells.request_started();
        Record {
            worker,
            view,
            method: parts.method.clone(),
            version: parts.version,
            summary: None,
            refusal: None,
            detail: None,
            denied: false,
            status: None,
            bytes: 0,
            broken: false,
            context,
            route: None,
            body: None,
            cost: Duration::ZERO,
            upstream: None,
            trace: None,
        }
    }

    /// The worker that serves it.
    pub fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// The snapshot that it began with.
    pub fn view(&self) -> &Rc<View> {
        &self.view
    }

    /// The head was valid.
    pub fn understood(&mut self, head: &Head) {
        self.summary = Some(head.summary());
    }

    /// The gateway itself ended the request.
    pub fn refused(&mut self, rejection: &Rejection) {
        let appearance = rejection.appearance();
        self.refusal = Some(appearance);
        self.worker.cells.refused_for(appearance.reason, self.cost);
        if let Rejection::BadCredential(_, fault) = rejection {
            self.detail = Some(fault.as_str());
        }
        let route = self.context.route.as_deref();
        let config = &self.view.shared.config;
        let kind = rejection.signal();
        let counted = kind.filter(|kind| config.counts(*kind, route));
        self.denied = counted.is_some() || kind.is_some_and(|kind| Kinds::USUAL.contains(kind));
        if let Some(kind) = counted {
            self.worker.reporter.report(Signal {
                source: self.context.peer.socket_address(),
                trusted_proxy: self.context.peer.trusted,
                kind,
                at: std::time::Instant::now(),
                cost: self.cost,
                evidence: Some(Box::new(self.evidence(appearance))),
            });
        }
    }

    /// Whether it was refused although its client had been let through to be judged.
    pub fn breaks_parole(&self) -> bool {
        self.denied && self.context.parole.is_some()
    }

    fn evidence(&self, appearance: Appearance) -> Evidence {
        let context = &self.context;
        let (host, path) =
            self.summary.as_ref().map_or(("", ""), |summary| (summary.authority(), summary.path()));
        let logged = self.route.is_none_or(|index| self.view.shared.routes[index].log);
        Evidence {
            time: context.started_at,
            request_id: context.id.as_str().to_owned(),
            method: cut(self.method.as_str(), EVIDENCE_METHOD_BYTES),
            host: cut(host, EVIDENCE_HOST_BYTES),
            path: cut(if logged { path } else { NOT_LOGGED }, EVIDENCE_PATH_BYTES),
            status: appearance.status,
            reason: appearance.reason.to_owned(),
            route: context.route.clone(),
            auth: context.identity.as_ref().map(|identity| identity.auth.clone()),
            principal: context.identity.as_ref().map(|identity| identity.principal.clone()),
            ja4: context.peer.ja4().map(|ja4| ja4.as_str().into()),
        }
    }

    /// The answer's head is decided; the rest is known when its body ends.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.status.is_none() {
            // The client of a request that panicked gets a 500; otherwise only a client that left ends it like this.
            let panics = std::thread::panicking();
            if panics {
                self.refusal = Some(Rejection::Internal.appearance());
                self.worker.panicked.set(Some(self.context.id.clone()));
            }
            self.detail = Some(if panics { "panicked" } else { "client-left" });
            self.status = Some(if panics { 500 } else { CLIENT_LEFT });
        }
        self.write();
    }
}

impl Record {
    fn write(&self) {
        let Record { worker, view, context, .. } = self;
        let status = self.status.unwrap_or(CLIENT_LEFT);
        let duration = context.started.elapsed();
        let reason = self.refusal.map(|appearance| appearance.reason);
        worker.cells.request_finished(&Finished {
            route: self.route.map_or(Label::NONE, |index| view.labels.routes[index]),
            method: self.method.as_str(),
            version: self.version(),
            status,
            duration,
            rejection: reason,
        });
        if let Some(shadows) = &context.shadow {
            shadows.count(self.outcome(status));
        }
        if let Some(visit) = &context.parole {
            visit.judge(status, context.identity.is_some(), self.denied);
        }
        if let Some(identity) = context.identity.as_ref().filter(|_| status < 400 && !context.peer.trusted) {
            let source = context.peer.socket_address();
            worker.reporter.seen(context.started, source, &identity.auth, &identity.principal);
        }
        let limit = context.limit.as_ref().map(|state| &state.limit);
        if let Some(label) = limit.and_then(|name| view.labels.limits.get(name)) {
            worker.cells.limit_decided(*label, status == 429 && reason.is_some());
        }
        if self.route.is_none_or(|index| view.shared.routes[index].log) {
            self.log(status, duration, reason);
        }
    }

    /// What it would have meant to lose this request.
    fn outcome(&self, status: u16) -> Outcome {
        let logs_in = || self.route.is_some_and(|index| self.view.shared.routes[index].login);
        match status {
            _ if self.denied => Outcome::Refused,
            400.. => Outcome::Other,
            _ if logs_in() => Outcome::Login,
            _ if self.context.identity.is_some() => Outcome::Good,
            _ => Outcome::Other,
        }
    }

    fn log(&self, status: u16, duration: Duration, reason: Option<&'static str>) {
        let Some(log) = self.worker.log() else { return };
        let context = &self.context;
        let summary = self.summary.as_ref();
        let upstream = self.upstream.map(|timing| (Address::of(timing.address), timing.to_head));
        log.write(&Entry {
            time: context.started_at,
            method: self.method.as_str(),
            scheme: summary.map_or("", |summary| summary.scheme.as_str()),
            host: summary.map_or("", Summary::authority),
            path: summary.map_or("", Summary::path),
            version: self.version().as_str(),
            route: context.route.as_deref(),
            status,
            duration,
            response_bytes: self.bytes,
            request_bytes: self.body.as_ref().map_or(0, Watch::bytes),
            client: context.client,
            user_agent: summary.and_then(|summary| summary.user_agent.as_ref()).map(Value::as_bytes),
            referer: summary.and_then(|summary| summary.referer.as_ref()).map(Value::as_bytes),
            ja4: context.peer.ja4().map(Ja4::as_str),
            user: context.identity.as_ref().map(|identity| &*identity.principal),
            request_id: context.id.as_str(),
            trace: self.trace.as_ref().map(|trace| (trace.trace_id(), trace.span_id())),
            upstream: upstream
                .as_ref()
                .map(|(address, to_head)| Upstream { address: address.as_str(), duration: Some(*to_head) }),
            limit: context.limit.as_ref().map(|state| &*state.limit),
            shadow: context.shadow.as_ref().map(Shadows::ban),
            ban: context.banned,
            reason,
            detail: if self.broken { Some("response-incomplete") } else { self.detail },
        });
    }

    fn version(&self) -> Version {
        match self.version {
            http::Version::HTTP_2 => Version::Http2,
            http::Version::HTTP_10 => Version::Http10,
            _ => Version::Http11,
        }
    }
}

/// A socket address as text, without an allocation.
struct Address {
    bytes: [u8; ADDRESS_BYTES],
    length: usize,
}

/// `[` + 39 digits and colons + `]:65535`, with room for a scope id.
const ADDRESS_BYTES: usize = 64;

impl Address {
    fn of(address: SocketAddr) -> Address {
        let mut text = Address { bytes: [0; ADDRESS_BYTES], length: 0 };
        match address {
            // A fifth of what the formatting machinery takes.
            SocketAddr::V4(address) => {
                for (octet, end) in address.ip().octets().into_iter().zip(*b"...:") {
                    text.number(octet.into());
                    text.push(&[end]);
                }
                text.number(address.port());
            }
            SocketAddr::V6(address) => {
                let mut rest = &mut text.bytes[..];
                // What does not fit is cut off, which no address is.
                let _ = write!(rest, "{address}");
                text.length = ADDRESS_BYTES - rest.len();
            }
        }
        text
    }

    fn number(&mut self, number: u16) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

/// The body of every answer: counts what is sent and keeps the record until its end.
pub struct Body {
    inner: crate::action::Body<RequestBody>,
    record: Box<Record>,
}

impl Body {
    /// `bodiless` leaves the body out, whatever it is (RFC 9110 §6.4.1).
    pub fn new(inner: crate::action::Body<RequestBody>, record: Box<Record>, bodiless: bool) -> Body {
        Body { inner: if bodiless { crate::action::Body::Empty } else { inner }, record }
    }
}

impl Drop for Body {
    /// A body that is dropped before its end was not sent whole, whoever is to blame.
    fn drop(&mut self) {
        self.record.broken |= !http_body::Body::is_end_stream(&self.inner);
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(Some(Err(_))) => this.record.broken = true,
            // Not every body knows that it has ended.
            Poll::Ready(None) => this.inner = crate::action::Body::Empty,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// At most `bytes` of a text, whole characters.
fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_everywhere_else() {
        for text in ["0.0.0.0:0", "255.255.255.255:65535", "127.0.0.1:8080", "[2001:db8::1]:443"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Address::of(address).as_str(), text);
        }
    }
}
