//! The body of an answer, as it is read from its connection.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::upload::Upload;
use super::{Connection, Error};
use crate::http1::body::{Left, Next};
use crate::http1::framing::Length;
use crate::upstream::body::ClientBody;

/// What is left of an answer. Dropping it before its end closes the connection.
#[derive(Debug)]
pub(in crate::upstream) struct Reception {
    link: Link,
    left: Left,
    /// What has been read and not given.
    unread: Bytes,
    /// Whether the connection may be used again afterwards.
    persists: bool,
}

/// Where the rest comes from.
#[derive(Debug)]
enum Link {
    /// All has been read.
    None,
    Own(Box<Connection>),
    /// A task is still sending the request's body.
    Shared(Rc<Shared>, AbortOnDrop),
}

/// A connection on which the answer is read while the request's body is still sent.
struct Shared {
    connection: RefCell<Box<Connection>>,
    sent: Cell<bool>,
    /// Why the body could not be sent, if that was not the connection's fault.
    fault: Cell<Option<Error>>,
    wakers: Arc<Wakers>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// Both who read and who write. TLS may have to write in order to read, so either is woken for whatever happens.
#[derive(Debug, Default)]
struct Wakers {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reception {
    /// `unread` came with the head.
    pub(super) fn new<B: ClientBody>(
        connection: Box<Connection>,
        upload: Option<Box<Upload<B>>>,
        length: Length,
        unread: Bytes,
        persists: bool,
    ) -> Reception {
        let left = Left::from(length);
        let link = match upload {
            None => Link::Own(connection),
            // With nothing left to read, nobody wants the rest of the body.
            Some(_) if left.is_within(&unread) => Link::None,
            Some(upload) => Link::share(connection, upload),
        };
        Reception { link, left, unread, persists }
    }

    /// Whether all of it has been given.
    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.left.is_nothing()
    }

    /// How much is left.
    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        self.left.size_hint()
    }

    /// The connection, if all has been read from it and it may be used again; once.
    pub(in crate::upstream) fn release(&mut self) -> Option<Box<Connection>> {
        if !self.left.is_within(&self.unread) {
            return None;
        }
        let beyond = if let Left::Known(left) = self.left { left } else { 0 };
        // What came after the answer was not asked for.
        let persists = self.persists && self.unread.len() as u64 == beyond;
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Own(connection) => Some(connection).filter(|_connection| persists),
            Link::Shared(shared, _task) if persists && shared.sent.get() => {
                Rc::into_inner(shared).map(|shared| shared.connection.into_inner())
            }
            Link::Shared(..) | Link::None => None,
        }
    }

    /// The next frame.
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            match self.left.next(&mut self.unread)? {
                Next::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Next::End => return Poll::Ready(None),
                Next::More => {}
            }
            self.unread = ready!(self.link.poll_read(cx))?;
            if self.unread.is_empty() {
                self.persists = false;
                if !matches!(self.left, Left::UntilClose) {
                    return Poll::Ready(Some(Err(Error::Closed)));
                }
                self.left = Left::Nothing;
            }
        }
    }
}

impl Link {
    /// Has a task of this worker send the rest of the request's body.
    fn share<B: ClientBody>(connection: Box<Connection>, mut upload: Box<Upload<B>>) -> Link {
        let shared = Rc::new(Shared {
            connection: RefCell::new(connection),
            sent: Cell::new(false),
            fault: Cell::new(None),
            wakers: Arc::default(),
        });
        let sending = shared.clone();
        let task = tokio::task::spawn_local(async move {
            let sent = poll_fn(|cx| {
                sending.wakers.writer.register(cx.waker());
                let waker = Waker::from(sending.wakers.clone());
                let mut connection = sending.connection.borrow_mut();
                // The body wakes this task, and the connection both.
                upload.poll(&mut connection.stream, &mut Context::from_waker(&waker))
            });
            match sent.await {
                Ok(()) => sending.sent.set(true),
                // The answer may be complete all the same, and reading tells whether it is.
                Err(Error::Io(_)) => {}
                Err(fault) => sending.fault.set(Some(fault)),
            }
            // Whoever reads looks at the client itself from now on, too.
            sending.wakers.reader.wake();
        });
        Link::Shared(shared, AbortOnDrop(task.abort_handle()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let read = match self {
            Link::None => return Poll::Ready(Err(Error::Closed)),
            Link::Own(connection) => connection.poll_body(cx),
            Link::Shared(shared, _task) => {
                if let Some(fault) = shared.fault.take() {
                    return Poll::Ready(Err(fault));
                }
                shared.wakers.reader.register(cx.waker());
                let waker = Waker::from(shared.wakers.clone());
                shared.connection.borrow_mut().poll_body(&mut Context::from_waker(&waker))
            }
        };
        read.map_err(io::Error::into)
    }
}
