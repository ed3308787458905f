//! A small real HTTP server for tests: documents can be put and exchanged, requests are counted, dropping it closes
//! its port and connections.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

#[derive(Clone)]
pub struct Answer {
    status: u16,
    location: Option<String>,
    body: Bytes,
}

impl Answer {
    pub fn ok(body: impl Into<String>) -> Answer {
        Answer { status: 200, location: None, body: Bytes::from(body.into()) }
    }

    pub fn status(status: u16) -> Answer {
        Answer { status, location: None, body: Bytes::new() }
    }

    pub fn redirect(location: &str) -> Answer {
        Answer { status: 302, location: Some(location.to_owned()), body: Bytes::new() }
    }
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    requests: HashMap<String, usize>,
}

pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(None).await
    }

    /// With TLS, for the name `localhost`; the text is the PEM of the authority behind the certificate.
    pub async fn start_tls() -> (Server, String) {
        let key = rcgen::KeyPair::generate().expect("a new key");
        let certificate = rcgen::CertificateParams::new(vec![String::from("localhost")])
            .and_then(|parameters| parameters.self_signed(&key))
            .expect("a certificate");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a pair");
        (Server::with(Some(TlsAcceptor::from(Arc::new(config)))).await, certificate.pem())
    }

    async fn with(tls: Option<TlsAcceptor>) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(accept(listener, tls, state.clone()));
        Server { address, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn put(&self, path: &str, answer: Answer) {
        self.state.lock().expect("no panic").answers.insert(path.to_owned(), answer);
    }

    pub fn requests(&self, path: &str) -> usize {
        self.state.lock().expect("no panic").requests.get(path).copied().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (state, tls) = (state.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, &state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) {
    let service = service_fn(|request| {
        let answer = answer(state, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn answer(
    state: &Mutex<State>,
    request: &http::Request<hyper::body::Incoming>,
) -> http::Response<Full<Bytes>> {
    let mut state = state.lock().expect("no panic");
    let path = request.uri().path().to_owned();
    *state.requests.entry(path.clone()).or_default() += 1;
    let answer = state.answers.get(&path).cloned().unwrap_or(Answer::status(404));
    let mut response = http::Response::builder().status(answer.status);
    if let Some(location) = answer.location {
        response = response.header(http::header::LOCATION, location);
    }
    response.body(Full::new(answer.body)).expect("a response")
}
