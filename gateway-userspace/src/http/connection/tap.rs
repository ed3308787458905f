//! A stream between the HTTP library and the connection, for what the library does not let us see or decide.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What happens on a tapped stream.
pub trait Tap: Unpin {
    /// Sees bytes from the client before the library does; an error ends the connection.
    fn read(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Whether the library may close the stream, or only flush it because its owner closes it.
    fn may_close(&self) -> bool;
}

/// A stream with a tap.
pub struct Tapped<IO, T> {
    io: IO,
    tap: T,
}

impl<IO, T> Tapped<IO, T> {
    /// Taps a stream.
    pub fn new(io: IO, tap: T) -> Tapped<IO, T> {
        Tapped { io, tap }
    }

    /// The stream without its tap.
    pub fn into_inner(self) -> IO {
        self.io
    }
}

impl<IO: AsyncRead + Unpin, T: Tap> AsyncRead for Tapped<IO, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        Poll::Ready(self.tap.read(&buffer.filled()[before..]))
    }
}

impl<IO: AsyncWrite + Unpin, T: Tap> AsyncWrite for Tapped<IO, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tap.may_close() {
            Pin::new(&mut self.io).poll_shutdown(cx)
        } else {
            Pin::new(&mut self.io).poll_flush(cx)
        }
    }
}
