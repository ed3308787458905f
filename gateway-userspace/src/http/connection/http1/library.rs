//! HTTP/1 by hyper.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::clock::{Clock, Overdue};
use super::super::tap::{Tap, Tapped};
use super::super::{Broken, Connection, End, Entered, Handler, exchange};
use super::{close, give_up};
use crate::config::model::ListenLimits;
use crate::http::incoming::Incoming;

/// Least size of the library's buffers.
const BUFFER_BYTES_MIN: usize = 8 << 10;

/// Number of fields that the library has room for on its stack; another number costs an allocation for each request.
const FIELDS_INLINE: usize = 100;

/// Serves requests until the connection ends, and closes it.
pub async fn run<IO: AsyncRead + AsyncWrite + Unpin, H: Handler>(
    io: IO,
    connection: Rc<Connection>,
    clock: Rc<Clock>,
    handler: &Rc<H>,
    entered: &Entered,
) -> End {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        exchange::begin(handler, &connection, &clock, None, request.map(Incoming::from))
    });
    let io = TokioIo::new(Tapped::new(io, Held));
    let mut http = builder(&connection.settings().limits).serve_connection(io, service);
    let mut timer = pin!(clock.timer());
    let mut draining = false;
    let finished = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Ok(result));
            }
            // After the first poll: a request that is there already is still served.
            if !draining && entered.poll_begun(cx).is_ready() {
                draining = true;
                Pin::new(&mut http).graceful_shutdown();
                continue;
            }
            match clock.poll_overdue(timer.as_mut(), cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Overdue::Idle) => {
                    clock.closing();
                    Pin::new(&mut http).graceful_shutdown();
                }
                Poll::Ready(overdue) => return Poll::Ready(Err(overdue)),
            }
        }
    })
    .await;
    let io = http.into_parts().io.into_inner().into_inner();
    match finished {
        Ok(result) => {
            close(io, &clock).await;
            match result {
                // The library has answered with 400, 414 or 431.
                Err(error) if error.is_parse() => End::Broken(Broken::Malformed),
                _ => End::Orderly,
            }
        }
        Err(overdue) => give_up(overdue, Some(io), &clock, connection.peer(), &**handler).await,
    }
}

fn builder(limits: &ListenLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        // Timeouts are the clock's: the library's would count idle time as header time, and take a timer for each
        // request.
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .half_close(false)
        .pipeline_flush(false)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MIN));
    if limits.header_count_max != FIELDS_INLINE {
        builder.max_headers(limits.header_count_max);
    }
    builder
}

/// Keeps the library from closing: [`close`] does it.
struct Held;

impl Tap for Held {
    fn read(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn may_close(&self) -> bool {
        false
    }
}
