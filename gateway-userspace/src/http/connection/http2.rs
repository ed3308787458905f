//! HTTP/2 on an open connection.
//!
//! Limits of the library are set, not left to its defaults: streams, windows, buffers, resets before and after a
//! request was taken; control frames are counted by [`control_frames`]. A stream whose client keeps its window shut for `write_timeout` is reset; the others go on.

mod control_frames;

use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use self::control_frames::ControlFrames;
use super::clock::{Clock, Overdue, Pace};
use super::tap::{Tap, Tapped};
use super::{Broken, Connection, End, Entered, Handler, exchange};
use crate::config::model::ListenLimits;
use crate::http::incoming::Incoming;

/// What a stream may send before we have taken it.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// What all streams of a connection together may send before we have taken it.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// What a stream buffers towards the client.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Streams that the client may reset before we have looked at them (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;

/// Streams that we reset for the client's errors before we end the connection (CVE-2025-8671).
const LOCAL_RESETS_MAX: usize = 100;

/// How often a silent client is asked whether it is still there, and how long it has to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What the library counts for a field beside its bytes (RFC 9113 §6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// Serves requests until the connection ends.
pub async fn run<IO: AsyncRead + AsyncWrite + Unpin + 'static, H: Handler>(
    io: IO,
    connection: Rc<Connection>,
    clock: Rc<Clock>,
    handler: &Rc<H>,
    entered: &Entered,
) -> End {
    let limits = &connection.settings().limits;
    let executor = Streams { next: Rc::default(), write_timeout: limits.write_timeout };
    let next = executor.next.clone();
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let pace = Rc::new(Pace::default());
        next.set(Some(pace.clone()));
        exchange::begin(handler, &connection, &clock, Some(pace), request.map(Incoming::from))
    });
    let seen = Rc::new(Seen::default());
    let counter = Counter { frames: ControlFrames::new(Instant::now().into_std()), seen: seen.clone() };
    let io = Tapped::new(io, counter);
    let mut http = pin!(builder(executor, limits).serve_connection(TokioIo::new(io), service));
    let mut timer = pin!(clock.timer());
    let mut draining = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = http.as_mut().poll(cx) {
                return Poll::Ready(match result {
                    _ if seen.flooded.get() => End::Broken(Broken::Protocol),
                    Ok(()) => End::Orderly,
                    Err(error) => end(&error),
                });
            }
            // After the first poll: a request that is there already is still served.
            if !draining && entered.poll_begun(cx).is_ready() {
                draining = true;
                http.as_mut().graceful_shutdown();
                continue;
            }
            match clock.poll_overdue(timer.as_mut(), cx) {
                Poll::Pending => return Poll::Pending,
                // A connection that never asked for anything is a browser's in stock.
                Poll::Ready(overdue)
                    if overdue == Overdue::Idle
                        || matches!(overdue, Overdue::Head { .. }) && !seen.asked.get() =>
                {
                    clock.closing();
                    http.as_mut().graceful_shutdown();
                }
                Poll::Ready(overdue) => return Poll::Ready(give_up(overdue, &clock)),
            }
        }
    })
    .await
}

/// What the frames of a connection have shown.
#[derive(Default)]
struct Seen {
    /// Too many control frames.
    flooded: Cell<bool>,
    /// A header section, perhaps not a whole one.
    asked: Cell<bool>,
}

/// Ends a connection that floods.
struct Counter {
    frames: ControlFrames,
    seen: Rc<Seen>,
}

impl Tap for Counter {
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let counted = self.frames.step(|| Instant::now().into_std(), bytes);
        self.seen.asked.set(self.frames.asked());
        counted.map_err(|flood| {
            self.seen.flooded.set(true);
            io::Error::other(flood)
        })
    }

    fn may_close(&self) -> bool {
        true
    }
}

fn give_up(overdue: Overdue, clock: &Clock) -> End {
    match overdue {
        Overdue::Head { .. } => End::Broken(Broken::HeaderTimeout),
        Overdue::Write => {
            clock.reset_on_close();
            End::Broken(Broken::WriteStalled)
        }
        Overdue::Idle | Overdue::Closing => End::Orderly,
    }
}

/// Whether the client broke the protocol or a limit: then the library ended the connection, not the network.
fn end(error: &hyper::Error) -> End {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match cause {
        Some(cause) if cause.is_library() => End::Broken(Broken::Protocol),
        _ => End::Orderly,
    }
}

fn builder(executor: Streams, limits: &ListenLimits) -> Builder<Streams> {
    // With the overhead added, the library's limit is the looser one, and ours answers; the library's is there for
    // sections that we would not want to hold.
    let list_bytes = limits.header_bytes_max + limits.header_count_max * FIELD_OVERHEAD_BYTES;
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Runs streams as local tasks, and resets those whose client does not read.
#[derive(Clone)]
struct Streams {
    /// The pace of the request that was taken last; the library spawns its stream right after.
    next: Rc<Cell<Option<Rc<Pace>>>>,
    write_timeout: Duration,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let write_timeout = self.write_timeout;
        tokio::task::spawn_local(Stream { stream, pace: self.next.take(), write_timeout, timer: None });
    }
}

pin_project! {
    /// One stream. When it is dropped, the library resets it.
    struct Stream<F> {
        #[pin]
        stream: F,
        pace: Option<Rc<Pace>>,
        write_timeout: Duration,
        // Made only when the client does not take what is there at once.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(since) = this.pace.as_ref().and_then(|pace| pace.waiting_since()) else {
                return Poll::Pending;
            };
            let at = since + *this.write_timeout;
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(());
            }
        }
    }
}
