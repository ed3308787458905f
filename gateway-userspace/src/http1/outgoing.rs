//! What is being written of a message.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::write;

/// The parts of a message that are to be written next, in their order.
#[derive(Debug, Default)]
pub struct Outgoing {
    head: Vec<u8>,
    /// Bytes of the head that are written.
    head_written: usize,
    data: Bytes,
    after: &'static [u8],
}

impl Outgoing {
    /// Where a head, or the framing before data, is put together. What is there and not written stays in front of it.
    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// Adds data after the head; what was added before must have been written.
    pub fn data(&mut self, data: Bytes) {
        self.data = data;
    }

    /// Adds data as a chunk, which may be the last one.
    pub fn chunk(&mut self, data: Bytes, is_last: bool) {
        write::chunk_size(&mut self.head, data.len());
        self.data = data;
        self.after = if is_last { write::CRLF_AND_LAST_CHUNK } else { write::CRLF };
    }

    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.head_written == self.head.len() && self.data.is_empty() && self.after.is_empty()
    }

    /// Writes all of it.
    pub fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let parts = [&self.head[self.head_written..], &self.data, self.after];
            let (first, last) = (
                parts.iter().position(|part| !part.is_empty()).unwrap_or(0),
                parts.iter().rposition(|part| !part.is_empty()).unwrap_or(0),
            );
            let mut written = ready!(if first == last {
                Pin::new(&mut *io).poll_write(cx, parts[first])
            } else {
                let slices = parts.map(IoSlice::new);
                Pin::new(&mut *io).poll_write_vectored(cx, &slices[first..=last])
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.head.len() - self.head_written);
            self.head_written += of_head;
            written -= of_head;
            let of_data = written.min(self.data.len());
            self.data.advance(of_data);
            self.after = &self.after[written - of_data..];
        }
        self.head.clear();
        self.head_written = 0;
        // Empty bytes may still hold the block that they were a part of.
        self.data = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and nothing every other time.
    struct Narrow {
        taken: Vec<u8>,
        step: usize,
        blocked: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.blocked = !self.blocked;
            if self.blocked {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = bytes.len().min(self.step);
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>();
            self.as_mut().poll_write(cx, &bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn every_byte_is_written_once_however_few_go_at_a_time() {
        for step in 1..40 {
            let mut io = Narrow { taken: Vec::new(), step, blocked: false };
            let mut outgoing = Outgoing::default();
            outgoing.head().extend_from_slice(b"head\r\n\r\n");
            outgoing.chunk(Bytes::from_static(b"hello"), false);
            std::future::poll_fn(|cx| outgoing.poll_write(&mut io, cx)).await.unwrap();
            let world = Bytes::from(b"world".to_vec());
            outgoing.chunk(world.clone(), true);
            std::future::poll_fn(|cx| outgoing.poll_write(&mut io, cx)).await.unwrap();
            assert!(world.is_unique(), "what is written is not held on to");
            assert_eq!(io.taken, b"head\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", "step {step}");
        }
    }
}
