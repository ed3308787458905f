//! The socket of a connection, with bytes that were read ahead, telling the clock what happens on it.
//!
//! It stands below TLS, so that progress means progress on the network.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::clock::Clock;

/// A socket that replays what was read ahead.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    ahead: BytesMut,
    clock: Rc<Clock>,
}

impl Wire {
    /// Nothing is read ahead yet.
    pub fn new(stream: TcpStream, clock: Rc<Clock>) -> Wire {
        Wire { stream, ahead: BytesMut::new(), clock }
    }

    /// The connection's clock.
    pub fn clock(&self) -> &Rc<Clock> {
        &self.clock
    }

    /// Reads more ahead; `false` at the end of the stream.
    pub async fn read_ahead(&mut self) -> io::Result<bool> {
        let read = self.stream.read_buf(&mut self.ahead).await?;
        self.note_read(read);
        Ok(read > 0)
    }

    /// Makes room to read this many bytes ahead at once.
    pub fn make_room(&mut self, bytes: usize) {
        self.ahead.reserve(bytes);
    }

    /// What was read ahead and not consumed.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Takes bytes off what was read ahead.
    pub fn consume(&mut self, count: usize) {
        self.ahead.advance(count);
    }

    fn note_read(&self, count: usize) {
        if count > 0 {
            self.clock.read();
        } else {
            self.clock.read_end();
        }
    }

    fn note_write<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(_) => self.clock.write_progress(),
            Poll::Pending => self.clock.write_blocked(),
        }
        result
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.clock.resets() {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
            self.clock.read();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.note_read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
