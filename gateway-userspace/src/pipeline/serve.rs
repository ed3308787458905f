//! One request from its head to the head of its answer.
//!
//! The snapshot is pinned first, so a reload never changes a request in flight. Whatever happens afterwards ends in one
//! place: the record is sealed with the outcome, and written when the answer's last byte has left or the client has.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use pin_project_lite::pin_project;

use super::finish::{Body, Record};
use super::respond::{Answer, Forwarded, Step, judge, respond, settle, stand};
use super::unread;
use crate::abuse::signal::Signal;
use crate::action;
use crate::header::{CONNECTION, Value, X_BAN_TICKET, X_REQUEST_ID};
use crate::http::answer;
use crate::http::body::RequestBody;
use crate::http::client_address::client_address;
use crate::http::connection::{Broken, Connection, Handler};
use crate::http::incoming::Incoming;
use crate::http::intake;
use crate::http::rejection::Rejection;
use crate::observe::{request_id, trace_context};
use crate::policy::response_headers;
use crate::request::{Context, Head, Peer};
use crate::response;
use crate::worker::{View, Worker};

/// Serves the connections of one worker.
pub struct Pipeline(Rc<Worker>);

impl Pipeline {
    /// For the connections of this worker.
    pub fn new(worker: Rc<Worker>) -> Pipeline {
        Pipeline(worker)
    }
}

impl Handler for Pipeline {
    type Body = Body;

    fn handle(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = http::Response<Body>> + use<> {
        serve(&self.0, connection, request)
    }

    fn broken(&self, peer: &Peer, why: Broken, cost: Duration) {
        self.0.cells.refused_for(why.as_str(), cost);
        if why == Broken::TlsHandshake || why == Broken::HandshakeTimeout {
            self.0.cells.handshake_failed(why.as_str());
        }
        let view = self.0.view();
        if let Some(kind) = why.signal().filter(|kind| view.shared.config.counts(*kind, None)) {
            self.0.reporter.report(Signal {
                source: peer.socket_address(),
                trusted_proxy: peer.trusted,
                kind,
                at: Instant::now(),
                cost,
                evidence: None,
            });
        }
    }

    fn refuse(&self, peer: &Peer, rejection: &Rejection) -> (response::Head, Bytes) {
        unread::refuse(&self.0, peer, rejection)
    }
}

/// Does what can be done at once, and gives what is left.
///
/// What is left is moved once for each request, and each connection has its own, so its size is what counts: it has no
/// room for the request, which is with the upstream by then, or on the heap where that has to wait.
fn serve(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    request: http::Request<Incoming>,
) -> impl Future<Output = http::Response<Body>> + use<> {
    let (started, started_at) = (Instant::now(), SystemTime::now());
    let (parts, body) = request.into_parts();
    let head_only = parts.method == http::Method::HEAD;
    let context = Context {
        id: request_id::mint(started_at, &worker.random),
        client: connection.peer().source.ip().to_canonical(),
        peer: connection.peer().clone(),
        started,
        started_at,
        route: None,
        parameters: Vec::new(),
        identity: None,
        shadow: None,
        banned: None,
        parole: None,
        limit: None,
    };
    let mut record = Box::new(Record::open(worker.clone(), worker.view(), &parts, context));
    let step = match intake::read(parts, connection) {
        Ok(mut head) => {
            introduce(connection, &mut record, &mut head);
            stand(connection, &mut record).and_then(|()| respond(connection, &mut record, head, body))
        }
        // What is wrong with it is told also to whom a ban would refuse it.
        Err(rejection) => {
            let _ = stand(connection, &mut record);
            Err(rejection)
        }
    };
    match step {
        Ok(Step::Forwarded(answer)) => {
            Serving { record: Some(record), stage: Stage::Forwarded { answer }, head_only }
        }
        Ok(Step::Answered(answer)) => {
            Serving { record: Some(record), stage: Stage::Decided { outcome: Some(Ok(answer)) }, head_only }
        }
        Err(rejection) => {
            record.cost = started.elapsed() + connection.take_opening_cost();
            let stage = Stage::Decided { outcome: Some(Err(rejection)) };
            Serving { record: Some(record), stage, head_only }
        }
        Ok(Step::Unknown(head, body)) => {
            let connection = connection.clone();
            let judged = Box::pin(async move {
                let outcome = judge(&connection, &mut record, head, body).await;
                if outcome.is_err() {
                    record.cost = connection.take_opening_cost();
                }
                (record, outcome)
            });
            Serving { record: None, stage: Stage::Judged { judged, spent: started.elapsed() }, head_only }
        }
    }
}

pin_project! {
    /// A request on its way to the head of its answer. The record is on the heap, for it is moved half a dozen times.
    struct Serving<F> {
        record: Option<Box<Record>>,
        #[pin]
        stage: Stage<F>,
        head_only: bool,
    }
}

pin_project! {
    #[project = StageProjected]
    enum Stage<F> {
        Decided { outcome: Option<Result<Answer, Rejection>> },
        Forwarded { #[pin] answer: F },
        Judged {
            judged: Pin<Box<dyn Future<Output = (Box<Record>, Result<Answer, Rejection>)>>>,
            // CPU time so far.
            spent: Duration,
        },
    }
}

/// The record of a request whose upstream is waited for: a panic there writes it at once, as one, and not later as that
/// of a client which left.
struct Kept<'s>(&'s mut Option<Box<Record>>);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.take();
        }
    }
}

