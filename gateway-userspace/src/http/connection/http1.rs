//! HTTP/1 on an open connection.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::clock::{Clock, Overdue};
use super::tap::{Tap, Tapped};
use super::{Broken, Connection, End, Entered, Handler, LINGER, exchange};
use crate::config::model::ListenLimits;
use crate::http::rejection::Rejection;

/// Least size of the library's buffers.
const BUFFER_BYTES_MIN: usize = 8 << 10;

/// Number of fields that the library has room for on its stack; another number costs an allocation for each request.
const FIELDS_INLINE: usize = 100;

/// Most bytes that are thrown away while waiting for the client to close its side.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Serves requests until the connection ends, and closes it.
pub async fn run<IO: AsyncRead + AsyncWrite + Unpin, H: Handler>(
    io: IO,
    connection: Rc<Connection>,
    clock: Rc<Clock>,
    handler: &Rc<H>,
    entered: &Entered,
) -> End {
    let service = service_fn(|request| exchange::begin(handler, &connection, &clock, None, request));
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
    let mut io = http.into_parts().io.into_inner().into_inner();
    match finished {
        Ok(result) => {
            close(io, &clock).await;
            match result {
                // The library has answered with 400, 414 or 431.
                Err(error) if error.is_parse() => End::Broken(Broken::Malformed),
                _ => End::Orderly,
            }
        }
        Err(Overdue::Head { begun: true }) => {
            let _ = timeout(LINGER, io.write_all(&too_slow(&**handler))).await;
            close(io, &clock).await;
            End::Broken(Broken::HeaderTimeout)
        }
        Err(Overdue::Write) => {
            clock.reset_on_close();
            End::Broken(Broken::WriteStalled)
        }
        Err(Overdue::Head { begun: false } | Overdue::Idle | Overdue::Closing) => End::Orderly,
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

/// The whole answer to a header section that took too long.
fn too_slow<H: Handler>(handler: &H) -> Vec<u8> {
    let (head, body) = handler.refuse(&Rejection::HeadersTooSlow);
    let mut bytes = format!("HTTP/1.1 {} Request Timeout\r\n", head.status).into_bytes();
    for (name, value) in head.fields.iter() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Closes our side, and then waits for the client to close its own: see [`LINGER`].
async fn close<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO, clock: &Clock) {
    let orderly = async {
        io.shutdown().await?;
        // On the heap: it would make every connection's task larger.
        let (mut scratch, mut left) = (vec![0; 4096], LINGER_BYTES_MAX);
        // After an idle time there is no answer that a reset could destroy.
        while !clock.client_ended() && !clock.is_closing() && left > 0 {
            match io.read(&mut scratch).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, orderly).await;
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
