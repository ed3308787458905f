//! The command line's side of the admin API: one blocking request, over the Unix socket or over TLS.
//!
//! HTTP/1.1 as the server speaks it: `POST /v1/NAME`, a JSON body, an answer with `Content-Length`. Within five seconds
//! in all, and 16 MiB; a list may take longer and be larger.

mod remote;

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::api::{Command, ExportDeny, ImportDeny};

pub use remote::{Credentials, Remote};

/// Longest time that a call takes.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a list may take in either direction.
const LIST_TIMEOUT: Duration = Duration::from_secs(100);
/// Largest answer's body.
const BODY_BYTES_MAX: usize = 16 << 20;
/// The same of a list.
const LIST_BYTES_MAX: usize = 1 << 30;
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Where a gateway is administered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// On this machine, by the path of its socket.
    Socket(PathBuf),
    /// On another, over TLS.
    Remote(Remote),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "the admin socket {}", path.display()),
            Address::Remote(remote) => remote.fmt(f),
        }
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there: the gateway is not running, or it is to be found elsewhere.
    #[error("{}", match at {
        Address::Socket(path) => format!("the gateway is not running, or its admin socket is not {}", path.display()),
        Address::Remote(remote) => format!("no gateway answers at {remote}"),
    })]
    NotRunning {
        /// Where it was looked for.
        at: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system does not let this user open the socket, or the gateway does not take the certificate.
    #[error("{}", match at {
        Address::Socket(path) => format!("this user may not use the admin socket {}", path.display()),
        Address::Remote(remote) => format!("{remote} does not admit this client's certificate"),
    })]
    NotAllowed {
        /// Where.
        at: Address,
        /// What the system or the gateway said.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or took longer than five seconds.
    #[error("the gateway did not answer on {at}")]
    Broken {
        /// Where.
        at: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address, or what is to be shown there, cannot be used.
    #[error(transparent)]
    Credentials(#[from] remote::Error),
    /// The answer is not what the API promises; client and server are of different versions, most likely.
    #[error("the gateway's answer was not understood: {0}")]
    NotUnderstood(String),
    /// The gateway refused.
    #[error("{}", .0.text())]
    Refused(Refusal),
}

/// An error of the server, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Refusal {
    /// HTTP status; filled in from the answer when the body does not have it.
    #[serde(default)]
    pub status: u16,
    /// What kind of problem.
    #[serde(default)]
    pub title: String,
    /// This very problem.
    #[serde(default)]
    pub detail: Option<String>,
    /// Every problem of a configuration that would not be valid, as `portcullis check` prints them.
    #[serde(default)]
    pub report: Option<String>,
}

impl Refusal {
    fn text(&self) -> String {
        match (&self.detail, self.title.as_str()) {
            (Some(detail), _) => detail.clone(),
            (None, "") => format!("the gateway answered with status {}", self.status),
            (None, title) => title.to_owned(),
        }
    }
}

/// Sends a command and waits for its answer.
pub fn call<C: Command>(address: &Address, command: &C) -> Result<C::Reply, Error> {
    let (patience, most) = match C::NAME {
        ImportDeny::NAME | ExportDeny::NAME => (LIST_TIMEOUT, LIST_BYTES_MAX),
        _ => (TIMEOUT, BODY_BYTES_MAX),
    };
    let deadline = Instant::now() + patience;
    let body = serde_json::to_vec(command).map_err(|error| Error::NotUnderstood(error.to_string()))?;
    let at = || address.clone();
    let failed = |source: io::Error| match source.kind() {
        _ if remote::is_refusal(&source) => Error::NotAllowed { at: at(), source },
        io::ErrorKind::PermissionDenied => Error::NotAllowed { at: at(), source },
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning { at: at(), source },
        _ => Error::Broken { at: at(), source },
    };
    let mut stream: Box<dyn Stream> = match address {
        Address::Socket(path) => Box::new(UnixStream::connect(path).map_err(failed)?),
        Address::Remote(remote) => Box::new(remote.connect(deadline)?.map_err(failed)?),
    };
    stream.limit(patience).map_err(failed)?;
    let head = format!(
        "POST /v1/{} HTTP/1.1\r\nHost: portcullis\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        C::NAME,
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).and_then(|()| stream.flush()).map_err(failed)?;
    let answer = read_answer(&mut *stream, deadline, most).map_err(|fault| match fault {
        Fault::Io(source) => failed(source),
        Fault::Format(what) => Error::NotUnderstood(what.into()),
    })?;
    if matches!(answer.status, 200 | 201) {
        return serde_json::from_slice(&answer.body).map_err(|error| Error::NotUnderstood(error.to_string()));
    }
    let mut refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    refusal.status = answer.status;
    Err(Error::Refused(refusal))
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Format(&'static str),
}

/// A stream whose reads and writes can be limited in time.
trait Stream: Read + Write {
    fn limit(&self, left: Duration) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn limit(&self, left: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

fn read_answer(stream: &mut dyn Stream, deadline: Instant, most: usize) -> Result<Answer, Fault> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Fault::Format("its head is larger than 64 KiB"));
        }
        more(stream, &mut bytes, deadline)?;
    };
    let head = std::str::from_utf8(&bytes[..head_end]).map_err(|_| Fault::Format("its head is not text"))?;
    let (status, length) = parse_head(head, most)?;
    while bytes.len() - head_end < length {
        more(stream, &mut bytes, deadline)?;
    }
    bytes.drain(..head_end);
    bytes.truncate(length);
    Ok(Answer { status, body: bytes })
}

