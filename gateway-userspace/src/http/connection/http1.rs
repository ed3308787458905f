//! HTTP/1 on an open connection, by our own code ([`native`]) or by hyper ([`library`]), as the listener says.

mod library;
pub mod native;

use std::io;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::clock::{Clock, Overdue};
use super::{Broken, Connection, End, Entered, Handler, LINGER};
use crate::config::model::Http1;
use crate::header::Name;
use crate::http::rejection::Rejection;
use crate::http1::write;
use crate::request::Peer;

const DATE: Name = Name::from_static("date");

/// Most bytes that are thrown away while waiting for the client to close its side.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Serves requests until the connection ends, and closes it.
pub async fn run<IO: AsyncRead + AsyncWrite + Unpin + 'static, H: Handler>(
    io: IO,
    connection: Rc<Connection>,
    clock: Rc<Clock>,
    handler: &Rc<H>,
    entered: &Entered,
) -> End {
    match connection.settings().limits.http1 {
        Http1::Native => native::run(io, connection, clock, handler, entered).await,
        Http1::Hyper => Box::pin(library::run(io, connection, clock, handler, entered)).await,
    }
}

/// Ends a connection that did not get on in time.
async fn give_up<IO: AsyncRead + AsyncWrite + Unpin, H: Handler>(
    overdue: Overdue,
    io: Option<IO>,
    clock: &Clock,
    peer: &Peer,
    handler: &H,
) -> End {
    match overdue {
        Overdue::Head { begun: true } => {
            if let Some(io) = io {
                refuse(io, clock, peer, handler, &Rejection::HeadersTooSlow).await;
            }
            End::Broken(Broken::HeaderTimeout)
        }
        Overdue::Write => {
            clock.reset_on_close();
            End::Broken(Broken::WriteStalled)
        }
        Overdue::Idle => {
            clock.closing();
            if let Some(io) = io {
                close(io, clock).await;
            }
            End::Orderly
        }
        Overdue::Head { begun: false } | Overdue::Closing => End::Orderly,
    }
}

/// Answers where there is no whole request, and closes.
async fn refuse<IO: AsyncRead + AsyncWrite + Unpin, H: Handler>(
    mut io: IO,
    clock: &Clock,
    peer: &Peer,
    handler: &H,
    rejection: &Rejection,
) {
    let (head, body) = handler.refuse(peer, rejection);
    let status = http::StatusCode::from_u16(head.status).unwrap_or(http::StatusCode::BAD_REQUEST);
    let mut bytes = Vec::new();
    write::status_line(&mut bytes, http::Version::HTTP_11, status);
    for (name, value) in head.fields.iter().filter(|(name, _)| *name != &crate::header::CONNECTION) {
        write::field(&mut bytes, name.as_str(), value.as_bytes());
    }
    write::field(&mut bytes, "connection", b"close");
    write::length(&mut bytes, body.len() as u64);
    if !head.fields.contains(&DATE) {
        write::date(&mut bytes);
    }
    bytes.extend_from_slice(write::CRLF);
    bytes.extend_from_slice(&body);
    let _ = timeout(LINGER, io.write_all(&bytes)).await;
    close(io, clock).await;
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
