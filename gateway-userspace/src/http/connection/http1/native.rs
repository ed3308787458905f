//! HTTP/1 by our own code: heads and framing by [`crate::http1`], one task for all of a connection, no buffer while it
//! is idle.
//!
//! What a client may rely on: answers come in the order of requests; a request that is sent before the answer to the one
//! before it waits, unread but for one buffer; and what is not a request gets an answer before the connection is closed.

mod reply;
mod socket;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::header::{EXPECT, TE};
use http::{Method, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use self::reply::{Reply, Terms};
use self::socket::{Missing, Socket};
use super::super::clock::Clock;
use super::super::{Broken, Connection, End, Entered, Handler, exchange};
use super::{close, give_up, refuse};
use crate::http::incoming::Incoming;
use crate::http::rejection::Rejection;
use crate::http1::framing::{self, Length};
use crate::http1::{fields, request};

/// Serves requests until the connection ends, and closes it.
pub async fn run<IO: AsyncRead + AsyncWrite + Unpin + 'static, H: Handler>(
    io: IO,
    connection: Rc<Connection>,
    clock: Rc<Clock>,
    handler: &Rc<H>,
    entered: &Entered,
) -> End {
    let socket = Rc::new(Socket::new(io));
    let finished = {
        let mut serving = pin!(serve(&socket, &connection, &clock, handler));
        let mut timer = pin!(clock.timer());
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = serving.as_mut().poll(cx) {
                    return Poll::Ready(Ok(ended));
                }
                // After the first poll: a request that is there already is still served.
                if !socket.is_draining() && entered.poll_begun(cx).is_ready() {
                    socket.drain();
                    continue;
                }
                return clock.poll_overdue(timer.as_mut(), cx).map(Err);
            }
        })
        .await
    };
    let io = socket.take();
    match finished {
        Ok(Ended::Closed) => {
            if let Some(io) = io {
                close(io, &clock).await;
            }
            End::Orderly
        }
        Ok(Ended::Reset) => {
            clock.reset_on_close();
            End::Orderly
        }
        Ok(Ended::Left) => End::Orderly,
        Ok(Ended::Malformed(rejection)) => {
            if let Some(io) = io {
                refuse(io, &clock, connection.peer(), &**handler, &rejection).await;
            }
            End::Broken(Broken::Malformed)
        }
        Err(overdue) => give_up(overdue, io, &clock, connection.peer(), &**handler).await,
    }
}

/// Why there is no further request.
enum Ended {
    /// Both sides, or one, wanted it so.
    Closed,
    /// The client has gone.
    Left,
    /// The answer broke off where the client could take that for its end.
    Reset,
    /// What came is not a request.
    Malformed(Rejection),
}

async fn serve<IO: AsyncRead + AsyncWrite + Unpin + 'static, H: Handler>(
    socket: &Rc<Socket<IO>>,
    connection: &Rc<Connection>,
    clock: &Rc<Clock>,
    handler: &Rc<H>,
) -> Ended {
    let limits = &connection.settings().limits;
    let mut reply = Reply::default();
    loop {
        let head = match poll_fn(|cx| socket.poll_head(limits, cx)).await {
            Ok(head) => head,
            Err(Missing::Closed) => return Ended::Closed,
            Err(Missing::Left) => return Ended::Left,
            Err(Missing::Malformed(rejection)) => return Ended::Malformed(rejection),
        };
        let mut terms = Terms {
            to_head: head.method == Method::HEAD,
            version: head.version,
            persists: fields::persists(head.version, &head.fields),
            with_trailers: fields::lists(&head.fields, &TE, "trailers"),
        };
        let body = match framing::of_request(head.version, &head.fields) {
            Ok(Length::Known(0)) => Incoming::none(),
            Ok(length) => {
                let expects = head.version == Version::HTTP_11 && head.fields.contains_key(EXPECT);
                let number = socket.expect_body(length, expects);
                Incoming::on(socket.clone(), number)
            }
            // Whoever judges heads comes to the same conclusion, and says so to the client.
            Err(_ambiguous) => {
                terms.persists = false;
                Incoming::none()
            }
        };
        let request = into_request(head, body);
        let mut answering = pin!(exchange::begin(handler, connection, clock, None, request));
        let answered = poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => socket.poll_left(cx).map(|()| None),
        });
        let Some(Ok(response)) = answered.await else { return Ended::Left };
        socket.skip_body();
        let persists = match reply.send(socket, response, terms).await {
            Ok(persists) => persists,
            Err(reply::Failed::Unsent) => return Ended::Left,
            Err(reply::Failed::Unfinished) => return Ended::Closed,
            Err(reply::Failed::Indistinct) => return Ended::Reset,
        };
        if !persists || !socket.is_between_requests() {
            return Ended::Closed;
        }
    }
}

fn into_request(head: request::Head, body: Incoming) -> Request<Incoming> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = head.target;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.fields;
    request
}
