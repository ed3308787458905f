//! One request, one answer: which connection, how long, and what may be tried again.
//!
//! Tried again is only what the upstream cannot have acted on:
//! - a target to which no connection can be opened: the next one gets the request, up to [`ATTEMPTS_MAX`] in all;
//! - an HTTP/1 connection from the pool that turned out to be closed before the request was written to it: once, on a
//!   new connection;
//! - an HTTP/2 stream that the target says it has not processed (`REFUSED_STREAM`, or `GOAWAY` without error, RFC 9113
//!   §8.7): once, if the request has no body.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::Upstream;
use super::balance;
use super::body::{ClientBody, Phase, Progress, RequestBody, ResponseBody};
use super::config::Config;
use super::connect;
use super::deadline::Deadline;
use super::plan::PlannedTarget;
use super::pool::{Hold, Lease, Pool, http1};
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
    Broken(#[source] hyper::Error),
    /// What came is not a valid answer.
    #[error("the answer is not valid HTTP")]
    Invalid(#[source] hyper::Error),
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
    Body(#[source] hyper::Error),
}

/// An answer, and how it came.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    pub(crate) head: http::response::Parts,
    pub(crate) body: ResponseBody<B>,
    pub(crate) address: SocketAddr,
    /// Which of the plan's targets gave it.
    pub(crate) target: usize,
}

impl<B: ClientBody> Upstream<B> {
    /// Sends a client's request. `address` writes what depends on the target into it, and may be called several times.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody<B>>,
        client: Addresses,
        address: impl Fn(&mut Request<RequestBody<B>>, &PlannedTarget),
    ) -> Result<Answer<B>, Error> {
        let config = &self.plan.config;
        let count = self.plan.targets.len();
        let order = self.turn.order(count);
        let mut failed = None;
        for attempt in 1..=count.min(ATTEMPTS_MAX) {
            let chosen = balance::choose(|index| self.pools[index].endpoint(), order.clone(), Instant::now());
            let Some(target) = chosen else { break };
            address(&mut request, &self.plan.targets[target]);
            match self.pools[target].exchange(request, client, config).await {
                Ok((head, body, address)) => return Ok(Answer { head, body, address, target }),
                Err(Unsent::Connect(unsent, error)) => {
                    tracing::debug!(upstream = %config.name, target, attempt, %error, "no connection");
                    request = *unsent;
                    failed = Some(error);
                }
                Err(Unsent::Never(error)) => return Err(error),
            }
        }
        // With one target the client learns what happened to it; of several, no single cause tells the truth.
        match failed {
            Some(error) if count == 1 => Err(Error::Connect(error)),
            _ => Err(Error::NoTarget),
        }
    }
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
        request: Request<RequestBody<B>>,
        client: Addresses,
        config: &Config,
    ) -> Result<(http::response::Parts, ResponseBody<B>, SocketAddr), Unsent<B>> {
        let lease = match self.lease(client, config.connect_timeout).await {
            Ok(lease) => lease,
            Err(error) => return Err(Unsent::Connect(Box::new(request), error)),
        };
        let may_be_stale = !matches!(lease, Lease::Http1 { reused: false, .. });
        let spare = Spare::of(&lease, &request);
        let (error, returned) = match lease.exchange(request, config).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let again = match returned {
            Some(request) => request,
            None => match spare.filter(|_spare| was_not_processed(&error)) {
                Some(spare) => spare.into_request(),
                None => return Err(Unsent::Never(error)),
            },
        };
        if !may_be_stale {
            return Err(Unsent::Never(error));
        }
        match self.lease_new(client, config.connect_timeout).await {
            Ok(lease) => lease.exchange(again, config).await.map_err(|(error, _)| Unsent::Never(error)),
            Err(error) => Err(Unsent::Connect(Box::new(again), error)),
        }
    }
}

/// A copy of a request without a body, kept while it is on an HTTP/2 connection: hyper does not give back what it has
/// handed to a stream, and a draining target refuses streams as a matter of course.
struct Spare(http::request::Parts);

