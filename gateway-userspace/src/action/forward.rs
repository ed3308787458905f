//! Sends a request to an upstream and hands back its answer.
//!
//! What crosses: method, path and query as the gateway decided them, all end-to-end fields in their order, bodies, and
//! trailers (in HTTP/1.1 where `TE` and `Trailer` ask for and announce them). What does not: hop-by-hop fields, framing (made anew for each side, so that two readers can never
//! disagree about it), `Expect` (the gateway has answered it), and interim answers: the gateway's own 100 has been
//! sent by then, and 103 is swallowed.
//!
//! `Via` is added to requests, as RFC 9110 §7.6.3 asks of a gateway, and not to answers, where it is optional. An
//! nginx behind the gateway compresses only with `gzip_proxied any`, which looks at this field.

mod prefix;
mod request;
mod response;
mod rewrite;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

pub use self::prefix::Mapping;
use self::request::Outbound;
use self::rewrite::Reverse;
use super::Body;
use crate::http::rejection::Rejection;
use crate::request::{Context, Head};
use crate::upstream::body::ClientBody;
use crate::upstream::exchange::{Answer, Error};
use crate::upstream::plan::{Plan, PlannedTarget};
use crate::upstream::proxy_protocol::Addresses;
use crate::upstream::{Upstream, connect};

/// How an upstream did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpstreamTiming {
    /// Which of its addresses answered.
    pub address: SocketAddr,
    /// From the start of forwarding, connecting included, to the head of the answer.
    pub to_head: Duration,
}

/// Sends a request, and gives the wait for the head of the answer; the body streams on.
///
/// The path of `mapping` takes the place of the head's (the query stays), and its way back is taken in the answer. The
/// fields must be free of hop-by-hop fields and have the forwarding fields set. Dropping the future, or the body that it
/// returns, ends the exchange with the upstream.
pub fn forward<B: ClientBody>(
    context: &Context,
    head: Head,
    mapping: Option<Mapping<'_>>,
    body: B,
    upstream: &Upstream<B>,
) -> Result<impl Future<Output = Result<Forwarded<B>, Failure>> + use<B>, Rejection> {
    let started = Instant::now();
    let plan = upstream.plan();
    let reverse = Reverse::of(&head, &plan.config, mapping).map(|reverse| Box::new((reverse, plan.clone())));
    let without_body = head.method() == "HEAD";
    let path = mapping.map(|mapping| mapping.path);
    let (outbound, request) = Outbound::prepare(head, path, body, plan)?;
    let address = move |request: &mut _, target: &PlannedTarget| outbound.address(request, target);
    let answer = upstream.send(request, addresses(context), address, started);
    Ok(Forwarding { answer, reverse, without_body, started })
}

/// An answer: its head, its body, and how it came.
pub type Forwarded<B> = (crate::response::Head, Body<B>, UpstreamTiming);

pin_project! {
    /// A request that is being forwarded.
    struct Forwarding<F> {
        #[pin]
        answer: F,
        // For an upstream that is asked by another name or path than the client's.
        reverse: Option<Box<(Reverse, Arc<Plan>)>>,
        without_body: bool,
        started: Instant,
    }
}

impl<B: ClientBody, F: Future<Output = Result<Answer<B>, Error>>> Future for Forwarding<F> {
    type Output = Result<Forwarded<B>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx)).map_err(Failure::None)?;
        let mut head = response::accept(answer.head, *this.without_body).map_err(Failure::Refused)?;
        if let Some((reverse, plan)) = this.reverse.as_deref() {
            reverse.apply(&mut head.fields, plan.targets[answer.target].config());
        }
        let timing = UpstreamTiming { address: answer.address, to_head: this.started.elapsed() };
        Poll::Ready(Ok((head, Body::from(answer.body), timing)))
    }
}

/// Why a forwarded request has no answer that could be passed on.
#[derive(Debug)]
pub enum Failure {
    /// There is none.
    None(Error),
    /// It is not acceptable.
    Refused(Rejection),
}

impl Failure {
    /// What the client is told. The cause stays in the diagnostic log. A body that fails gives
    /// [`Rejection::BodyIncomplete`]; its owner may know better why.
    pub fn rejection(self, context: &Context, upstream: &str) -> Rejection {
        match self {
            Failure::None(error) => refusal(context, upstream, &error),
            Failure::Refused(rejection) => rejection,
        }
    }
}

/// For an upstream that is told by the PROXY protocol. The port is known only of a client that no header names.
fn addresses(context: &Context) -> Addresses {
    let peer = &context.peer;
    let port = if peer.source.ip().to_canonical() == context.client { peer.source.port() } else { 0 };
    Addresses::new(SocketAddr::new(context.client, port), peer.local)
}

fn refusal(context: &Context, upstream: &str, error: &Error) -> Rejection {
    let cause: &dyn std::error::Error = error;
    tracing::debug!(request = context.id.as_str(), upstream, cause, "no answer from the upstream");
    match error {
        Error::NoTarget => Rejection::NoHealthyUpstream,
        Error::Connect(connect::Error::Timeout) => Rejection::UpstreamConnectTimeout,
        Error::Connect(_) | Error::Broken(_) => Rejection::UpstreamUnreachable,
        Error::Invalid(_) => Rejection::UpstreamInvalid,
        Error::Late(_) | Error::BodyNotTaken(_) => Rejection::UpstreamTimeout,
        Error::BodyNotSent(_) => Rejection::BodyTooSlow,
        Error::Body(_) => Rejection::BodyIncomplete,
    }
}
