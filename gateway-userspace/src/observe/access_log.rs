//! The access log: one line for each request, written without stalling any.
//!
//! Each worker formats lines into a buffer of its own ([`Log`]); one thread ([`writer::Writer`]) writes full buffers
//! out. Between them is a bounded queue: when the sink is slow, broken or full, whole buffers are dropped and their
//! lines counted, and requests go on. A line is always one line: what clients send is escaped.

pub mod entry;
mod escape;
mod format;
pub mod syslog;
pub mod template;
mod time;
pub mod writer;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Notify;

pub use entry::{Entry, Upstream};
pub use template::{Template, TemplateError};
pub use writer::{Sink, StartError, Writer};

use format::Formatter;
use writer::{Chunk, Queue};

/// A buffer with this many bytes is handed to the writer.
pub const CHUNK_BYTES: usize = 32 << 10;
/// Longest time for which a line stays in its buffer.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// What a line looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// JSON with OpenTelemetry's attribute names.
    Json,
    /// JSON with `timestamp, method, url, status, duration, size, ip, userAgent, requestId`.
    Seed,
    /// Apache's and NGINX's `combined`.
    Combined,
    /// A template with variables.
    Custom(Template),
}

/// The log of one worker. Stays on its thread.
pub struct Log {
    formatter: RefCell<Formatter>,
    chunk: RefCell<Chunk>,
    queue: Queue,
    filling: Notify,
    stopped: Cell<bool>,
}

impl Log {
    pub(super) fn new(format: Format, queue: Queue) -> Log {
        Log {
            formatter: RefCell::new(Formatter::new(format)),
            chunk: RefCell::new(queue.empty_chunk()),
            queue,
            filling: Notify::new(),
            stopped: Cell::new(false),
        }
    }

    /// Adds a line. Allocates only while the first buffers are made.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut chunk = self.chunk.borrow_mut();
        if chunk.lines == 0 {
            self.filling.notify_one();
        }
        self.formatter.borrow_mut().line(entry, &mut chunk.bytes);
        chunk.lines += 1;
        if chunk.bytes.len() >= CHUNK_BYTES {
            drop(chunk);
            self.flush();
        }
    }

    /// Hands what there is to the writer.
    pub fn flush(&self) {
        if self.chunk.borrow().lines == 0 {
            return;
        }
        let full = self.chunk.replace(self.queue.empty_chunk());
        self.queue.send(full);
    }

    /// Flushes a while after the first line of each buffer, so that a line is never held back for long. One task for
    /// each worker runs this for as long as the log is used; it does not wake up while nothing is logged.
    pub async fn keep_flushed(&self) {
        while !self.stopped.get() {
            self.filling.notified().await;
            tokio::time::sleep(FLUSH_INTERVAL).await;
            self.flush();
        }
    }

    /// Flushes and ends [`Log::keep_flushed`].
    pub fn stop(&self) {
        self.stopped.set(true);
        self.filling.notify_one();
        self.flush();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
