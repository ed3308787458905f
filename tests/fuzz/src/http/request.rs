//! Requests: what a handler gets of them, and what an upstream would.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gateway_userspace::config::model::{Http1, ListenLimits};
use gateway_userspace::http::connection::{Broken, Connection, Drain, Handler, converse};
use gateway_userspace::http::incoming::Incoming;
use gateway_userspace::http::rejection::Rejection;
use gateway_userspace::http::{answer, intake};
use gateway_userspace::http1::{framing, write};
use gateway_userspace::listener::Settings;
use gateway_userspace::request::{self, Peer};
use gateway_userspace::response;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, Uri};
use http_body::Body as _;
use http_body_util::Full;

use super::difference::{Why, library_may_take};
use super::reading::{Field, Length, Message, Side, Stop, message};
use super::weakness::Weakness;
use super::wire::{Wire, drive};
use super::{Reads, Scenario, Tried};

/// Statuses that say that what came is not a request, or not one to be taken.
const REFUSALS: [u16; 4] = [400, 405, 414, 431];

/// Tries both on these bytes. Our layer is `given` others, and its answers are changed, only where it is to have a weakness.
pub(super) fn check(
    scenario: &Scenario,
    bytes: &[u8],
    given: &[u8],
    weakness: Option<Weakness>,
) -> Result<Tried, String> {
    let mut ours = run(Http1::Native, scenario, given).map_err(|error| format!("ours: {error}"))?;
    if let Some(weakness) = weakness {
        let refused = ours.refusal().is_some();
        weakness.spoil(&mut ours.answers, refused);
    }
    let library = run(Http1::Hyper, scenario, bytes).map_err(|error| format!("hyper: {error}"))?;
    let told = |what: String| format!("{what}\nours {ours:#?}\nhyper {library:#?}\n{scenario:?}");
    let (ended, open) = as_read(&ours, bytes).map_err(told)?;
    answers(&ours).map_err(told)?;
    let takes_more = as_the_library(&ours, &library, ended, open).map_err(told)?;
    let mut hasher = DefaultHasher::new();
    for seen in &ours.seen {
        let forwarded = seen.forwarded.as_ref().map(|_| ()).map_err(|reason| *reason);
        (forwarded, seen.whole, seen.data.len().min(2), seen.trailers.len().min(2)).hash(&mut hasher);
    }
    (ours.broken == Some(Broken::Malformed), library.seen.len(), ended.why()).hash(&mut hasher);
    Ok(Tried { way: hasher.finish(), difference: ended.why().filter(|_| takes_more) })
}

/// What became of a connection.
struct Outcome {
    seen: Vec<Seen>,
    /// The head, if one was refused whose framing is unclear.
    ambiguous: Option<Ambiguous>,
    broken: Option<Broken>,
    answers: Vec<u8>,
}

/// A head whose framing is unclear.
#[derive(Debug, Clone, Copy)]
struct Ambiguous {
    to_head: bool,
    /// What the handler answers.
    status: u16,
}

impl Outcome {
    /// The answer that ends the connection because what came is not taken: whether it is to HEAD, and which statuses it may
    /// have.
    fn refusal(&self) -> Option<(bool, Vec<u16>)> {
        match self.ambiguous {
            Some(Ambiguous { to_head, status }) => Some((to_head, vec![status])),
            None => (self.broken == Some(Broken::Malformed)).then(|| (false, REFUSALS.into())),
        }
    }
}

/// A request as a handler gets it.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    method: Method,
    head: Vec<u8>,
    /// What an upstream would get, or why it would get nothing.
    forwarded: Result<Vec<u8>, &'static str>,
    /// Whether the handler has asked for all of the body.
    asked: bool,
    /// Whether it got that.
    whole: bool,
    data: Vec<u8>,
    trailers: Vec<Field>,
    /// The status of the handler's answer.
    status: u16,
    /// Whether the answer says that the connection ends.
    closes: bool,
}

/// Where the readings of a connection ended.
#[derive(Clone, Copy)]
enum Ended {
    /// The last request was to be the last; for hyper too, or for us alone.
    Closed { alone: bool },
    /// The handler did not read a body, and the connection ended there or later.
    Early,
    /// There is no further message, or no further body.
    Stopped(Stop),
}

