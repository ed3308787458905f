//! Reading through one buffer for each thread.
//!
//! A connection that waits holds no buffer: what is read is copied out when it is little, and takes the buffer along
//! when it is much.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// From how many bytes on copying costs more than another buffer.
const KEEP_BYTES: usize = 8 << 10;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

/// What there is to read; nothing at the end of the stream.
pub fn poll<IO: AsyncRead + Unpin>(stream: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.capacity() < KEEP_BYTES {
            *buffer = BytesMut::with_capacity(READ_BYTES);
        }
        let count = ready!(pin!(stream.read_buf(buffer)).poll(cx))?;
        let bytes = if count < KEEP_BYTES {
            let bytes = Bytes::copy_from_slice(buffer);
            buffer.clear();
            bytes
        } else {
            buffer.split().freeze()
        };
        Poll::Ready(Ok(bytes))
    })
}
