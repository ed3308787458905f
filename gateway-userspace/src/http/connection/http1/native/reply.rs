//! Sending an answer.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, Response, StatusCode, Version};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

use super::socket::Socket;
use crate::http1::outgoing::Outgoing;
use crate::http1::{fields, write};

/// Bytes that the buffer for heads keeps while a connection is idle.
const KEPT_BYTES_MAX: usize = 1 << 10;

/// What the request says about its answer.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Only the head is wanted.
    pub to_head: bool,
    /// What the client speaks.
    pub version: Version,
    /// Whether the client lets the connection be used again.
    pub persists: bool,
    /// Whether the client knows what to do with trailers.
    pub with_trailers: bool,
}

/// Why an answer has not been sent.
#[derive(Debug)]
pub enum Failed {
    /// The client takes nothing more.
    Unsent,
    /// The body failed, and the client sees that it is not whole.
    Unfinished,
    /// The body failed, and the client would take the end of the connection for the end of the body.
    Indistinct,
}

/// How an answer says where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// It has no body, whatever its fields say.
    None,
    Known(u64),
    Chunked,
    UntilClose,
}

/// Sends the answers of a connection.
#[derive(Default)]
pub struct Reply {
    outgoing: Outgoing,
}

impl Reply {
    /// Sends an answer, and says whether there may be another one after it.
    pub async fn send<IO, B>(
        &mut self,
        socket: &Socket<IO>,
        response: Response<B>,
        terms: Terms,
    ) -> Result<bool, Failed>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        B: Body<Data = Bytes>,
    {
        let (head, body) = response.into_parts();
        let framing = Framing::of(head.status, &body, terms);
        let persists = terms.persists
            && !socket.has_unwanted_body()
            && !socket.is_draining()
            && framing != Framing::UntilClose
            && !fields::lists(&head.headers, &CONNECTION, "close");
        let out = self.outgoing.head();
        out.extend_from_slice(socket.take_interim());
        let described = terms.to_head.then(|| body.size_hint().exact()).flatten();
        write_head(out, &head, framing, described, persists, terms);
        let announced = if terms.with_trailers { write::announced(&head.headers) } else { Vec::new() };
        fields::recycle(head.headers);
        // Until its last byte is written the request counts as under way.
        let mut body = pin!(body);
        if framing != Framing::None && framing != Framing::Known(0) {
            let outgoing = &mut self.outgoing;
            let mut stream = Stream { body: body.as_mut(), framing, announced, outgoing, fresh: true };
            poll_fn(|cx| stream.poll(socket, cx)).await?;
        }
        let outgoing = &mut self.outgoing;
        poll_fn(|cx| {
            socket.poll_io(|io| {
                ready!(outgoing.poll_write(io, cx))?;
                Pin::new(io).poll_flush(cx)
            })
        })
        .await
        .map_err(|_: io::Error| Failed::Unsent)?;
        socket.skip_body();
        self.outgoing.head().shrink_to(KEPT_BYTES_MAX);
        Ok(persists)
    }
}

impl Framing {
    fn of<B: Body>(status: StatusCode, body: &B, terms: Terms) -> Framing {
        if terms.to_head || !may_have_body(status) {
            return Framing::None;
        }
        match body.size_hint().exact() {
            Some(length) => Framing::Known(length),
            None if terms.version == Version::HTTP_10 => Framing::UntilClose,
            None => Framing::Chunked,
        }
    }
}

/// `Content-Length` is the field's own word only where it describes a body that is not sent; `described` is the length of
/// such a body, if it is known.
fn write_head(
    out: &mut Vec<u8>,
    head: &http::response::Parts,
    framing: Framing,
    described: Option<u64>,
    persists: bool,
    terms: Terms,
) {
    write::status_line(out, terms.version, head.status);
    for (name, value) in &head.headers {
        let ours = *name == CONNECTION || *name == TRANSFER_ENCODING;
        // RFC 9110 §8.6: not in a 204 either.
        let described = framing == Framing::None && head.status != StatusCode::NO_CONTENT;
        if !ours && (*name != CONTENT_LENGTH || described) {
            write::field(out, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::Known(length) => write::length(out, length),
        Framing::Chunked => write::field(out, "transfer-encoding", b"chunked"),
        Framing::None => {
            let unsaid = described.filter(|length| *length > 0 && !head.headers.contains_key(CONTENT_LENGTH));
            if let Some(length) = unsaid.filter(|_| may_have_body(head.status)) {
                write::length(out, length);
            }
        }
        Framing::UntilClose => {}
    }
    if !persists {
        write::field(out, "connection", b"close");
    } else if terms.version == Version::HTTP_10 {
        write::field(out, "connection", b"keep-alive");
    }
    if !head.headers.contains_key(DATE) {
        write::date(out);
    }
    out.extend_from_slice(write::CRLF);
}

/// A body on its way to the client.
struct Stream<'r, B> {
    body: Pin<&'r mut B>,
    framing: Framing,
    announced: Vec<HeaderName>,
    outgoing: &'r mut Outgoing,
    /// Nothing has been asked of the body, so the head may wait to go with its first bytes.
    fresh: bool,
}

impl<B: Body<Data = Bytes>> Stream<'_, B> {
    /// Ready when what is left to be written is the end.
    fn poll<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &Socket<IO>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        let Stream { body, framing, announced, outgoing, fresh } = self;
        loop {
            if !*fresh {
                ready!(socket.poll_io(|io| outgoing.poll_write(io, cx))).map_err(|_| Failed::Unsent)?;
            }
            let frame = match body.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending if *fresh => {
                    *fresh = false;
                    continue;
                }
                Poll::Pending => {
                    let flushed = socket.poll_io(|io| Pin::new(io).poll_flush(cx));
                    if matches!(flushed, Poll::Ready(Err(_))) || socket.poll_left(cx).is_ready() {
                        return Poll::Ready(Err(Failed::Unsent));
                    }
                    return Poll::Pending;
                }
            };
            *fresh = false;
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    // What the body gave before is the client's, as far as it goes.
                    let _ = socket.poll_io(|io| outgoing.poll_write(io, cx));
                    return Poll::Ready(Err(framing.unfinished()));
                }
                None => {
                    match framing {
                        Framing::Known(1..) => return Poll::Ready(Err(Failed::Unfinished)),
                        Framing::Chunked => write::last_chunk(outgoing.head(), &HeaderMap::new(), &[]),
                        Framing::Known(0) | Framing::UntilClose | Framing::None => {}
                    }
                    return Poll::Ready(Ok(()));
                }
            };
            match (frame.into_data(), &mut *framing) {
                (Ok(data), _) if data.is_empty() => {}
                (Ok(data), Framing::Chunked) => {
                    let is_last = body.is_end_stream();
                    outgoing.chunk(data, is_last);
                    if is_last {
                        return Poll::Ready(Ok(()));
                    }
                }
                (Ok(data), Framing::Known(left)) => {
                    let Some(rest) = left.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Err(Failed::Unfinished));
                    };
                    *left = rest;
                    outgoing.data(data);
                    if rest == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                (Ok(data), Framing::UntilClose | Framing::None) => outgoing.data(data),
                (Err(frame), Framing::Chunked) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        write::last_chunk(outgoing.head(), &trailers, announced);
                        return Poll::Ready(Ok(()));
                    }
                }
                (Err(_trailers), _) => {}
            }
        }
    }
}

impl Framing {
    /// What a body is that ends too early.
    fn unfinished(self) -> Failed {
        if self == Framing::UntilClose { Failed::Indistinct } else { Failed::Unfinished }
    }
}

fn may_have_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
