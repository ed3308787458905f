//! The operations listener: `/healthz`, `/readyz` and `/metrics` over HTTP/1.1, apart from the traffic.
//!
//! Limits: [`CONNECTIONS_MAX`] connections, [`HEADER_TIMEOUT`] for a request's head, which also ends idle connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::metrics::Registry;
use super::readiness::Readiness;

/// Most connections at the same time; others wait.
pub const CONNECTIONS_MAX: usize = 64;
/// Longest time until a request's head is complete.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an error of accept, such as too few file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener shows.
pub struct Operations {
    /// For `/metrics`.
    pub registry: Arc<Registry>,
    /// For `/readyz`.
    pub readiness: Arc<Readiness>,
}

/// Serves until `shutdown` completes; connections end with it.
pub async fn serve(listener: TcpListener, operations: Arc<Operations>, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let place = tokio::select! {
            () = &mut shutdown => return,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { return };
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the operations listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let operations = operations.clone();
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let answer = operations.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that breaks off is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_headers(64)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Operations {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
            answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, String::from("ok\n")),
            "/readyz" => self.readyz(request.uri().query()),
            "/metrics" => {
                let mut answer = text(StatusCode::OK, self.registry.text());
                let format = header::HeaderValue::from_static(prometheus_text());
                answer.headers_mut().insert(header::CONTENT_TYPE, format);
                answer
            }
            _ => problem(StatusCode::NOT_FOUND, "Not found"),
        }
    }

    fn readyz(&self, query: Option<&str>) -> Response<Full<Bytes>> {
        let ready = self.readiness.is_ready();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let verbose =
            query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
        let short = if ready { "ready\n" } else { "not ready\n" };
        text(status, if verbose { self.readiness.verbose() } else { short.to_owned() })
    }
}

/// The content type of Prometheus' text format.
const fn prometheus_text() -> &'static str {
    "text/plain; version=0.0.4; charset=utf-8"
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", body)
}

fn problem(status: StatusCode, title: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"title": title, "status": status.as_u16(), "error": title});
    answer(status, "application/problem+json", body.to_string())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;
    use crate::observe::readiness::Kernel;

    async fn start() -> (SocketAddr, Arc<Operations>, oneshot::Sender<()>) {
        let operations = Arc::new(Operations {
            registry: Arc::new(Registry::new()),
            readiness: Arc::new(Readiness::new()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(serve(listener, operations.clone(), async { drop(stopped.await) }));
        (address, operations, stop)
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    async fn get(address: SocketAddr, target: &str) -> String {
        ask(address, &format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_shown() {
        let (address, operations, _stop) = start().await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
        let not_ready = get(address, "/readyz?verbose").await;
        assert!(not_ready.starts_with("HTTP/1.1 503"), "{not_ready}");
        assert!(not_ready.contains("[-] config: no configuration is in force"), "{not_ready}");
        operations.readiness.config_loaded();
        operations.readiness.listeners_bound();
        operations.readiness.kernel(Kernel::Off);
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
        let metrics = get(address, "/metrics").await;
        assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.contains("portcullis_build_info"), "{metrics}");
    }

    #[tokio::test]
    async fn anything_else_is_refused_in_json() {
        let (address, _operations, _stop) = start().await;
        let unknown = get(address, "/metrics/").await;
        assert!(
            unknown.starts_with("HTTP/1.1 404") && unknown.contains(r#""error":"Not found""#),
            "{unknown}"
        );
        let post = ask(address, "POST /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"), "{post}");
        let head = ask(address, "HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask(address, "garbage\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    }

    #[tokio::test]
    async fn idle_connections_take_no_more_than_their_places_and_the_rest_waits() {
        let (address, _operations, stop) = start().await;
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(address).await.expect("a connection"));
        }
        let waiting = tokio::spawn(async move { get(address, "/healthz").await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        idle.pop();
        assert!(waiting.await.expect("no panic").starts_with("HTTP/1.1 200"));
        drop(stop);
    }
}
