//! One request, one answer: which connection, how long, and what may be tried again.
//!
//! Tried again is only what the upstream cannot have acted on:
//! - a target to which no connection can be opened: the next one gets the request, up to [`ATTEMPTS_MAX`] in all;
//! - an HTTP/1 connection from the pool that turned out to be closed before the head of a request without a body was on it:
//!   once, on a new connection;
//! - an HTTP/2 stream that the target says it has not processed (`REFUSED_STREAM`, or `GOAWAY` without error, RFC 9113
//!   §8.7): once, if the request has no body.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;

use super::Upstream;
use super::balance;
use super::balance::round_robin::Order;
use super::body::{ClientBody, Phase, Progress, RequestBody, ResponseBody, Source};
use super::config::Config;
use super::connect;
use super::deadline::Deadline;
use super::http1::{self, Call, Connection};
use super::plan::{Plan, PlannedTarget};
use super::pool::{AtHand, Idle, Lease, Pool, http2};
use super::proxy_protocol::Addresses;

/// Most targets that one request is offered to.
pub const ATTEMPTS_MAX: usize = 3;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No target takes requests now.
    #[error("no target is up")]
    NoTarget,
    /// No connection.
    #[error(transparent)]
    Connect(connect::Error),
    /// The connection broke before the answer.
    #[error("the connection broke before the answer")]
    Broken(#[source] Cause),
    /// What came is not a valid answer.
    #[error("the answer is not valid HTTP")]
    Invalid(#[source] Cause),
    /// The answer did not begin in time after the end of the request.
    #[error("no answer in {} s", .0.as_secs_f64())]
    Late(Duration),
    /// The upstream took no more of the request's body.
    #[error("the upstream took nothing of the body for {} s", .0.as_secs_f64())]
    BodyNotTaken(Duration),
    /// The client sent no more of the request's body.
    #[error("the client sent nothing of the body for {} s", .0.as_secs_f64())]
    BodyNotSent(Duration),
    /// The request's body failed; its owner knows why.
    #[error("the request's body failed")]
    Body(#[source] Cause),
}

/// What went wrong on the connection.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An answer, and how it came.
#[derive(Debug)]
pub(crate) struct Answer<B: ClientBody> {
    pub(crate) head: http::response::Parts,
    pub(crate) body: ResponseBody<B>,
    pub(crate) address: SocketAddr,
    /// Which of the plan's targets gave it.
    pub(crate) target: usize,
}

impl<B: ClientBody> Upstream<B> {
    /// Sends a client's request. `address` writes what depends on the target into it, and may be called several times.
    ///
    /// As a rule a connection is at hand, and the request is on it before this returns: the future has no room for a
    /// request. Everything else is rare, and on the heap.
    pub(crate) fn send<A: Address<B>>(
        &self,
        mut request: Request<RequestBody<B>>,
        client: Addresses,
        address: A,
        now: Instant,
    ) -> impl Future<Output = Result<Answer<B>, Error>> + use<B, A> {
        let order = self.turn.order(self.plan.targets.len());
        let Some(target) = self.choose(order.clone(), now) else { return Sending::Refused };
        address(&mut request, &self.plan.targets[target]);
        let rest = Rest { upstream: self.clone(), target, order, client, address };
        let stale = match self.pools[target].at_hand(client, now) {
            AtHand::Ready(lease) => {
                let second = Second::of(&lease, &request);
                let answer = lease.exchange(request, self.plan.clone(), now);
                return Sending::Sent { answer, second, rest: Some(rest) };
            }
            AtHand::Stale(connection) => Some(connection),
            AtHand::None => None,
        };
        Sending::Slow { answer: Box::pin(rest.send(request, Next::Lease(stale))) }
    }

    fn choose(&self, order: Order, now: Instant) -> Option<usize> {
        balance::choose(|index| self.pools[index].endpoint(), order, now)
    }
}

/// Writes what depends on the target into a request.
pub(crate) trait Address<B>: Fn(&mut Request<RequestBody<B>>, &PlannedTarget) + 'static {}

impl<B, A: Fn(&mut Request<RequestBody<B>>, &PlannedTarget) + 'static> Address<B> for A {}

pin_project! {
    /// A request under way.
    #[project = SendingProjected]
    enum Sending<B: ClientBody, F, A> {
        // No target takes requests.
        Refused,
        // It is on a connection that stood already.
        Sent { #[pin] answer: F, second: Second, rest: Option<Rest<B, A>> },
        // It waits for a connection, or was sent a second time.
        Slow { answer: Pin<Box<dyn Future<Output = Result<Answer<B>, Error>>>> },
    }
}

impl<B: ClientBody, F: Future<Output = Answered<B>>, A: Address<B>> Future for Sending<B, F, A> {
    type Output = Result<Answer<B>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answer<B>, Error>> {
        let (rest, request) = match self.as_mut().project() {
            SendingProjected::Refused => return Poll::Ready(Err(Error::NoTarget)),
            SendingProjected::Slow { answer } => return answer.as_mut().poll(cx),
            SendingProjected::Sent { answer, second, rest } => {
                let answered = ready!(answer.poll(cx));
                let rest = rest.take().expect("not polled after it was ready");
                match answered {
                    Ok((head, body, address)) => {
                        return Poll::Ready(Ok(Answer { head, body, address, target: rest.target }));
                    }
                    Err(failure) => match std::mem::replace(second, Second::NEVER).request(failure) {
                        Ok(request) => (rest, request),
                        Err(error) => return Poll::Ready(Err(error)),
                    },
                }
            }
        };
        let mut answer: Pin<Box<dyn Future<Output = _>>> = Box::pin(rest.send(request, Next::New));
        let polled = answer.as_mut().poll(cx);
        self.set(Sending::Slow { answer });
        polled
    }
}

/// What is needed when the first connection does not do.
struct Rest<B: ClientBody, A> {
    upstream: Upstream<B>,
    /// The target whose turn it is, and which the request is addressed to.
    target: usize,
    order: Order,
    client: Addresses,
    address: A,
}

impl<B: ClientBody, A: Address<B>> Rest<B, A> {
    /// Offers the request to its target, and to others when there is no connection to that.
    async fn send(self, mut request: Request<RequestBody<B>>, mut next: Next) -> Result<Answer<B>, Error> {
        let Rest { upstream, mut target, order, client, address } = self;
        let plan = &upstream.plan;
        let count = plan.targets.len();
        let mut attempt = 1;
        let failed = loop {
            let failed = match upstream.pools[target].exchange(next, request, client, plan).await {
                Ok((head, body, address)) => return Ok(Answer { head, body, address, target }),
                Err(Unsent::Never(error)) => return Err(error),
                Err(Unsent::Connect(unsent, error)) => {
                    tracing::debug!(upstream = %plan.config.name, target, attempt, %error, "no connection");
                    request = *unsent;
                    error
                }
            };
            attempt += 1;
            if attempt > count.min(ATTEMPTS_MAX) {
                break failed;
            }
            let Some(chosen) = upstream.choose(order.clone(), Instant::now()) else { break failed };
            target = chosen;
            next = Next::Lease(None);
            address(&mut request, &plan.targets[target]);
        };
        // With one target the client learns what happened to it; of several, no single cause tells the truth.
        Err(if count == 1 { Error::Connect(failed) } else { Error::NoTarget })
    }
}

/// Which connection a request goes over.
enum Next {
    /// One of the pool, beginning with this one, else a new one.
    Lease(Option<Box<Connection>>),
    /// A new one, because that of the pool was closed.
    New,
}

/// Why a target gave no answer.
enum Unsent<B> {
    /// There was no connection, so the request is as it was.
    Connect(Box<Request<RequestBody<B>>>, connect::Error),
    /// It may have been seen, so it is not sent again.
    Never(Error),
}

impl<B: ClientBody> Pool<B> {
    async fn exchange(
        &self,
        next: Next,
        request: Request<RequestBody<B>>,
        client: Addresses,
        plan: &Arc<Plan>,
    ) -> Result<(http::response::Parts, ResponseBody<B>, SocketAddr), Unsent<B>> {
        let timeout = plan.config.connect_timeout;
        let (leased, last) = match next {
            Next::Lease(stale) => (self.lease(stale, client, timeout).await, false),
            Next::New => (self.lease_new(client, timeout).await, true),
        };
        let lease = match leased {
            Ok(lease) => lease,
            Err(error) => return Err(Unsent::Connect(Box::new(request), error)),
        };
        let second = if last { Second::NEVER } else { Second::of(&lease, &request) };
        let failure = match lease.exchange(request, plan.clone(), Instant::now()).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let again = second.request(failure).map_err(Unsent::Never)?;
        match self.lease_new(client, timeout).await {
            Ok(lease) => lease
                .exchange(again, plan.clone(), Instant::now())
                .await
                .map_err(|(error, _)| Unsent::Never(error)),
            Err(error) => Err(Unsent::Connect(Box::new(again), error)),
        }
    }
}

/// Whether a request may be sent a second time, on a new connection.
struct Second {
    /// The connection stood already, so it may have been closed.
    may_be_stale: bool,
    /// Boxed: only HTTP/2 needs it.
    spare: Option<Box<Spare>>,
}

impl Second {
    const NEVER: Second = Second { may_be_stale: false, spare: None };

    fn of<B: ClientBody>(lease: &Lease<B>, request: &Request<RequestBody<B>>) -> Second {
        Second {
            may_be_stale: !matches!(lease, Lease::Http1 { reused: false, .. }),
            spare: Spare::of(lease, request),
        }
    }

    /// The request, if it can be sent again after this.
    fn request<B: ClientBody>(self, (error, returned): Failure<B>) -> Result<Request<RequestBody<B>>, Error> {
        let spare = self.spare.filter(|_spare| was_not_processed(&error));
        let again = returned.or_else(|| spare.map(|spare| spare.into_request()));
        again.filter(|_request| self.may_be_stale).ok_or(error)
    }
}

/// A copy of a request without a body, kept while it is on an HTTP/2 connection: hyper does not give back what it has
/// handed to a stream, and a draining target refuses streams as a matter of course.
struct Spare(http::request::Parts);

impl Spare {
    fn of<B: ClientBody>(lease: &Lease<B>, request: &Request<RequestBody<B>>) -> Option<Box<Spare>> {
        (matches!(lease, Lease::Http2(_)) && request.body().is_empty()).then(|| {
            let mut head = Request::new(());
            *head.method_mut() = request.method().clone();
            *head.uri_mut() = request.uri().clone();
            *head.version_mut() = request.version();
            *head.headers_mut() = request.headers().clone();
            Box::new(Spare(head.into_parts().0))
        })
    }

    fn into_request<B: ClientBody>(self) -> Request<RequestBody<B>> {
        Request::from_parts(self.0, RequestBody::EMPTY)
    }
}

/// What a lease could not do: why, and the request if none of it was written.
type Failure<B> = (Error, Option<Request<RequestBody<B>>>);

/// What came of a request on a connection: head, body, and from where.
type Answered<B> = Result<(http::response::Parts, ResponseBody<B>, SocketAddr), Failure<B>>;

impl<B: ClientBody> Lease<B> {
    /// Sends a request, and gives the wait for its answer.
    fn exchange(
        self,
        request: Request<RequestBody<B>>,
        plan: Arc<Plan>,
        now: Instant,
    ) -> impl Future<Output = Answered<B>> + use<B> {
        let progress = request.body().progress();
        let (sent, kept) = match self {
            Lease::Http1 { mut connection, home, .. } => {
                let (address, deadline) = (connection.address, connection.deadline.take());
                let sent = match Call::begin(connection, request) {
                    Ok(call) => Sent::Http1 { call, address, home: Some(home) },
                    Err(unsent) => {
                        let failure = (Error::Broken(unsent.error.into()), Some(unsent.request));
                        Sent::Not { failure: Some(Box::new(failure)) }
                    }
                };
                (sent, deadline)
            }
            Lease::Http2(mut stream) => {
                let answer = stream.sender.try_send_request(request);
                (Sent::Http2 { answer, stream: Some(stream) }, None)
            }
        };
        let mut deadline = kept.unwrap_or_else(|| Deadline::new(plan.config.response_timeout));
        deadline.set(now + step(progress.as_deref(), &plan.config));
        InFlight { answer: sent, deadline: Some(deadline), progress, sent: now, plan }
    }
}

pin_project! {
    /// A request on a connection, until the head of its answer: `idle_timeout` for each step of the body, then
    /// `response_timeout`.
    struct InFlight<B: ClientBody, F> {
        #[pin]
        answer: Sent<B, F>,
        // `None` once it has been answered.
        deadline: Option<Deadline>,
        progress: Option<Rc<Progress>>,
        sent: Instant,
        plan: Arc<Plan>,
    }
}

pin_project! {
    /// What is waited for.
    #[project = SentProjected]
    enum Sent<B: ClientBody, F> {
        Not { failure: Option<Box<Failure<B>>> },
        Http1 { call: Call<B>, address: SocketAddr, home: Option<Rc<Idle>> },
        Http2 { #[pin] answer: F, stream: Option<http2::Stream<B>> },
    }
}

/// The head of an answer, where the rest of it comes from, and from whom.
type Begun<B> = (http::response::Parts, Source<B>, SocketAddr);

/// As the library's future gives it.
type Response<B> = Result<http::Response<Incoming>, TrySendError<Request<RequestBody<B>>>>;

impl<B: ClientBody, F: Future<Output = Response<B>>> Sent<B, F> {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        progress: Option<&Progress>,
    ) -> Poll<Result<Begun<B>, Failure<B>>> {
        const ONCE: &str = "not polled after it was ready";
        Poll::Ready(match self.project() {
            SentProjected::Not { failure } => Err(*failure.take().expect(ONCE)),
            SentProjected::Http1 { call, address, home } => match ready!(call.poll(cx)) {
                Ok((head, reception)) => {
                    let home = home.take().expect(ONCE);
                    Ok((head, Source::Http1 { reception, home }, *address))
                }
                Err(error) => Err((classify_http1(error), None)),
            },
            SentProjected::Http2 { answer, stream } => match ready!(answer.poll(cx)) {
                Ok(response) => {
                    let stream = stream.take().expect(ONCE);
                    stream.settle();
                    let (head, incoming) = response.into_parts();
                    let address = stream.address;
                    Ok((head, Source::Http2 { incoming, stream: Some(stream) }, address))
                }
                Err(failure) => Err(classify_http2(failure, progress)),
            },
        })
    }
}

impl<B: ClientBody, F: Future<Output = Response<B>>> Future for InFlight<B, F> {
    type Output = Answered<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered<B>> {
        let this = self.project();
        let config = &this.plan.config;
        match this.answer.poll(cx, this.progress.as_deref()) {
            Poll::Ready(Ok((head, source, address))) => {
                let progress = this.progress.take().filter(|progress| progress.phase() != Phase::Ended);
                let body = ResponseBody::new(source, this.deadline.take(), progress, config.idle_timeout);
                Poll::Ready(Ok((head, body, address)))
            }
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
            Poll::Pending => {
                let deadline = this.deadline.as_mut().expect("not polled after it was ready");
                while deadline.poll(cx).is_ready() {
                    let now = Instant::now();
                    let (due, late) = due(*this.sent, this.progress.as_deref(), config);
                    if due <= now {
                        return Poll::Ready(Err((late, None)));
                    }
                    deadline.set(due.min(now + step(this.progress.as_deref(), config)));
                }
                Poll::Pending
            }
        }
    }
}

/// How long the present step may take. The end of the body wakes nobody who waits for the answer, so we look as often
/// as the shorter timeout asks for.
fn step(progress: Option<&Progress>, config: &Config) -> Duration {
    match progress {
        Some(_) => config.response_timeout.min(config.idle_timeout),
        None => config.response_timeout,
    }
}

/// When the present step is late, and what that would mean.
fn due(sent: Instant, progress: Option<&Progress>, config: &Config) -> (Instant, Error) {
    let late = Error::Late(config.response_timeout);
    let Some(progress) = progress else { return (sent + config.response_timeout, late) };
    let idle_at = progress.moved() + config.idle_timeout;
    match progress.phase() {
        Phase::Upstream => (idle_at, Error::BodyNotTaken(config.idle_timeout)),
        Phase::Client => (idle_at, Error::BodyNotSent(config.idle_timeout)),
        Phase::Ended | Phase::Failed => (progress.moved() + config.response_timeout, late),
    }
}

/// Whose fault it was.
fn classify_http1(error: http1::Error) -> Error {
    match error {
        http1::Error::Io(_) | http1::Error::Closed => Error::Broken(error.into()),
        http1::Error::Body(_) | http1::Error::BodyLength => Error::Body(error.into()),
        _ => Error::Invalid(error.into()),
    }
}

/// Likewise. hyper's error alone does not say when a body is involved.
fn classify_http2<B>(
    mut failure: TrySendError<Request<RequestBody<B>>>,
    progress: Option<&Progress>,
) -> Failure<B> {
    let returned = failure.take_message();
    let error = failure.into_error();
    let error = if progress.is_some_and(|progress| progress.phase() == Phase::Failed) {
        Error::Body(error.into())
    } else if http2_fault(&error) == Some(Http2Fault::Invalid) {
        Error::Invalid(error.into())
    } else {
        Error::Broken(error.into())
    };
    (error, returned)
}

/// What an HTTP/2 error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Http2Fault {
    /// The target promises not to have processed the request.
    NotProcessed,
    /// We found that the target breaks the protocol.
    Invalid,
    /// Anything else.
    Other,
}

fn http2_fault(error: &hyper::Error) -> Option<Http2Fault> {
    let error = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let drained = error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    Some(if refused || drained {
        Http2Fault::NotProcessed
    } else if error.is_library() {
        Http2Fault::Invalid
    } else {
        Http2Fault::Other
    })
}

fn was_not_processed(error: &Error) -> bool {
    let Error::Broken(cause) = error else { return false };
    cause.downcast_ref().and_then(http2_fault) == Some(Http2Fault::NotProcessed)
}