impl Spare {
    fn of<B: ClientBody>(lease: &Lease<B>, request: &Request<RequestBody<B>>) -> Option<Spare> {
        (matches!(lease, Lease::Http2(_)) && request.body().is_empty()).then(|| {
            let mut head = Request::new(());
            *head.method_mut() = request.method().clone();
            *head.uri_mut() = request.uri().clone();
            *head.version_mut() = request.version();
            *head.headers_mut() = request.headers().clone();
            Spare(head.into_parts().0)
        })
    }

    fn into_request<B: ClientBody>(self) -> Request<RequestBody<B>> {
        Request::from_parts(self.0, RequestBody::EMPTY)
    }
}

/// What a lease could not do: why, and the request if none of it was written.
type Failure<B> = (Error, Option<Request<RequestBody<B>>>);

impl<B: ClientBody> Lease<B> {
    async fn exchange(
        self,
        request: Request<RequestBody<B>>,
        config: &Config,
    ) -> Result<(http::response::Parts, ResponseBody<B>, SocketAddr), Failure<B>> {
        let progress = request.body().progress();
        let (hold, kept, answer) = match self {
            Lease::Http1 { mut connection, home, .. } => {
                let answer = connection.sender.try_send_request(request);
                let http1::Connection { sender: connection, address, speaks_for, deadline } = connection;
                let hold = Hold::Http1 { connection, address, speaks_for, home };
                (hold, deadline, Sent::Http1(answer))
            }
            Lease::Http2(mut stream) => {
                let answer = stream.sender.try_send_request(request);
                (Hold::Http2(stream), None, Sent::Http2(answer))
            }
        };
        let mut deadline = kept.unwrap_or_else(|| Deadline::new(config.response_timeout));
        let response = match answer {
            Sent::Http1(answer) => in_time(answer, &mut deadline, progress.as_deref(), config).await?,
            Sent::Http2(answer) => in_time(answer, &mut deadline, progress.as_deref(), config).await?,
        };
        let address = hold.answered();
        let (head, incoming) = response.into_parts();
        let progress = progress.filter(|progress| progress.phase() != Phase::Ended);
        Ok((head, ResponseBody::new(incoming, hold, deadline, progress, config.idle_timeout), address))
    }
}

/// The futures of both protocols.
enum Sent<F1, F2> {
    Http1(F1),
    Http2(F2),
}

impl<B> Hold<B> {
    /// Notes that an answer came, and says from where.
    fn answered(&self) -> SocketAddr {
        match self {
            Hold::Http1 { address, .. } => *address,
            Hold::Http2(stream) => {
                stream.settle();
                stream.address
            }
        }
    }
}

/// Waits for the head of the answer: `idle_timeout` for each step of the body, then `response_timeout`.
async fn in_time<B: ClientBody>(
    answer: impl Future<Output = Result<http::Response<Incoming>, TrySendError<Request<RequestBody<B>>>>>,
    deadline: &mut Deadline,
    progress: Option<&Progress>,
    config: &Config,
) -> Result<http::Response<Incoming>, Failure<B>> {
    let sent = Instant::now();
    // The end of the body does not wake us, so we look as often as the shorter timeout asks for.
    let step = match progress {
        Some(_) => config.response_timeout.min(config.idle_timeout),
        None => config.response_timeout,
    };
    deadline.set(sent + step);
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
            return Poll::Ready(answered.map_err(|failure| classify(failure, progress)));
        }
        while deadline.poll(cx).is_ready() {
            let now = Instant::now();
            let (due, late) = due(sent, progress, config);
            if due <= now {
                return Poll::Ready(Err((late, None)));
            }
            deadline.set(due.min(now + step));
        }
        Poll::Pending
    })
    .await
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

/// Whose fault it was. hyper's error alone does not say when a body is involved.
fn classify<B>(
    mut failure: TrySendError<Request<RequestBody<B>>>,
    progress: Option<&Progress>,
) -> Failure<B> {
    let returned = failure.take_message();
    let error = failure.into_error();
    let error = if progress.is_some_and(|progress| progress.phase() == Phase::Failed) {
        Error::Body(error)
    } else if error.is_parse() || http2_fault(&error) == Some(Http2Fault::Invalid) {
        Error::Invalid(error)
    } else {
        Error::Broken(error)
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
    matches!(error, Error::Broken(error) if http2_fault(error) == Some(Http2Fault::NotProcessed))
}
