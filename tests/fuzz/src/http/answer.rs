//! Answers: what a request gets of them, and whether its connection is used again.

use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::task::LocalSet;
use upstream_in_memory::Idle;

use super::difference::{Why, library_may_take};
use super::reading::{Field, Length, Message, Side, Stop, message};
use super::request::{grouped, listed};
use super::wire::{Wire, drive};
use super::{Reads, Scenario, Tried};

/// Requests on one connection.
const REQUESTS_MAX: usize = 3;

/// Tries both on these bytes. Our layer is `given` others only where it is to have a weakness.
pub(super) fn check(scenario: &Scenario, bytes: &[u8], given: &[u8]) -> Result<Tried, String> {
    let mut hasher = DefaultHasher::new();
    let wire = Wire::new(scenario.pieces(given));
    let mut idle = Idle::new(Box::new(wire.clone()));
    let side = Side::Upstream { to_head: scenario.method() == Method::HEAD };
    let (mut at, mut difference) = (0, None);
    for number in 0..REQUESTS_MAX {
        let told = |what: String| format!("{what}\nanswer {number} at {at}\n{scenario:?}");
        let (ours, again) = ask(idle, &wire, scenario).map_err(|error| told(format!("ours: {error}")))?;
        let read = message(&bytes[at..], side);
        let library = if number == 0 {
            of_the_library(Wire::new(scenario.pieces(bytes)), scenario)
        } else {
            of_the_library(Wire::new([&bytes[at..]].into_iter()), scenario)
        };
        let library = library.map_err(|error| told(format!("hyper: {error}")))?;
        let shown = || format!("\nours {ours:?}\nhyper {library:?}\nread {read:?}");
        as_read(&ours, &read).map_err(|what| told(what + &shown()))?;
        if as_the_library(&ours, &library, &read).map_err(|what| told(what + &shown()))? {
            difference = difference.or(why(&read));
        }
        let ways = ours
            .as_ref()
            .map(|ours| (ours.status, ours.whole, ours.data.len().min(2), ours.fields.len().min(4)));
        (ways.ok(), library.is_ok(), why(&read), again.is_some()).hash(&mut hasher);
        let Ok(read) = read else { break };
        let expected = is_there_again(&read, scenario, wire.given() == at + read.end);
        if again.is_some() != expected {
            return Err(told(format!("the connection is there again: {}", !expected)));
        }
        let Some(connection) = again else { break };
        idle = connection;
        at += read.end;
        if !idle.is_usable() {
            break;
        }
    }
    Ok(Tried { way: hasher.finish(), difference })
}

/// Why a message is not taken, or not to its end.
fn why(read: &Result<Message, Stop>) -> Option<Why> {
    match read {
        Err(Stop::Refused(why)) | Ok(Message { body: Err(Stop::Refused(why)), .. }) => Some(*why),
        _ => None,
    }
}

/// An answer as it was seen.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    status: StatusCode,
    version: Version,
    fields: Vec<Field>,
    data: Vec<u8>,
    trailers: Vec<Field>,
    whole: bool,
}

type Answered = Result<Seen, String>;

/// Whether the connection is there for another request; `exact` if nothing after the answer has come.
fn is_there_again(read: &Message, scenario: &Scenario, exact: bool) -> bool {
    let ends = read.length == Length::UntilClose || read.body.is_err() || !read.head.persists();
    !ends && exact && scenario.reads != Reads::OneFrame
}

/// Holds what our layer saw against the second reading.
fn as_read(ours: &Answered, read: &Result<Message, Stop>) -> Result<(), String> {
    let (ours, read) = match (ours, read) {
        (Err(_), Err(_)) => return Ok(()),
        (Err(error), Ok(_)) => return Err(format!("it must be taken: {error}")),
        (Ok(_), Err(stop)) => return Err(format!("it must not be taken: {stop:?}")),
        (Ok(ours), Ok(read)) => (ours, read),
    };
    let status = ours.status.as_str().as_bytes() == read.head.word;
    let version = (ours.version == Version::HTTP_11) == (read.head.minor == 1);
    if !status || !version || ours.fields != grouped(&read.head.fields) {
        return Err("another head".into());
    }
    match &read.body {
        Ok((data, trailers)) if ours.whole && ours.data == *data && ours.trailers == grouped(trailers) => {
            Ok(())
        }
        Err(_) if !ours.whole && read.data.starts_with(&ours.data) => Ok(()),
        _ => Err("another body".into()),
    }
}

