//! The admin API's server: HTTP/1.1 with JSON on a Unix socket, on the control thread.
//!
//! Limits: one request on each connection, a body of at most 1 MiB (24 MiB of an `apply`) that comes within 5 s, 32
//! connections at once (more wait in the kernel's queue) of which strangers may hold 4, and two minutes for everything,
//! so that a client that does not read its answer does not hold a place for ever.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::handlers::{self, Backend};
use super::peer::{Access, Caller, Role};
use super::problem::Problem;
use super::{resource, socket};

const CONNECTIONS_MAX: usize = 32;
const STRANGERS_MAX: usize = 4;
const BODY_BYTES_MAX: usize = 1 << 20;
/// Of an `apply`: 16 MiB of configuration as JSON.
const FILES_BODY_BYTES_MAX: usize = 24 << 20;
const HEAD_BYTES_MAX: usize = 64 << 10;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const STRANGER_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the socket is and who may use it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Users beside root and the gateway's own who may change things.
    pub operators: Vec<u32>,
    /// Users who may look.
    pub viewers: Vec<u32>,
}

/// A socket that is there, and not served yet.
pub struct Server {
    listener: UnixListener,
    door: Rc<Door>,
}

/// Who comes in; a reload may change it while the server runs.
pub struct Door {
    name: socket::Name,
    access: RefCell<Access>,
    strangers: Cell<usize>,
}

impl Server {
    /// Makes the socket. Must be called in a tokio runtime.
    pub fn bind(options: Options) -> Result<Server, socket::Error> {
        let Options { socket: path, operators, viewers } = options;
        let access = Access::new(operators, viewers);
        let (listener, name) = socket::listen(&path, access.admits_others())?;
        let listen_failed = |source| socket::Error::System { what: "listen on", path, source };
        let listener = UnixListener::from_std(listener).map_err(listen_failed)?;
        let door = Door { name, access: RefCell::new(access), strangers: Cell::new(0) };
        Ok(Server { listener, door: Rc::new(door) })
    }

    /// To change who comes in.
    pub fn door(&self) -> Rc<Door> {
        self.door.clone()
    }

    /// Serves until the future is dropped, which also ends every connection. Must be called in a `LocalSet`.
    pub async fn serve<B: Backend>(self, backend: Rc<B>) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => {
                        if let Some(guest) = Guest::admit(&self.door, &stream) {
                            connections.spawn_local(serve(stream, guest, backend.clone()));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the admin socket");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "an admin request failed");
                },
            }
        }
    }
}

impl Door {
    /// Takes over what a reload changed. Connections that stand keep their role.
    pub fn change(&self, operators: Vec<u32>, viewers: Vec<u32>) -> io::Result<()> {
        let access = Access::new(operators, viewers);
        self.name.admit_others(access.admits_others())?;
        self.access.replace(access);
        Ok(())
    }
}

/// Somebody with a connection; strangers give their place back when they go.
struct Guest {
    caller: Caller,
    role: Role,
    door: Rc<Door>,
}

impl Guest {
    /// None: not even an answer, since there are enough strangers already, or nobody knows who it is.
    fn admit(door: &Rc<Door>, stream: &UnixStream) -> Option<Guest> {
        let credentials = stream.peer_cred().ok()?;
        let caller = Caller { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() };
        let role = door.access.borrow().role(caller.uid);
        if role == Role::Stranger {
            if door.strangers.get() >= STRANGERS_MAX {
                return None;
            }
            door.strangers.set(door.strangers.get() + 1);
        }
        Some(Guest { caller, role, door: door.clone() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.role == Role::Stranger {
            self.door.strangers.set(self.door.strangers.get() - 1);
        }
    }
}

async fn serve<B: Backend>(stream: UnixStream, guest: Guest, backend: Rc<B>) {
    let (head, whole) = match guest.role {
        Role::Stranger => (STRANGER_TIMEOUT, STRANGER_TIMEOUT),
        Role::Viewer | Role::Operator => (REQUEST_TIMEOUT, CONNECTION_TIMEOUT),
    };
    let (caller, role) = (guest.caller, guest.role);
    let service = service_fn(|request| answer(&*backend, caller, role, request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A client that went away, or that spoke something else, is its own concern.
    let _ = timeout(whole, pin!(connection)).await;
}

async fn answer<B: Backend>(
    backend: &B,
    caller: Caller,
    role: Role,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let result = match role {
        Role::Stranger => {
            let Caller { uid, gid, pid } = caller;
            let pid = pid.unwrap_or_default();
            tracing::warn!(target: "audit", uid, gid, pid, path = request.uri().path(), "not permitted");
            Err(Problem::forbidden(format!("{caller} is neither an operator nor a viewer of this gateway")))
        }
        Role::Viewer | Role::Operator => respond(backend, caller, role, request).await,
    };
    Ok(match result {
        Ok(json) => response(200, "application/json", json),
        Err(problem) => refusal(&problem),
    })
}

async fn respond<B: Backend>(
    backend: &B,
    caller: Caller,
    role: Role,
    request: http::Request<Incoming>,
) -> Result<Vec<u8>, Problem> {
    let (head, body) = request.into_parts();
    let takes_files = role == Role::Operator && head.uri.path() == "/v1/apply";
    let most = if takes_files { FILES_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
    let body = match timeout(REQUEST_TIMEOUT, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::too_large(format!("a request has at most {} MiB", most >> 20)));
        }
        Ok(Err(error)) => return Err(Problem::bad_request(format!("the body did not arrive: {error}"))),
        Err(_) => return Err(Problem::timeout("the body did not arrive within 5 s")),
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let call = resource::parse(head.method.as_str(), target, &body)?;
    handlers::run(backend, caller, role, call).await
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

#[cfg(test)]
mod tests;