impl Ended {
    fn why(self) -> Option<Why> {
        match self {
            Ended::Stopped(Stop::Refused(why)) => Some(why),
            Ended::Closed { alone: true } => Some(Why::NearlyClose),
            Ended::Stopped(Stop::Partial) | Ended::Closed { alone: false } | Ended::Early => None,
        }
    }
}

/// Holds what our layer saw against the second reading, and says where that ended, and whether a body was not read, after which
/// the connection may end or go on.
fn as_read(ours: &Outcome, bytes: &[u8]) -> Result<(Ended, bool), String> {
    let (mut at, mut open) = (0, false);
    let mut all = ours.seen.iter();
    loop {
        let found = message(&bytes[at..], Side::Client);
        let (seen, read) = match (all.next(), found) {
            (Some(seen), Ok(read)) => (seen, read),
            (Some(_), Err(stop)) => return Err(format!("it must not be taken at {at}: {stop:?}")),
            (None, Ok(_)) if open => return Ok((Ended::Early, open)),
            (None, Ok(read)) => return Err(format!("it must be taken at {at}: {read:?}")),
            (None, Err(stop)) => {
                let refused = ours.refusal().is_some();
                if matches!(stop, Stop::Refused(_)) && has_head(&bytes[at..]) && !refused && !open {
                    return Err(format!("no answer says why it is refused at {at}: {stop:?}"));
                }
                return Ok((Ended::Stopped(stop), open));
            }
        };
        same(seen, &read)?;
        let closes = seen.closes || !read.head.persists();
        open |= !seen.asked && read.length != Length::Known(0);
        let ended = match read.body {
            Err(stop) => Some(Ended::Stopped(stop)),
            Ok(_) if closes => {
                let alone = !seen.closes && read.head.persists_by_words();
                Some(Ended::Closed { alone })
            }
            Ok(_) => None,
        };
        if let Some(ended) = ended {
            let is_last = all.next().is_none();
            return if is_last { Ok((ended, open)) } else { Err(format!("there must be none after {at}")) };
        }
        at += read.end;
    }
}