/// Holds what our layer saw against what the library saw; whether that took more.
fn as_the_library(ours: &Answered, library: &Answered, read: &Result<Message, Stop>) -> Result<bool, String> {
    let may_take_more = why(read).is_some_and(library_may_take);
    match (ours, library) {
        (Err(_), Err(_)) => Ok(false),
        (Err(_), Ok(_)) if may_take_more => Ok(true),
        (Err(_), Ok(_)) => Err("only hyper takes it".into()),
        (Ok(_), Err(_)) => Err("hyper refuses it".into()),
        (Ok(ours), Ok(library)) => {
            let head = ours.status == library.status
                && ours.version == library.version
                && ours.fields == library.fields;
            let cut = !ours.whole && library.whole;
            let body = match (ours.whole, library.whole) {
                (true, true) => ours == library,
                (false, false) => true,
                (false, true) => may_take_more,
                (true, false) => false,
            };
            if head && body { Ok(cut) } else { Err("hyper sees another answer".into()) }
        }
    }
}

/// Sends a request and reads its answer; whoever is to send another one gets the connection.
fn ask(idle: Idle, wire: &Wire, scenario: &Scenario) -> Result<(Answered, Option<Idle>), String> {
    let local = LocalSet::new();
    let answered = drive(local.run_until(idle.ask(request(scenario))), wire)?;
    Ok(match answered {
        Err(error) => (Err(error), None),
        Ok(answer) => {
            let seen = Seen {
                status: answer.head.status,
                version: answer.head.version,
                fields: listed(&answer.head.headers),
                data: answer.data,
                trailers: listed(&answer.trailers),
                whole: answer.whole.is_ok(),
            };
            (Ok(seen), answer.idle)
        }
    })
}

fn of_the_library(wire: Wire, scenario: &Scenario) -> Result<Answered, String> {
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire.clone()))
            .await
            .map_err(|error| error.to_string())?;
        let mut connection = pin!(connection);
        let mut answer = pin!(async move {
            let response =
                sender.send_request(request(scenario)).await.map_err(|error| format!("{error:?}"))?;
            let (head, mut body) = response.into_parts();
            let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
            let whole = loop {
                match body.frame().await {
                    None => break true,
                    Some(Err(_)) => break false,
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) => data.extend_from_slice(&bytes),
                        Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
                    },
                }
            };
            let (fields, trailers) = (listed(&head.headers), listed(&trailers));
            Ok(Seen { status: head.status, version: head.version, fields, data, trailers, whole })
        });
        let mut ended = false;
        poll_fn(|cx| {
            ended = ended || connection.as_mut().poll(cx).is_ready();
            answer.as_mut().poll(cx)
        })
        .await
    };
    drive(exchange, &wire)
}

impl Scenario {
    fn method(&self) -> Method {
        match self.reads {
            Reads::All if self.to_head => Method::HEAD,
            Reads::All => Method::GET,
            Reads::Nothing | Reads::OneFrame => Method::POST,
        }
    }
}

/// With a body that is there, with one that never ends, or without.
fn request(scenario: &Scenario) -> Request<Upload> {
    let upload = match scenario.reads {
        Reads::All => Upload { left: None, ends: true },
        Reads::Nothing => Upload { left: Some(Bytes::from_static(b"upload")), ends: true },
        Reads::OneFrame => Upload { left: Some(Bytes::from_static(b"upload")), ends: false },
    };
    let mut request = Request::new(upload);
    *request.method_mut() = scenario.method();
    *request.uri_mut() = http::Uri::from_static("/a");
    request.headers_mut().insert(HOST, HeaderValue::from_static("a"));
    if scenario.reads != Reads::All {
        request.headers_mut().insert(http::header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    request
}

/// The body of a request.
#[derive(Debug)]
struct Upload {
    left: Option<Bytes>,
    ends: bool,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.left.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ends && self.left.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data = self.data.escape_ascii();
        write!(
            f,
            "{} {:?} whole {} | {data} | {} fields",
            self.status,
            self.version,
            self.whole,
            self.fields.len()
        )
    }
}
