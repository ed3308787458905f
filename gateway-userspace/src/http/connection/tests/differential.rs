//! Our own HTTP/1 held against hyper's: what both take for a request must be the same request, and where ours takes less,
//! the table in [`crate::http1`] must say so.

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::http1;
use super::*;
use crate::config::model::Http1;
use crate::http1::framing;

/// Cases that each run tries; all are made from one number, which a failure names.
const CASES: u64 = 6_000;

/// Turns of the event loop in which everything that was sent is answered.
const TURNS: usize = 30;

/// Well-formed and not, as clients, other proxies and smugglers send them.
const SEEDS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a?b=c HTTP/1.1\r\nHost: a.test:80\r\nAccept: */*\r\nX-A: \t b \r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /after HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /n HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /c HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\nA;x=\"y\"\r\n0123456789\r\n00\r\nX-T: 1\r\n\r\n",
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n1\t;e\r\nd\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /s HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabcGET /s HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "\r\n\r\nGET /blank HTTP/1.1\r\nHost: a\r\n\r\n",
    "PUT /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
    "DELETE /%2e%2E/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTE: trailers\r\n\r\nz",
];

/// Bytes that parsers trip over.
const BYTES: &[u8] = b"\r\n\0\t :;,/?#%\"\\0123456789abcdefxX\x0b\x0c\x7f\x80\xff+-.HTP";

/// One request as a handler gets it: its head as text, and its body with trailers, or nothing if that is incomplete.
type Seen = (String, Option<(Vec<u8>, String)>);

#[derive(Default)]
struct Recorder(RefCell<Vec<Seen>>);

impl Handler for Recorder {
    type Body = AnyBody;

    fn handle(
        self: &Rc<Self>,
        _: &Rc<Connection>,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = http::Response<AnyBody>> + use<> {
        let recorder = self.clone();
        async move {
            let (parts, body) = request.into_parts();
            // As intake does, for whoever reads the connection.
            if framing::of_request(parts.version, &parts.headers).is_err() {
                return refusal(&Rejection::BadFraming);
            }
            let mut fields = parts.headers.clone();
            // Said otherwise where the library has settled it.
            fields.remove("expect");
            let head = format!("{} {} {:?} {fields:?}", parts.method, parts.uri, parts.version);
            let body = body.collect().await.ok().map(|body| {
                let trailers = body.trailers().map_or_else(String::new, |trailers| format!("{trailers:?}"));
                (body.to_bytes().to_vec(), trailers)
            });
            recorder.0.borrow_mut().push((head, body));
            text("ok")
        }
    }

    fn broken(&self, _: &Peer, _: Broken, _: std::time::Duration) {}

    fn refuse(&self, _: &Peer, rejection: &Rejection) -> (crate::response::Head, Bytes) {
        answer::render(rejection, None, "", SystemTime::now(), &Default::default())
    }
}

/// What a handler sees of these bytes, sent in pieces, and what the client gets.
async fn converse(http1: Http1, input: &[u8], pieces: usize) -> (Vec<Seen>, Vec<u8>) {
    let connection = Rc::new(testing::connection_with(|settings| settings.limits.http1 = http1));
    let clock = Rc::new(Clock::new(tokio::time::Instant::now(), &connection.settings().limits));
    clock.opened(false);
    let recorder = Rc::new(Recorder::default());
    let (client, server) = tokio::io::duplex(1 << 20);
    let entered = Drain::new().enter();
    let serving = http1::run(server, connection, clock, &recorder, &entered);
    let sending = async {
        let (mut reader, mut writer) = tokio::io::split(client);
        for piece in input.chunks(input.len().div_ceil(pieces).max(1)) {
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // Nothing here waits for time, so a few turns are enough for all that came to be answered. A library that sees
        // the end of the connection earlier leaves out the rest.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let _ = writer.shutdown().await;
        let mut answers = Vec::new();
        let _ = reader.read_to_end(&mut answers).await;
        answers
    };
    let (_, answers) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(serving, sending) }).await.expect("an end");
    (recorder.0.take(), answers)
}

/// A small generator of numbers (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }
}

/// A seed, or two of them, with a few changes.
fn case(numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = SEEDS[numbers.below(SEEDS.len())].as_bytes().to_vec();
    if numbers.below(4) == 0 {
        let other = SEEDS[numbers.below(SEEDS.len())].as_bytes();
        bytes.truncate(numbers.below(bytes.len() + 1));
        bytes.extend_from_slice(&other[numbers.below(other.len())..]);
    }
    for _ in 0..numbers.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes[at] = BYTES[numbers.below(BYTES.len())],
            1 => bytes.insert(at, BYTES[numbers.below(BYTES.len())]),
            2 => drop(bytes.remove(at)),
            3 => {
                let end = (at + 1 + numbers.below(20)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = (at + numbers.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

/// Whether there can be something in these bytes that we refuse and hyper does not: LF alone (also where a body takes the
/// CR before it), or framing that is said twice or in another way.
fn may_be_refused(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input).to_ascii_lowercase();
    let lf_alone =
        input.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || input[at - 1] != b'\r'));
    lf_alone || text.contains("content-length") || text.contains("transfer-encoding")
}

#[test]
fn both_see_the_same_requests_and_ours_sees_none_that_the_other_does_not() {
    run(async {
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        let (mut agreed, mut refused) = (0_u64, 0_u64);
        for number in 0..CASES {
            let input = case(&mut numbers);
            let pieces = 1 + numbers.below(5);
            let (ours, answers) = converse(Http1::Native, &input, pieces).await;
            let (library, _) = converse(Http1::Hyper, &input, pieces).await;
            let shown = input.escape_ascii();
            if ours == library {
                agreed += 1;
                continue;
            }
            let all = ours.len();
            assert!(
                all <= library.len(),
                "case {number}, only ours sees it: {shown}\n{ours:#?}\n{library:#?}"
            );
            assert!(
                may_be_refused(&input),
                "case {number}, only the library: {shown}\n{ours:#?}\n{library:#?}"
            );
            // The last one may be one whose body we do not take to be whole.
            let cut = all > 0 && ours[all - 1].1.is_none() && ours[all - 1].0 == library[all - 1].0;
            let same = if cut { all - 1 } else { all };
            assert_eq!(ours[..same], library[..same], "case {number}: {shown}");
            let answers = String::from_utf8_lossy(&answers);
            assert!(cut || answers.contains(" 400 Bad Request"), "case {number}: {shown}");
            refused += 1;
        }
        // Both kinds came up.
        assert!(agreed > CASES / 2 && refused > CASES / 100, "{agreed} and {refused}");
    });
}

#[test]
fn what_neither_changes_is_what_a_handler_gets() {
    run(async {
        for http1 in [Http1::Native, Http1::Hyper] {
            for pieces in [1, 7, 1000] {
                let (seen, answers) = converse(http1, SEEDS[9].as_bytes(), pieces).await;
                let bodies: Vec<_> =
                    seen.iter().map(|(_, body)| body.as_ref().unwrap().0.as_slice()).collect();
                assert_eq!(bodies, [&b"hello"[..], b""], "{http1:?} {pieces}");
                assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200 OK").count(), 2);
            }
        }
    });
}
