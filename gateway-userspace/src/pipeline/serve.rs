//! One request from its head to the head of its answer.
//!
//! The snapshot is pinned first, so a reload never changes a request in flight. Whatever happens afterwards ends in one
//! place: the record is sealed with the outcome, and written when the answer's last byte has left or the client has.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use hyper::body::Incoming;

use super::finish::{Body, Record};
use super::respond::respond;
use crate::abuse::signal::Signal;
use crate::action;
use crate::header::X_REQUEST_ID;
use crate::http::answer;
use crate::http::body::RequestBody;
use crate::http::client_address::client_address;
use crate::http::connection::{Broken, Connection, Handler};
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

    async fn handle(
        &self,
        connection: &Rc<Connection>,
        request: http::Request<Incoming>,
    ) -> http::Response<Body> {
        serve(&self.0, connection, request).await
    }

    fn broken(&self, peer: &Peer, why: Broken) {
        if why == Broken::TlsHandshake || why == Broken::HandshakeTimeout {
            self.0.cells.handshake_failed(why.as_str());
        }
        if let Some(kind) = why.signal() {
            self.0.reporter.report(Signal {
                source: peer.socket_address(),
                trusted_proxy: peer.trusted,
                kind,
                at: Instant::now(),
                evidence: None,
            });
        }
    }

    fn refuse(&self, rejection: &Rejection) -> (response::Head, Bytes) {
        refuse_without_request(&self.0, rejection)
    }
}

/// Outside of any route: what every answer carries, and the id of the request that panicked if that is the reason.
fn refuse_without_request(worker: &Worker, rejection: &Rejection) -> (response::Head, Bytes) {
    let view = worker.view();
    let id = if *rejection == Rejection::Internal { worker.panicked.take() } else { None };
    let errors = &view.shared.config.errors;
    let (mut head, body) = answer::render(rejection, id.as_ref(), "", SystemTime::now(), errors);
    view.shared.headers.apply(&mut head);
    (head, body)
}

async fn serve(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    request: http::Request<Incoming>,
) -> http::Response<Body> {
    let (started, started_at) = (Instant::now(), SystemTime::now());
    let view = worker.view();
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
        limit: None,
    };
    let mut record = Record::open(worker.clone(), view.clone(), &parts, context);
    let outcome = match intake::read(parts, connection) {
        Ok(head) => {
            let head = introduce(worker, &view, connection, &mut record, head);
            respond(worker, &view, connection, &mut record, head, body).await
        }
        Err(rejection) => Err(rejection),
    };
    let (mut head, body) = match outcome {
        Ok(answer) => answer,
        Err(rejection) => refuse(&view, &mut record, &rejection),
    };
    finish_head(&view, &record, &mut head);
    record.answered(head.status);
    let bodiless = head_only || answer::bodiless("", head.status);
    into_http(head, Body::new(body, record, bodiless))
}

/// What a valid head says about who is asking, and for which trace.
fn introduce(
    worker: &Worker,
    view: &View,
    connection: &Connection,
    record: &mut Record,
    mut head: Head,
) -> Head {
    let context = &mut record.context;
    if connection.believes_headers() {
        context.id = request_id::for_request(&head, true, context.started_at, &worker.random);
        context.client = client_address(&context.peer, &head.fields, &view.shared.trusted);
    }
    record.trace = trace_context::carry_on(&mut head.fields, &worker.random);
    record.understood(&head);
    head
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
    let (head, body) =
        answer::render(rejection, Some(&context.id), realm, context.started_at, &view.shared.config.errors);
    (head, body.into())
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
