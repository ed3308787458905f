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
use tokio::task::JoinHandle;

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
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(accept(listener, state.clone()));
        Server { address, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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

async fn accept(listener: tokio::net::TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&state, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
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
