//! The access log: one line for each request, written without stalling any.
//!
//! Each worker formats lines into buffers of its own ([`Log`]), once for each format; each sink has a thread
//! ([`writer::Writer`]) that writes full buffers out. Between them is a bounded queue: when the sink is slow, broken or
//! full, whole buffers are dropped and their lines counted, and requests go on. A line is always one line: what clients
//! send is escaped.

pub mod collector;
pub mod entry;
mod escape;
mod format;
pub mod queue;
mod stream;
pub mod syslog;
pub mod template;
mod time;
pub mod writer;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

pub use entry::{Entry, Upstream};
pub use queue::{Reason, Tally};
pub use template::{Template, TemplateError};
pub use writer::{Sink, StartError, Target, Writer};

use format::Formatter;
use queue::{Chunk, Pool, Queue};

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
    lanes: Box<[Lane]>,
    pool: Arc<Pool>,
    filling: Notify,
    stopped: Cell<bool>,
}

/// The lines of one format, and the sinks that they go to, at least one.
struct Lane {
    formatter: RefCell<Formatter>,
    chunk: RefCell<Chunk>,
    queues: Vec<Queue>,
}

impl Log {
    pub(super) fn new(lanes: Vec<(Format, Vec<Queue>)>, pool: Arc<Pool>) -> Log {
        let lanes = lanes.into_iter().map(|(format, queues)| Lane {
            formatter: RefCell::new(Formatter::new(format)),
            chunk: RefCell::new(pool.empty_chunk()),
            queues,
        });
        Log { lanes: lanes.collect(), pool, filling: Notify::new(), stopped: Cell::new(false) }
    }

    /// Adds a line. Allocates only while the first buffers are made.
    pub fn write(&self, entry: &Entry<'_>) {
        for lane in &self.lanes {
            let mut chunk = lane.chunk.borrow_mut();
            if chunk.lines == 0 {
                self.filling.notify_one();
            }
            lane.formatter.borrow_mut().line(entry, &mut chunk.bytes);
            chunk.lines += 1;
            if chunk.bytes.len() >= CHUNK_BYTES {
                drop(chunk);
                lane.flush(&self.pool);
            }
        }
    }

    /// Hands what there is to the writer.
    pub fn flush(&self) {
        self.lanes.iter().for_each(|lane| lane.flush(&self.pool));
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

impl Lane {
    fn flush(&self, pool: &Pool) {
        if self.chunk.borrow().lines == 0 {
            return;
        }
        let full = self.chunk.replace(pool.empty_chunk());
        let Some((last, others)) = self.queues.split_last() else { return };
        for queue in others {
            let mut copy = pool.empty_chunk();
            copy.bytes.extend_from_slice(&full.bytes);
            copy.lines = full.lines;
            queue.send(copy);
        }
        last.send(full);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