fn more(stream: &mut dyn Stream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<(), Fault> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Fault::Io(io::ErrorKind::TimedOut.into()));
    }
    stream.limit(left).map_err(Fault::Io)?;
    let mut buffer = [0; 16 << 10];
    match stream.read(&mut buffer) {
        Ok(0) => Err(Fault::Format("it ends too early")),
        Ok(read) => {
            bytes.extend_from_slice(&buffer[..read]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        // The time is up: EAGAIN.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Fault::Io(io::ErrorKind::TimedOut.into()))
        }
        Err(error) => Err(Fault::Io(error)),
    }
}

/// Status and `Content-Length`.
fn parse_head(head: &str, most: usize) -> Result<(u16, usize), Fault> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or(Fault::Format("it is not HTTP/1.1"))?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let length = length.ok_or(Fault::Format("it has no Content-Length"))?;
    if length > most {
        return Err(Fault::Format("it is too large"));
    }
    Ok((status, length))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::admin::api::{GetStatus, ListAllowed};

    /// Answers one connection with `answer` and gives back what it was asked.
    fn serve(name: &str, answer: &'static [u8]) -> (PathBuf, std::thread::JoinHandle<String>) {
        let path = std::env::temp_dir().join(format!("portcullis-client-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(request).unwrap()
        });
        (path, thread)
    }

    #[test]
    fn a_command_is_posted_and_its_answer_decoded() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"allowed\":[]}trailing";
        let (path, thread) = serve("good", answer);
        assert!(call(&Address::Socket(path.clone()), &ListAllowed {}).unwrap().allowed.is_empty());
        assert!(thread.join().unwrap().starts_with("POST /v1/allowed HTTP/1.1\r\nHost: portcullis\r\n"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_refusal_says_what_the_gateway_said() {
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 41\r\n\r\n{\"title\":\"No\",\"detail\":\"not for viewers\"}";
        let (path, thread) = serve("refused", answer);
        let error = call(&Address::Socket(path.clone()), &GetStatus {}).unwrap_err();
        thread.join().unwrap();
        assert!(matches!(&error, Error::Refused(refusal) if refusal.status == 403), "{error:?}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_answer_that_is_not_http_or_ends_early_is_an_error() {
        for (name, answer) in [
            ("garbage", b"SSH-2.0\r\n\r\n".as_slice()),
            ("early", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}"),
            ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("huge", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        ] {
            let (path, thread) = serve(name, answer);
            let error = call(&Address::Socket(path.clone()), &GetStatus {}).unwrap_err();
            thread.join().unwrap();
            assert!(matches!(error, Error::NotUnderstood(_)), "{name}: {error:?}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn no_socket_means_not_running() {
        let error = call(&Address::Socket("/nonexistent/admin.sock".into()), &GetStatus {}).unwrap_err();
        assert!(matches!(error, Error::NotRunning { .. }));
    }
}
