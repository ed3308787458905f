//! Real sockets on loopback, raw bytes from the client, and the real handler interface.
//!
//! Deadlines are short here, and every test waits for what must happen, never for time to pass.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::header::Name;
use crate::http::body::RequestBody;
use crate::http::{answer, client_address, intake};
use crate::listener::{self, Listener, accept};
use crate::policy::request_limits;
use crate::request::RequestId;

mod differential;
mod http1;
mod http2;
mod opening;

/// The deadline that a test is about.
const SHORT: Duration = Duration::from_millis(300);

/// Longer than anything that must happen takes, shorter than the deadlines that a test is not about.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers by path, as a gateway would: through intake, body limits and refusals.
struct Origin {
    broken: RefCell<Vec<Broken>>,
    limits: Arc<request_limits::config::Config>,
}

type AnyBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

impl Handler for Origin {
    type Body = AnyBody;

    fn handle(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = http::Response<AnyBody>> + use<> {
        assert_ne!(request.uri().path(), "/panic-at-once", "before there is a future");
        let (origin, connection) = (self.clone(), connection.clone());
        async move { origin.answer(&connection, request).await.unwrap_or_else(|rejection| refusal(&rejection)) }
    }

    fn broken(&self, _: &Peer, why: Broken, _: Duration) {
        self.broken.borrow_mut().push(why);
    }

    fn refuse(&self, _: &Peer, rejection: &Rejection) -> (crate::response::Head, Bytes) {
        answer::render(rejection, None, "", SystemTime::now(), &Default::default())
    }
}

impl Origin {
    async fn answer(
        &self,
        connection: &Rc<Connection>,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<AnyBody>, Rejection> {
        let (parts, incoming) = request.into_parts();
        let head = intake::read(parts, connection)?;
        let body = RequestBody::new(incoming, &head.fields, &self.limits)?;
        Ok(match head.path() {
            "/panic" => panic!("in a request"),
            "/panic-body" => ok(PanickingBody),
            "/endless" => ok(Endless),
            // More than the sockets between take.
            "/large" => ok(Full::new(Bytes::from(vec![b'x'; 32 << 20]))),
            "/ja4" => text(connection.peer().ja4().map_or("none", |ja4| ja4.as_str())),
            "/never" => std::future::pending().await,
            "/soon" => {
                tokio::time::sleep(SHORT).await;
                text("soon")
            }
            "/body" => {
                let watch = body.watch();
                match body.collect().await {
                    Ok(body) => text(&format!("{} bytes", body.to_bytes().len())),
                    Err(_) => return Err(watch.fault().expect("a body that failed says why").into()),
                }
            }
            "/trailers" => {
                let mut body = body;
                body.refuse_trailers([Name::from_static("x-user-id")].into());
                let body = body.collect().await.map_err(Rejection::from)?;
                let mut names: Vec<_> = body.trailers().into_iter().flat_map(|map| map.keys()).collect();
                names.sort_by_key(|name| name.as_str());
                text(&format!("{names:?}"))
            }
            "/client" if !connection.believes_headers() => text(&connection.peer().source.ip().to_string()),
            "/client" => {
                let trusted = &connection.settings().trusted;
                text(&client_address::client_address(connection.peer(), &head.fields, trusted).to_string())
            }
            path => text(&format!("{} {} {}", head.method(), head.host(), path)),
        })
    }
}

fn ok<B>(body: B) -> http::Response<AnyBody>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    http::Response::new(body.map_err(|never| match never {}).boxed_unsync())
}

fn text(text: &str) -> http::Response<AnyBody> {
    ok(Full::new(Bytes::from(text.to_owned())))
}

fn refusal(rejection: &Rejection) -> http::Response<AnyBody> {
    let id = RequestId(Value::from_static("test"));
    let (head, body) = answer::render(rejection, Some(&id), "test", SystemTime::now(), &Default::default());
    let mut response = ok(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(head.status).unwrap();
    *response.headers_mut() = head.fields.into_raw();
    response
}

struct PanickingBody;

impl http_body::Body for PanickingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        panic!("in a body")
    }
}