/// Whether there is an empty line.
fn has_head(bytes: &[u8]) -> bool {
    let from = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
    let bytes = &bytes[from..];
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// A request as it was seen and as it was read.
fn same(seen: &Seen, read: &Message) -> Result<(), String> {
    let target = Uri::try_from(&read.head.target[..]).map_err(|error| error.to_string())?;
    let head = shown(&read.head.word, &target, read.head.minor, &grouped(&read.head.fields));
    if seen.head != head {
        return Err(format!("another head: {}", head.escape_ascii()));
    }
    match &read.body {
        Ok((data, trailers)) if seen.asked => {
            if !seen.whole || seen.data != *data || seen.trailers != grouped(trailers) {
                return Err(format!("another body: {read:?}"));
            }
            forwarded(seen)
        }
        _ if !read.data.starts_with(&seen.data) => Err(format!("other data: {read:?}")),
        Err(stop) if seen.whole => Err(format!("the body must not be taken: {stop:?}")),
        _ => Ok(()),
    }
}

/// What an upstream gets is one request again, with the same body.
fn forwarded(seen: &Seen) -> Result<(), String> {
    let Ok(bytes) = &seen.forwarded else { return Ok(()) };
    match message(bytes, Side::Client) {
        Ok(read) if read.end == bytes.len() && read.data == seen.data && read.body.is_ok() => Ok(()),
        other => Err(format!("what is forwarded is another message: {other:?}")),
    }
}

/// Each request has its answer, a refusal ends the connection, and nothing follows.
fn answers(ours: &Outcome) -> Result<(), String> {
    let mut rest = &ours.answers[..];
    let mut next = |to_head: bool, statuses: &[u16]| {
        let answer = match message(rest, Side::Upstream { to_head }) {
            Ok(answer) if answer.body.is_ok() => answer,
            other => return Err(format!("an answer that is none: {other:?} of {}", rest.escape_ascii())),
        };
        rest = &rest[answer.end..];
        if statuses.iter().any(|status| answer.head.word == status.to_string().as_bytes()) {
            return Ok(answer);
        }
        Err(format!("not one of {statuses:?}: {}", answer.head.word.escape_ascii()))
    };
    // The handler answers also when a body breaks off.
    for seen in &ours.seen {
        next(seen.method == Method::HEAD, &[seen.status])?;
    }
    if let Some((to_head, statuses)) = ours.refusal() {
        let answer = next(to_head, &statuses)?;
        if !REFUSALS.map(|status| status.to_string().into_bytes()).contains(&answer.head.word) {
            return Err(format!("no refusal: {answer:?}"));
        }
        if !answer.head.values("connection").eq([b"close"]) {
            return Err(format!("a refusal that does not end the connection: {answer:?}"));
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("one answer too many: {}", rest.escape_ascii())) }
}

/// Holds what our layer saw against what the library saw; whether that took more.
fn as_the_library(ours: &Outcome, library: &Outcome, ended: Ended, open: bool) -> Result<bool, String> {
    let may_take_more = ended.why().is_some_and(library_may_take);
    let mut takes_more = false;
    for (ours, library) in ours.seen.iter().zip(&library.seen) {
        let cut = !ours.whole && library.whole && ours.asked;
        if cut && !may_take_more {
            return Err("only hyper takes the body".into());
        }
        let data_differs =
            ours.asked && !cut && (ours.whole != library.whole || ours.whole && ours != library);
        if ours.head != library.head || data_differs {
            return Err("hyper sees another request".into());
        }
        takes_more |= cut;
    }
    let (seen, of_library) = (ours.seen.len(), library.seen.len());
    match seen.cmp(&of_library) {
        Ordering::Equal => Ok(takes_more),
        Ordering::Less if may_take_more => Ok(true),
        // Each throws away as much of a body that nobody reads as it likes.
        _ if open => Ok(takes_more),
        _ => Err(format!("{seen} requests, and {of_library} for hyper")),
    }
}

fn run(http1: Http1, scenario: &Scenario, bytes: &[u8]) -> Result<Outcome, String> {
    let wire = Wire::new(scenario.pieces(bytes));
    let recorder =
        Rc::new(Recorder { reads: scenario.reads, seen: RefCell::default(), ambiguous: Cell::default() });
    let settings = settings(http1);
    let drain = Drain::new();
    let broken = drive(converse(wire.clone(), peer(), settings, &recorder, &drain), &wire)?;
    let (seen, ambiguous) = (recorder.seen.take(), recorder.ambiguous.get());
    Ok(Outcome { seen, ambiguous, broken, answers: wire.written() })
}

fn settings(http1: Http1) -> Arc<Settings> {
    Arc::new(Settings {
        name: "fuzz".into(),
        tls: None,
        http2: false,
        proxy_protocol: false,
        check_server_name: true,
        fingerprint: false,
        access: None,
        limits: ListenLimits { http1, ..ListenLimits::default() },
        trusted: Arc::default(),
    })
}

fn peer() -> Peer {
    let source = SocketAddr::from(([192, 0, 2, 1], 4711));
    Peer { socket: source, source, local: SocketAddr::from(([192, 0, 2, 2], 80)), trusted: false, tls: None }
}

/// Notes what it gets.
struct Recorder {
    reads: Reads,
    seen: RefCell<Vec<Seen>>,
    /// The head that it refused because its framing is unclear.
    ambiguous: Cell<Option<Ambiguous>>,
}

impl Handler for Recorder {
    type Body = Full<Bytes>;

    fn handle(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + use<> {
        let (recorder, connection) = (self.clone(), connection.clone());
        async move {
            let (parts, body) = request.into_parts();
            let fields = listed(&parts.headers);
            let minor = u8::from(parts.version == http::Version::HTTP_11);
            let mut seen = Seen {
                method: parts.method.clone(),
                head: shown(parts.method.as_str().as_bytes(), &parts.uri, minor, &fields),
                forwarded: Err(""),
                asked: false,
                whole: false,
                data: Vec::new(),
                trailers: Vec::new(),
                status: 200,
                closes: false,
            };
            let unclear = framing::of_request(parts.version, &parts.headers).is_err();
            let head = match intake::read(parts, &connection) {
                Ok(head) => head,
                Err(rejection) if unclear || rejection == Rejection::BadFraming => {
                    let (to_head, status) = (seen.method == Method::HEAD, rejection.appearance().status);
                    recorder.ambiguous.set(Some(Ambiguous { to_head, status }));
                    return refusal(&rejection);
                }
                Err(rejection) => {
                    let appearance = rejection.appearance();
                    seen.status = appearance.status;
                    seen.closes = appearance.close;
                    seen.forwarded = Err(appearance.reason);
                    recorder.seen.borrow_mut().push(seen);
                    return refusal(&rejection);
                }
            };
            let (method, length) = (seen.method.clone(), body.size_hint().exact());
            seen.asked = recorder.reads == Reads::All || length == Some(0);
            let number = recorder.seen.borrow().len();
            recorder.seen.borrow_mut().push(seen);
            recorder.read(body, number).await;
            recorder.note(number, |seen| {
                if seen.whole {
                    seen.forwarded = Ok(to_upstream(&method, &head, length, &seen.data));
                }
            });
            Response::new(Full::new(Bytes::from_static(b"ok")))
        }
    }

    fn broken(&self, _: &Peer, _: Broken, _: Duration) {}

    fn refuse(&self, _: &Peer, rejection: &Rejection) -> (response::Head, Bytes) {
        answer::render(rejection, None, "", SystemTime::UNIX_EPOCH, &Default::default())
    }
}

impl Recorder {
    /// Reads as much of a body as the handler reads.
    async fn read(&self, mut body: Incoming, number: usize) {
        if self.reads == Reads::Nothing && !body.is_end_stream() {
            return;
        }
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(frame) = frame else { return };
            match frame.into_data() {
                Ok(data) => self.note(number, |seen| seen.data.extend_from_slice(&data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.note(number, |seen| seen.trailers = listed(&trailers));
                }
            }
            if self.reads == Reads::OneFrame {
                return;
            }
        }
        self.note(number, |seen| seen.whole = true);
    }

    fn note(&self, number: usize, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.borrow_mut()[number]);
    }
}

/// The request as an upstream gets it: framed by what is known of the body, as [`gateway_userspace::action`] does it.
fn to_upstream(method: &Method, head: &request::Head, length: Option<u64>, data: &[u8]) -> Vec<u8> {
    let mut fields = HeaderMap::new();
    for (name, value) in head.fields.iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("a name");
        fields.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    fields.remove(CONTENT_LENGTH);
    if let Ok(host) = HeaderValue::from_str(head.authority()) {
        fields.insert(HOST, host);
    }
    match length {
        Some(0) => {}
        Some(length) => drop(fields.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        None => drop(fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
    let target = match head.query() {
        Some(query) => format!("{}?{query}", head.path()),
        None => head.path().to_owned(),
    };
    let mut bytes = Vec::new();
    write::request(&mut bytes, method, &target, &fields);
    if length.is_some() {
        bytes.extend_from_slice(data);
        return bytes;
    }
    if !data.is_empty() {
        write::chunk_size(&mut bytes, data.len());
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(write::CRLF);
    }
    write::last_chunk(&mut bytes, &HeaderMap::new(), &[]);
    bytes
}

fn refusal(rejection: &Rejection) -> Response<Full<Bytes>> {
    let appearance = rejection.appearance();
    let mut response = Response::new(Full::new(Bytes::from_static(b"no")));
    *response.status_mut() = http::StatusCode::from_u16(appearance.status).expect("a status");
    if appearance.close {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

pub(super) fn listed(fields: &HeaderMap) -> Vec<Field> {
    fields.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec())).collect()
}

/// Fields of one name stand together in the library's table, where the first of them stood.
pub(super) fn grouped(fields: &[Field]) -> Vec<Field> {
    let mut grouped: Vec<Field> = Vec::new();
    for field in fields {
        let last = grouped.iter().rposition(|(name, _)| *name == field.0);
        grouped.insert(last.map_or(grouped.len(), |last| last + 1), field.clone());
    }
    grouped
}

fn shown(method: &[u8], target: &Uri, minor: u8, fields: &[Field]) -> Vec<u8> {
    let target = target.to_string();
    let mut head = [method, b" ", target.as_bytes(), b" ", &[b'0' + minor]].concat();
    for (name, value) in fields {
        head.extend([b"\n", &name[..], b": ", value].concat());
    }
    head
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let answers = self.answers.escape_ascii();
        write!(f, "{:#?}, ambiguous: {:?}, {:?}\nanswers: {answers}", self.seen, self.ambiguous, self.broken)
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (head, data) = (self.head.escape_ascii(), self.data.escape_ascii());
        let forwarded = self.forwarded.as_ref().map(|bytes| bytes.escape_ascii());
        write!(f, "{head} | asked {} whole {} | {data} | ", self.asked, self.whole)?;
        match forwarded {
            Ok(bytes) => write!(f, "forwarded {bytes}"),
            Err(reason) => write!(f, "not forwarded: {reason}"),
        }?;
        write!(f, " | trailers {:?}", self.trailers)
    }
}
