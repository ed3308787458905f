//! HTTP/1 from strangers, read by our own layer, by hyper, and by a second reading of ours.
//!
//! An input says in its first bytes who speaks, how the handler behaves and where the bytes are cut; the rest is what comes on
//! the connection. Our layer must agree with the second [`reading`] in all: what is taken, what is refused, each byte of head,
//! body and trailers, and where the next message begins. With hyper it must agree but for the rows of
//! [`difference::ROWS`], which are all of one kind: it refuses what hyper takes.

mod answer;
pub mod difference;
mod grammar;
pub mod reading;
mod request;
pub mod weakness;
mod wire;

use std::borrow::Cow;
use std::collections::HashSet;

use crate::run::Target;
use ::tests::chance::Chance;
use difference::Why;
use weakness::Weakness;

/// What stands before the bytes of the connection.
const HEAD_BYTES: usize = 3;

/// Longest input. More than the buffers and limits of a head would need more time, and those have tests of their own.
const BYTES_MAX: usize = HEAD_BYTES + (4 << 10);

/// Inputs out of the grammar that a run begins with.
const SEEDS: u64 = 200;

/// Both layers.
pub struct Http {
    runtime: tokio::runtime::Runtime,
    weakness: Option<Weakness>,
    /// Where hyper has taken more.
    differences: HashSet<Why>,
}

/// What became of an input on which all agree that must.
struct Tried {
    /// A number for what it went through.
    way: u64,
    /// Why hyper took something that we did not.
    difference: Option<Why>,
}

impl Http {
    /// # Errors
    /// If the kernel refuses what a runtime needs.
    pub fn new() -> std::io::Result<Http> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Http { runtime, weakness: None, differences: HashSet::new() })
    }

    /// The same, where our layer has a weakness.
    #[must_use]
    pub fn with(self, weakness: Weakness) -> Http {
        Http { weakness: Some(weakness), ..self }
    }
}

/// How an input is tried.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    is_answer: bool,
    /// What the handler does with a body: reads it, does not, or reads a part. For answers, which body the request has:
    /// none, one that is there, or one that does not end.
    reads: Reads,
    /// For answers: whether they are to HEAD.
    to_head: bool,
    cut: Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    All,
    Nothing,
    OneFrame,
}

/// Where the bytes are cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Nowhere.
    Whole,
    /// Once, there.
    Once(usize),
    /// Into pieces of so many bytes.
    Pieces(usize),
}

impl Scenario {
    fn of(head: [u8; HEAD_BYTES]) -> Scenario {
        let [flags, kind, place] = head;
        let place = usize::from(place) | usize::from(kind & 0x0f) << 8;
        Scenario {
            is_answer: flags & 1 == 1,
            reads: match flags >> 1 & 7 {
                0 => Reads::Nothing,
                1 => Reads::OneFrame,
                _ => Reads::All,
            },
            to_head: flags >> 4 & 3 == 3,
            cut: match kind >> 4 & 3 {
                0 => Cut::Whole,
                1 => Cut::Pieces(1 + place % 16),
                _ => Cut::Once(place),
            },
        }
    }

    fn pieces<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let (first, rest, size) = match self.cut {
            Cut::Whole => (bytes, &[][..], 1),
            Cut::Once(place) => {
                let (first, rest) = bytes.split_at(if bytes.is_empty() { 0 } else { place % bytes.len() });
                (first, rest, rest.len().max(1))
            }
            Cut::Pieces(size) => (&[][..], bytes, size),
        };
        std::iter::once(first).chain(rest.chunks(size))
    }
}

impl Target for Http {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let written = SAMPLES.iter().map(|(is_answer, sample)| {
            [&[u8::from(*is_answer) | 0x0e, 0, 0][..], sample.as_bytes()].concat()
        });
        let grown = (0..SEEDS).map(|seed| grammar::input(&mut Chance::new(seed)));
        written.chain(grown).collect()
    }

    fn fresh(&self, chance: &mut Chance) -> Option<Vec<u8>> {
        chance.one_in(4).then(|| grammar::input(chance))
    }

    fn words(&self) -> &'static [&'static [u8]] {
        WORDS
    }

    fn bytes_max(&self) -> usize {
        BYTES_MAX
    }

    fn check(&mut self, input: &[u8]) -> Result<u64, String> {
        let mut head = [0; HEAD_BYTES];
        let bytes = input.len().min(HEAD_BYTES);
        head[..bytes].copy_from_slice(&input[..bytes]);
        let scenario = Scenario::of(head);
        let _entered = self.runtime.enter();
        let bytes = &input[bytes..];
        let given = match self.weakness {
            Some(weakness) => Cow::Owned(weakness.repair(bytes, scenario.is_answer)),
            None => Cow::Borrowed(bytes),
        };
        let tried = if scenario.is_answer {
            answer::check(&scenario, bytes, &given)
        } else {
            request::check(&scenario, bytes, &given, self.weakness)
        }?;
        self.differences.extend(tried.difference);
        Ok(tried.way)
    }
}