/// 16 KiB for as long as anybody asks.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 16 << 10] = [b'x'; 16 << 10];
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&CHUNK)))))
    }
}

/// A gateway's front, on a port of its own.
struct Front {
    address: SocketAddr,
    origin: Rc<Origin>,
    listener: Arc<Listener>,
    drain: Drain,
    /// Connections made by clients, and connections taken.
    connected: Cell<usize>,
    taken: Rc<Cell<usize>>,
}

impl Front {
    /// Long deadlines, but for those that `change` shortens.
    fn start(change: impl FnOnce(&mut Settings)) -> Front {
        let mut settings = testing::settings();
        settings.limits.header_timeout = PATIENCE * 2;
        settings.limits.handshake_timeout = PATIENCE * 2;
        change(&mut settings);
        let socket = listener::bind("web", SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(address, settings);
        let limits = request_limits::config::Config {
            body_bytes_max: 1000,
            body_grace: SHORT,
            parts_max: Some(2),
            ..request_limits::config::Config::default()
        };
        let origin = Rc::new(Origin { broken: RefCell::default(), limits: Arc::new(limits) });
        let drain = Drain::new();
        let (handler, draining) = (origin.clone(), drain.clone());
        let taken = Rc::new(Cell::new(0));
        let count = taken.clone();
        let take = move |accepted| {
            count.set(count.get() + 1);
            spawn_local(serve(accepted, handler.clone(), draining.clone()));
        };
        spawn_local(accept::run(listener.clone(), socket, Rc::new(|_, _, _| {}), take));
        Front { address, origin, listener, drain, connected: Cell::new(0), taken }
    }

    async fn stream(&self) -> TcpStream {
        self.connected.set(self.connected.get() + 1);
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect(&self) -> Client {
        Client(self.stream().await)
    }

    /// Waits until no connection is open, then says what was reported.
    async fn reports(&self) -> Vec<Broken> {
        while self.taken.get() < self.connected.get() {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await; // The last one taken has begun.
        tokio::time::timeout(PATIENCE, self.drain.emptied()).await.expect("connections end");
        assert_eq!(self.listener.connections(), 0);
        self.origin.broken.borrow().clone()
    }
}

/// A client that sends bytes.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the server closes.
    async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.0.read_to_end(&mut bytes);
        tokio::time::timeout(PATIENCE, read).await.expect("the server closes").expect("an orderly close");
        let _ = self.0.shutdown().await;
        String::from_utf8(bytes).unwrap()
    }

    /// What comes until `end` is seen.
    async fn until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            let read = tokio::time::timeout(PATIENCE, self.0.read_buf(&mut bytes)).await;
            let read =
                read.unwrap_or_else(|_| panic!("{end:?} comes after {:?}", String::from_utf8_lossy(&bytes)));
            assert!(read.unwrap() > 0, "{end:?} comes after {:?}", String::from_utf8_lossy(&bytes));
        }
        String::from_utf8(bytes).unwrap()
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn the_task_of_a_connection_is_small() {
    run(async {
        let front = Front::start(|_| {});
        let size = Cell::new(0);
        let socket = listener::bind("other", SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
        let listener = Listener::new(socket.local_addr().unwrap(), testing::settings());
        let address = listener.address();
        let take = |accepted| {
            size.set(size_of_val(&serve(accepted, front.origin.clone(), front.drain.clone())));
            listener.stop();
        };
        let accepting = accept::run(listener.clone(), socket, Rc::new(|_, _, _| {}), take);
        let (client, accepted) = tokio::join!(TcpStream::connect(address), accepting);
        client.unwrap();
        accepted.unwrap();
        assert!((1..=1024).contains(&size.get()), "{} bytes", size.get());
    });
}
