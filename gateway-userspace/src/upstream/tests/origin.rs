//! An upstream that speaks HTTP/1.1 and HTTP/2 properly, and counts.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// The body of its answers.
pub(crate) type OriginBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// What it has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: Cell<usize>,
    pub(crate) requests: Cell<usize>,
}

/// Runs until the test ends.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Rc<Seen>,
}

/// How it speaks.
#[derive(Clone)]
pub(crate) enum Speaks {
    Http1,
    Http2 { streams_max: u32 },
    Http1OverTls(Arc<rustls::ServerConfig>),
    Http2OverTls(Arc<rustls::ServerConfig>),
}

impl Origin {
    /// Answers with what `answer` makes of each request.
    pub(crate) async fn start<A, F>(speaks: Speaks, answer: A) -> Origin
    where
        A: Fn(Request<Incoming>) -> F + Clone + 'static,
        F: Future<Output = Response<OriginBody>> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let address = listener.local_addr().expect("bound");
        let seen = Rc::new(Seen::default());
        let counted = seen.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                counted.connections.set(counted.connections.get() + 1);
                let (answer, counted) = (answer.clone(), counted.clone());
                let answer = move |request| {
                    counted.requests.set(counted.requests.get() + 1);
                    answer(request)
                };
                tokio::task::spawn_local(serve(speaks.clone(), stream, answer));
            }
        });
        Origin { address, seen }
    }

    /// Answers everything with the same text, over HTTP/1.1.
    pub(crate) async fn text(text: &'static str) -> Origin {
        Origin::start(Speaks::Http1, move |_request| async move { Response::new(full(text)) }).await
    }
}

/// A body of known length.
pub(crate) fn full(bytes: impl Into<Bytes>) -> OriginBody {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

async fn serve<A, F>(speaks: Speaks, stream: tokio::net::TcpStream, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<OriginBody>> + 'static,
{
    match speaks {
        Speaks::Http1 => serve_http1(stream, answer).await,
        Speaks::Http2 { streams_max } => serve_http2(stream, streams_max, answer).await,
        Speaks::Http1OverTls(tls) => {
            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                serve_http1(stream, answer).await;
            }
        }
        Speaks::Http2OverTls(tls) => {
            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                serve_http2(stream, 100, answer).await;
            }
        }
    }
}

async fn serve_http1<A, F>(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<OriginBody>> + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // Broken connections are part of some tests; what the client saw is what they check.
    let _ended =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn serve_http2<A, F>(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, streams_max: u32, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<OriginBody>> + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let _ended = hyper::server::conn::http2::Builder::new(OnThisThread)
        .max_concurrent_streams(streams_max)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[derive(Clone)]
struct OnThisThread;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