/// Whether an answer, and what comes.
const SAMPLES: &[(bool, &str)] = &[
    (false, "GET /a?b=c HTTP/1.1\r\nHost: a.test:80\r\nX-A: \t b \r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (false, "HEAD http://a/x HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (false, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
    (
        false,
        "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        false,
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0 \r\nX-T: 1\r\n\r\nGET /n HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        false,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /s HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        false,
        "PUT /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        false,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, x-a\r\nUpgrade: websocket\r\nX-A: 1\r\nX_B: 2\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (
        true,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    ),
    (true, "HTTP/1.0 200 OK\r\n\r\nuntil it closes"),
    (true, "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
    (true, "HTTP/1.1 304 Not Modified\nETag: \"a\"\n\nHTTP/1.1 200 OK\r\n\r\n"),
];

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0\r\n\r\n",
    b"0",
    b"00",
    b"_",
    b"+",
    b"-",
    b"\0",
    b"\x7f",
    b"\xff",
    b"GET / HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 304 x\r\n",
    b"Host: a\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:chunked\r\n",
    b"chunked, ",
    b", chunked",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n",
    b"Trailer: X-Sum\r\n",
    b"X-Sum: 1\r\n",
    b"3\r\nabc\r\n",
    b"ffffffffffffffff",
    b"10000000000000003",
    b";a=\"b\"",
    b" : ",
    b"\r\n x",
    b"HEAD ",
    b"CONNECT a:80 ",
];

#[cfg(test)]
mod tests {
    use super::difference::ROWS;
    use super::*;

    /// Messages for which hyper does what the row says, answers after `true`.
    fn examples() -> Vec<(Why, bool, String)> {
        let answer = |rest: &str| (true, format!("HTTP/1.1 200 OK\r\n{rest}"));
        let request = |rest: &str| (false, format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}"));
        let chunks = |rest: &str| request(&format!("Transfer-Encoding: chunked\r\n\r\n{rest}"));
        let half = "e".repeat(9 << 10);
        [
            (Why::LineEnd, request("X: 1\n\r\n")),
            (Why::LengthTwice, request("Content-Length: 1\r\nContent-Length: 1\r\n\r\nx")),
            (Why::LengthHuge, answer("Content-Length: 9223372036854775808\r\n\r\nx")),
            (Why::Both, request("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
            (Why::CodingList, answer("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
            (Why::AnswerCoding, answer("Transfer-Encoding: gzip\r\n\r\nx")),
            (Why::Bodiless, (true, "HTTP/1.1 204 x\r\nContent-Length: x\r\n\r\n".into())),
            (Why::Switch, (true, "HTTP/1.1 101 x\r\n\r\n".into())),
            (Why::ChunkZeros, chunks("00000000000000001\r\nx\r\n0\r\n\r\n")),
            (Why::ChunkPadding, chunks("1                 \r\nx\r\n0\r\n\r\n")),
            (Why::ChunkExtension, chunks("1;a\x0bb\r\nx\r\n0\r\n\r\n")),
            (Why::TrailerLineEnd, chunks("0\r\nA: b\r\n\n\r\n\r\n")),
            (Why::Overhead, chunks(&format!("1;{half}\r\nx\r\n0\r\nA: {half}\r\n\r\n"))),
            (Why::NearlyClose, request("Connection: close;x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ]
        .map(|(why, (is_answer, bytes))| (why, is_answer, bytes))
        .into()
    }

    #[test]
    fn each_row_is_what_hyper_does() {
        for (why, is_answer, bytes) in examples() {
            let mut http = Http::new().expect("a runtime");
            let input = [&[u8::from(is_answer) | 0x0e, 0, 0][..], bytes.as_bytes()].concat();
            http.check(&input).unwrap_or_else(|what| panic!("{why:?}: {what}"));
            assert!(http.differences.contains(&why), "{why:?}: {:?}", http.differences);
        }
        let shown = examples();
        assert!(
            ROWS.iter().all(|row| shown.iter().any(|(why, ..)| *why == row.why)),
            "a row without an example"
        );
    }
}
