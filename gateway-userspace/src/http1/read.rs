//! Reading through one buffer for each thread.
//!
//! A connection that waits holds no buffer. What is read is copied out if it is little, next to what was read before, so
//! that nothing is allocated for most messages; if it is much, it takes the buffer along.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// From how many bytes on copying costs more than another buffer.
const KEEP_BYTES: usize = 8 << 10;

/// Little messages share blocks of so many bytes. Whoever keeps a part of one keeps the whole block, so it is no larger
/// than the buffer that a connection would have otherwise.
const BLOCK_BYTES: usize = 16 << 10;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

#[derive(Default)]
struct Buffers {
    reading: BytesMut,
    block: BytesMut,
}

/// What there is to read; nothing at the end of the stream.
pub fn poll<IO: AsyncRead + Unpin>(stream: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    poll_at_most(stream, READ_BYTES, cx)
}

/// So many bytes of it at most.
pub fn poll_at_most<IO: AsyncRead + Unpin>(
    stream: &mut IO,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    BUFFERS.with_borrow_mut(|Buffers { reading, block }| {
        if reading.capacity() < KEEP_BYTES {
            *reading = BytesMut::with_capacity(READ_BYTES);
        }
        let mut window = reading.limit(most);
        let count = ready!(pin!(stream.read_buf(&mut window)).poll(cx))?;
        if count >= KEEP_BYTES {
            return Poll::Ready(Ok(reading.split().freeze()));
        }
        if block.capacity() < count {
            *block = BytesMut::with_capacity(BLOCK_BYTES);
        }
        block.extend_from_slice(reading);
        reading.clear();
        Poll::Ready(Ok(block.split().freeze()))
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn what_was_read_stays_as_it_was_whatever_is_read_later() {
        let sizes =
            [1, 100, KEEP_BYTES - 1, KEEP_BYTES, 3, READ_BYTES, READ_BYTES + 1, 5000, 5000, 5000, 5000, 2];
        let mut all = Vec::new();
        for (number, size) in (0_u8..).zip(sizes) {
            let sent = vec![number; size];
            let mut stream = &sent[..];
            let mut got = Vec::new();
            loop {
                let bytes = poll_fn(|cx| poll(&mut stream, cx)).await.expect("memory can be read");
                if bytes.is_empty() {
                    break;
                }
                got.push(bytes);
            }
            all.push((sent, got));
        }
        for (sent, got) in all {
            assert_eq!(got.concat(), sent);
        }
    }
}