impl<F: Future<Output = Forwarded>> Future for Serving<F> {
    type Output = http::Response<Body>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<http::Response<Body>> {
        const ONCE: &str = "not polled after it was ready";
        let this = self.project();
        let (mut record, outcome) = match this.stage.project() {
            StageProjected::Decided { outcome } => {
                (this.record.take().expect(ONCE), outcome.take().expect(ONCE))
            }
            StageProjected::Forwarded { answer } => {
                let kept = Kept(this.record);
                let forwarded = ready!(answer.poll(cx));
                let mut record = kept.0.take().expect(ONCE);
                let outcome = settle(&mut record, forwarded);
                (record, outcome)
            }
            StageProjected::Judged { judged, spent } => {
                let begun = Instant::now();
                let polled = judged.as_mut().poll(cx);
                *spent += begun.elapsed();
                let (mut record, outcome) = ready!(polled);
                record.cost += *spent;
                (record, outcome)
            }
        };
        let view = record.view().clone();
        let (mut head, body) = outcome.unwrap_or_else(|rejection| refuse(&view, &mut record, &rejection));
        finish_head(&view, &record, &mut head);
        record.answered(head.status);
        let bodiless = *this.head_only || answer::bodiless("", head.status);
        Poll::Ready(into_http(head, Body::new(body, record, bodiless)))
    }
}

/// What a valid head says about who is asking, and for which trace.
fn introduce(connection: &Connection, record: &mut Record, head: &mut Head) {
    let worker = record.worker().clone();
    if connection.believes_headers() {
        let client = client_address(&record.context.peer, &head.fields, &record.view().shared.trusted);
        let context = &mut record.context;
        context.id = request_id::for_request(head, true, context.started_at, &worker.random);
        context.client = client;
    }
    record.trace = trace_context::carry_on(&mut head.fields, &worker.random);
    record.understood(head);
}

/// A rejection becomes an answer, a line in the log and, where it counts against the client, a signal.
fn refuse(
    view: &View,
    record: &mut Record,
    rejection: &Rejection,
) -> (response::Head, action::Body<RequestBody>) {
    let realm = record.route.map_or("", |index| &*view.shared.routes[index].policies.realm);
    if let Rejection::RateLimited { state, .. } = rejection {
        record.context.limit = Some(state.clone());
    }
    record.refused(rejection);
    let context = &record.context;
    let (mut head, body) =
        answer::render(rejection, Some(&context.id), realm, context.started_at, &view.shared.config.errors);
    if record.breaks_parole() {
        head.fields.set(CONNECTION, Value::from_static("close"));
    }
    if may_lead_to_a_ban(view, record, rejection) {
        head.fields.set(X_BAN_TICKET, record.context.id.0.clone());
    }
    (head, body.into())
}

/// Whether this refusal may be the one that a ban follows from. The keeper decides that later, so each carries a ticket,
/// and with it the last one that the client sees.
fn may_lead_to_a_ban(view: &View, record: &Record, rejection: &Rejection) -> bool {
    let context = &record.context;
    let Some(kind) = rejection.signal().filter(|_| !context.peer.trusted) else {
        return false;
    };
    view.shared.config.counts(kind, context.route.as_deref())
}

/// What every answer carries, refusals included.
fn finish_head(view: &View, record: &Record, head: &mut response::Head) {
    let route = record.route.map(|index| &view.shared.routes[index]);
    route.map_or(&view.shared.headers, |route| &route.policies.headers).apply(head);
    let context = &record.context;
    head.fields.set(X_REQUEST_ID, context.id.0.clone());
    if let Some(limit) = &context.limit {
        response_headers::limit::set(&mut head.fields, limit, context.started_at);
    }
    response_headers::expose::expose(&mut head.fields);
}

fn into_http(head: response::Head, body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(head.status)
        .expect("a parsed upstream and the table of rejections have statuses from 100 to 999 only");
    *response.headers_mut() = head.fields.into_raw();
    response
}
