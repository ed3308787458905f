//! One connection to the admin API, whether over the socket or over TCP: one request, and its answer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, ORIGIN};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::api::Role;
use super::audit::{self, Asked};
use super::handlers::{self, Answer, Backend};
use super::peer::Caller;
use super::problem::Problem;
use super::resource;

/// Largest body of a request.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Of an `apply`: 16 MiB of configuration as JSON.
const FILES_BODY_BYTES_MAX: usize = 24 << 20;
/// Of a list: some four million addresses as text.
const LIST_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a head may take, and then a body.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a list may take to come, over TLS from afar too.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// Lists are large, so one is taken at a time.
static LIST_TURN: Semaphore = Semaphore::const_new(1);
/// They are in memory as a whole too until an answer has gone out: one for viewers, and one for whoever may do more.
static EXPORT_TURNS: [Semaphore; 2] = [const { Semaphore::const_new(1) }; 2];
const STRANGER_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// A request that is being carried out. Whoever asked may go away: it is done, and told in the audit log, all the same.
type Work<'w> = RefCell<Option<Pin<Box<dyn Future<Output = Result<Answer, Problem>> + 'w>>>>;

/// The right to have a list given out, until the answer has gone.
type Turn = RefCell<Option<SemaphorePermit<'static>>>;

/// Serves the one request of a connection; without a role, with a refusal.
pub async fn serve<B: Backend>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    caller: &Caller,
    role: Option<Role>,
    backend: &B,
) {
    let (head, whole) = match role {
        None => (STRANGER_TIMEOUT, STRANGER_TIMEOUT),
        Some(_) => (REQUEST_TIMEOUT, CONNECTION_TIMEOUT),
    };
    let (work, turn) = (Work::default(), Turn::default());
    let service = service_fn(|request| answer(backend, caller, role, request, &work, &turn));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A client that went away, or that spoke something else, is its own concern.
    let _ = timeout(whole, pin!(connection)).await;
    let rest = work.take();
    if let Some(rest) = rest {
        let _ = rest.await;
    }
}

async fn answer<'w, B: Backend>(
    backend: &'w B,
    caller: &'w Caller,
    role: Option<Role>,
    request: http::Request<Incoming>,
    work: &Work<'w>,
    turn: &Turn,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let result = match role {
        None => {
            let path = request.uri().path();
            audit::not_permitted(&Asked { caller, role, command: path, request: "" });
            Err(Problem::forbidden(path, caller, role, Role::Viewer))
        }
        Some(_) if is_of_other_origin(&request) => Err(Problem::other_origin()),
        Some(role) => respond(backend, caller, role, request, work, turn).await,
    };
    Ok(match result {
        Ok(Answer { status, etag, content_type, body }) => {
            let mut response = response(status, content_type, body);
            let etag = etag.and_then(|etag| http::HeaderValue::from_str(&format!("\"{etag}\"")).ok());
            if let Some(etag) = etag {
                response.headers_mut().insert(ETAG, etag);
            }
            response
        }
        Err(problem) => refusal(&problem),
    })
}

/// Whether a browser sends this for a page that is not of the gateway: it would show the user's certificate to us
/// whoever made the page (a page may send a POST without asking anybody).
fn is_of_other_origin(request: &http::Request<Incoming>) -> bool {
    let headers = request.headers();
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let own = headers.get(HOST).map(|host| [b"https://", host.as_bytes()].concat());
    own.is_none_or(|own| origin.as_bytes() != own)
}

async fn respond<'w, B: Backend>(
    backend: &'w B,
    caller: &'w Caller,
    role: Role,
    request: http::Request<Incoming>,
    work: &Work<'w>,
    exporting: &Turn,
) -> Result<Answer, Problem> {
    let (head, body) = request.into_parts();
    let takes_files = role == Role::Admin && head.uri.path() == "/v1/apply";
    let takes_list = role >= Role::Operator && is_list(&head);
    let (most, patience) = match (takes_files, takes_list) {
        (_, true) => (LIST_BYTES_MAX, LIST_TIMEOUT),
        (true, false) => (FILES_BODY_BYTES_MAX, REQUEST_TIMEOUT),
        (false, false) => (BODY_BYTES_MAX, REQUEST_TIMEOUT),
    };
    let too_large = || Problem::too_large(format!("a request has at most {} MiB", most >> 20));
    if hyper::body::Body::size_hint(&body).lower() > most as u64 {
        return Err(too_large());
    }
    // Until it is carried out: what came is in memory till then.
    let turn = match timeout(patience, turn(takes_list)).await {
        Ok(turn) => turn,
        Err(_) => return Err(Problem::unavailable("another list is being taken")),
    };
    let body = match timeout(patience, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(too_large());
        }
        Ok(Err(error)) => return Err(Problem::bad_request(format!("the body did not arrive: {error}"))),
        Err(_) => {
            let seconds = patience.as_secs();
            return Err(Problem::timeout(format!("the body did not arrive within {seconds} s")));
        }
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let call = resource::parse(head.method.as_str(), target, &head.headers, &body)?;
    drop(body);
    if is_export(&head) {
        let turns = &EXPORT_TURNS[usize::from(role >= Role::Operator)];
        match timeout(REQUEST_TIMEOUT, turns.acquire()).await {
            Ok(turn) => drop(exporting.replace(turn.ok())),
            Err(_) => return Err(Problem::unavailable("another list is being exported; ask again")),
        }
    }
    work.replace(Some(Box::pin(async move {
        let _turn = turn;
        handlers::run(backend, caller, role, call).await
    })));
    poll_fn(|context| {
        let mut work = work.borrow_mut();
        let Some(run) = work.as_mut() else { return Poll::Pending };
        let result = ready!(run.as_mut().poll(context));
        *work = None;
        Poll::Ready(result)
    })
    .await
}

fn is_list(head: &http::request::Parts) -> bool {
    match head.uri.path() {
        "/v1/deny-import" => true,
        path => head.method == http::Method::PUT && path.starts_with("/v1/deny/"),
    }
}

fn is_export(head: &http::request::Parts) -> bool {
    match head.uri.path() {
        "/v1/deny-export" => true,
        path => head.method == http::Method::GET && path.starts_with("/v1/deny/"),
    }
}

async fn turn(takes_list: bool) -> Option<SemaphorePermit<'static>> {
    // Nobody closes it.
    if takes_list { LIST_TURN.acquire().await.ok() } else { None }
}

fn refusal(problem: &Problem) -> http::Response<Full<Bytes>> {
    let mut body = serde_json::to_vec(problem).unwrap_or_default();
    body.push(b'\n');
    let mut response = response(problem.status, "application/problem+json", body);
    if let Some(methods) = problem.allowed_methods() {
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static(methods));
    }
    response
}

fn response(status: u16, content_type: &'static str, body: Vec<u8>) -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
