//! A connection in memory, whose other end says its pieces one by one: the next when whoever reads has done with the last.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Turns that an input may take: one for each byte twice over is more than any does.
const TURNS_MAX: usize = 200_000;

/// One end; clones are the same end.
#[derive(Debug, Clone, Default)]
pub struct Wire(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    to_come: VecDeque<Vec<u8>>,
    here: VecDeque<u8>,
    given: usize,
    ended: bool,
    reader: Option<Waker>,
    written: Vec<u8>,
}

impl Wire {
    /// A connection on which these bytes come, in these pieces, and then its end.
    pub fn new<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Wire {
        let to_come = pieces.filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
        Wire(Rc::new(RefCell::new(State { to_come, ..State::default() })))
    }

    /// Everything that was written.
    pub fn written(&self) -> Vec<u8> {
        self.0.borrow().written.clone()
    }

    /// How many bytes have come, read or not.
    pub fn given(&self) -> usize {
        self.0.borrow().given
    }

    /// Lets the next piece come, or the end; whether there was one.
    fn go_on(&self) -> bool {
        let mut state = self.0.borrow_mut();
        match state.to_come.pop_front() {
            Some(piece) => {
                state.given += piece.len();
                state.here.extend(piece);
            }
            None if state.ended => return false,
            None => state.ended = true,
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        true
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        if state.here.is_empty() && !state.ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = state.here.len().min(buffer.remaining());
        let taken: Vec<u8> = state.here.drain(..bytes).collect();
        buffer.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future until it is ready. Whenever it waits, and nothing has woken it, the next piece comes.
///
/// # Errors
/// If it still waits when everything has come, or never waits.
pub fn drive<F: Future>(future: F, wire: &Wire) -> Result<F::Output, String> {
    let woken = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    for _ in 0..TURNS_MAX {
        if woken.0.swap(false, Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ok(output);
            }
        } else if !wire.go_on() {
            return Err("it waits for ever".into());
        } else {
            // Whoever waits for something else looks again, too: nothing else can happen.
            woken.0.store(true, Relaxed);
        }
    }
    Err("it never comes to rest".into())
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn pieces_come_one_by_one_and_then_the_end() {
        let pieces: [&[u8]; 3] = [b"one", b"", b"two"];
        let wire = Wire::new(pieces.into_iter());
        let mut reader = wire.clone();
        let read = async {
            let mut all = Vec::new();
            let mut buffer = [0; 16];
            while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
                all.push(buffer[..bytes].to_vec());
            }
            all
        };
        assert_eq!(drive(read, &wire), Ok(vec![b"one".to_vec(), b"two".to_vec()]));
        assert_eq!(wire.given(), 6);
    }

    #[test]
    fn who_waits_for_ever_is_told() {
        let wire = Wire::new(std::iter::empty());
        assert!(drive(std::future::pending::<()>(), &wire).is_err());
    }
}
