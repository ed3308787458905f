//! A request on a connection, until the head of its answer.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::{Method, Request, StatusCode};

use super::answer::Reception;
use super::upload::Upload;
use super::{Connection, Error};
use crate::http1::{answer, fields, framing, write};
use crate::upstream::body::{ClientBody, RequestBody};

/// Most bytes that the buffer for heads keeps from one request to the next.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// Where heads are put together.
    static HEAD: RefCell<Vec<u8>> = RefCell::default();
}

/// A request that is on its way, and then waits for the head of its answer. Dropping it closes the connection.
#[derive(Debug)]
pub(in crate::upstream) struct Call<B> {
    /// `None` once it has been answered.
    connection: Option<Box<Connection>>,
    to_send: ToSend<B>,
    /// Why nothing more can be sent. The answer may be on its way all the same, and then says more than this.
    send_fault: Option<io::Error>,
    to_head: bool,
    /// What came after an interim answer.
    after: Bytes,
}

/// What is not with the target yet.
#[derive(Debug)]
enum ToSend<B> {
    Nothing,
    /// The rest of a request without a body.
    Head(Bytes),
    Body(Box<Upload<B>>),
}

/// A request of which the target has not got the whole head, so that it may be sent again.
#[derive(Debug)]
pub(in crate::upstream) struct Unsent<B> {
    pub(in crate::upstream) error: Error,
    pub(in crate::upstream) request: Request<RequestBody<B>>,
}

impl<B: ClientBody> Call<B> {
    /// Sends a request with a target in origin form. One without a body is on the connection when this returns, as a
    /// rule.
    pub(in crate::upstream) fn begin(
        mut connection: Box<Connection>,
        request: Request<RequestBody<B>>,
    ) -> Result<Call<B>, Box<Unsent<B>>> {
        let to_head = *request.method() == Method::HEAD;
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let sent = HEAD.with_borrow_mut(|head| {
            head.clear();
            head.shrink_to(KEPT_BYTES_MAX);
            write::request(head, request.method(), target, request.headers());
            // With a body the head waits for the first bytes of that.
            if request.body().is_empty() { connection.write_at_once(head) } else { Ok(None) }
        });
        let rest = match sent {
            Ok(rest) => rest,
            Err(error) => return Err(Box::new(Unsent { error: error.into(), request })),
        };
        let (parts, body) = request.into_parts();
        let to_send = match rest {
            Some(rest) => ToSend::Head(rest),
            None if body.is_empty() => ToSend::Nothing,
            None => {
                let upload = HEAD.with_borrow(|head| Upload::new(head, &parts.headers, body));
                ToSend::Body(Box::new(upload))
            }
        };
        fields::recycle(parts.headers);
        let connection = Some(connection);
        Ok(Call { connection, to_send, send_fault: None, to_head, after: Bytes::new() })
    }

    /// The head of the answer, and its body. Not to be polled again after it was ready.
    pub(in crate::upstream) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(http::response::Parts, Reception), Error>> {
        self.poll_send(cx)?;
        let (head, after) =
            ready!(self.poll_final_head(cx)).map_err(|error| match self.send_fault.take() {
                Some(fault) if matches!(error, Error::Io(_) | Error::Closed) => Error::Io(fault),
                _ => error,
            })?;
        let length = framing::of_answer(self.to_head, head.status, head.version, &head.fields)?;
        let connection = self.connection.take().expect("not polled after it was ready");
        let (upload, is_whole) = match std::mem::replace(&mut self.to_send, ToSend::Nothing) {
            ToSend::Body(upload) => (Some(upload), true),
            ToSend::Nothing => (None, true),
            // The next request must not become the rest of this one.
            ToSend::Head(_) => (None, false),
        };
        let persists = fields::persists(head.version, &head.fields) && self.send_fault.is_none() && is_whole;
        let reception = Reception::new(connection, upload, length, after, persists);
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = head.status;
        parts.version = head.version;
        parts.headers = head.fields;
        Poll::Ready(Ok((parts, reception)))
    }

    /// Sends what can be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let sent = match &mut self.to_send {
            ToSend::Nothing => return Ok(()),
            ToSend::Head(rest) => connection.poll_write_all(rest, cx).map_err(Error::Io),
            ToSend::Body(upload) => upload.poll(&mut connection.stream, cx),
        };
        match sent {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Error::Io(fault))) => self.send_fault = Some(fault),
            Poll::Ready(Err(other)) => return Err(other),
        }
        self.to_send = ToSend::Nothing;
        Ok(())
    }

    /// The first head that is not an interim one. Nobody asked for a switch of protocols, so that is a final one.
    fn poll_final_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(answer::Head, Bytes), Error>> {
        let connection = self.connection.as_mut().expect("not polled after it was ready");
        loop {
            let (head, after) = ready!(connection.poll_head(cx, std::mem::take(&mut self.after)))?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok((head, after)));
            }
            self.after = after;
        }
    }
}

impl Connection {
    /// Writes as much as goes at once, and gives the rest. An empty rest has been taken and not sent on yet.
    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<Option<Bytes>> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.poll_write(&mut cx, rest)? {
                Poll::Ready(written) => rest = &rest[written..],
                Poll::Pending => return Ok(Some(Bytes::copy_from_slice(rest))),
            }
        }
        let flushed = self.poll_flush(&mut cx)?;
        Ok(flushed.is_pending().then(Bytes::new))
    }

    fn poll_write_all(&mut self, rest: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !rest.is_empty() {
            let written = ready!(self.poll_write(cx, rest))?;
            rest.advance(written);
        }
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::upstream::connect::Stream;
    use crate::upstream::tests::{TestBody, on_a_worker};

    /// A connection that takes a few kilobytes and no more, and its other end, which does not read.
    async fn narrow() -> (Box<Connection>, tokio::net::TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener: TcpListener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let (target, _) = listener.accept().await.unwrap();
        (Box::new(Connection::new(Stream::Plain(stream), address, None)), target)
    }

    #[test]
    fn an_answer_that_comes_before_all_of_the_request_has_gone_ends_the_connection() {
        on_a_worker(async {
            for (fields, whole) in [(1, true), (60, false)] {
                let (connection, mut target) = narrow().await;
                let mut request = Request::new(RequestBody::<TestBody>::EMPTY);
                let field = http::HeaderValue::from_str(&"x".repeat(10_000 * (fields / 60) + 10)).unwrap();
                for _ in 0..fields {
                    request.headers_mut().append("x-filler", field.clone());
                }
                let mut call = Call::begin(connection, request).map_err(|unsent| unsent.error).unwrap();
                assert_eq!(matches!(call.to_send, ToSend::Nothing), whole);
                target.write_all(b"HTTP/1.1 431 No\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
                let answered = poll_fn(|cx| call.poll(cx));
                let (head, mut reception) =
                    tokio::time::timeout(Duration::from_secs(5), answered).await.unwrap().unwrap();
                assert_eq!(head.status, 431);
                assert_eq!(reception.release().is_some(), whole, "{fields} fields");
            }
        });
    }
}
