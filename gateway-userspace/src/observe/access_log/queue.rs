//! Whole lines on their way from a worker to the thread that writes them: the bounded queue, the buffers that go round,
//! and what is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use tokio::sync::mpsc;

use super::CHUNK_BYTES;

/// Most buffers that wait for one sink: with [`CHUNK_BYTES`] each, 2 MiB.
pub const CHUNKS_MAX: usize = 64;
/// Room beyond [`CHUNK_BYTES`] for the line that fills a buffer.
const CHUNK_SPARE_BYTES: usize = 4 << 10;

/// Whole lines.
#[derive(Debug, Default, Clone)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub lines: u64,
}

/// A worker's end of the queue of one sink.
#[derive(Debug, Clone)]
pub struct Queue {
    pub chunks: mpsc::Sender<Chunk>,
    pub tally: Arc<Tally>,
}

impl Queue {
    /// Hands lines over, or drops and counts them when too many wait.
    pub fn send(&self, chunk: Chunk) {
        if let Err(mpsc::error::TrySendError::Full(chunk) | mpsc::error::TrySendError::Closed(chunk)) =
            self.chunks.try_send(chunk)
        {
            self.tally.lost(Reason::Full, chunk.lines);
        }
    }

    /// Wakes the thread; if the queue is full, it is awake.
    pub fn wake(&self) {
        let _ = self.chunks.try_send(Chunk::default());
    }
}

/// Buffers that were written and can be filled again.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    /// An empty chunk, in a used buffer if there is one. Waits for nobody.
    pub fn empty_chunk(&self) -> Chunk {
        let used = match self.0.try_lock() {
            Ok(mut spare) => spare.pop(),
            Err(TryLockError::Poisoned(spare)) => spare.into_inner().pop(),
            Err(TryLockError::WouldBlock) => None,
        };
        let bytes = used.unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES + CHUNK_SPARE_BYTES));
        Chunk { bytes, lines: 0 }
    }

    /// Takes a buffer back; one that outgrew its size is not kept, and neither is one too many.
    pub fn give_back(&self, mut bytes: Vec<u8>) {
        let usual = CHUNK_BYTES..=2 * CHUNK_BYTES;
        if let Ok(mut spare) = self.0.lock()
            && usual.contains(&bytes.capacity())
            && spare.len() < CHUNKS_MAX
        {
            bytes.clear();
            spare.push(bytes);
        }
    }
}

/// What became of the lines of one sink, since the start of the process.
#[derive(Debug, Default)]
pub struct Tally {
    written: AtomicU64,
    lost: [AtomicU64; Reason::ALL.len()],
    waiting_bytes: AtomicU64,
}

/// Why lines were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// More waited than may wait: the sink is slow or away.
    Full,
    /// Writing failed.
    Failed,
    /// The receiver does not want them, now or later.
    Refused,
    /// The receiver was away for longer than is waited for it.
    Expired,
    /// The process, or the sink, ended before they were sent.
    Ended,
}

impl Reason {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Reason; 5] =
        [Reason::Full, Reason::Failed, Reason::Refused, Reason::Expired, Reason::Ended];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Full => "full",
            Reason::Failed => "failed",
            Reason::Refused => "refused",
            Reason::Expired => "expired",
            Reason::Ended => "ended",
        }
    }
}

impl Tally {
    /// Counts lines that were lost; tells whether any were before.
    pub fn lost(&self, reason: Reason, lines: u64) -> bool {
        self.lost[reason as usize].fetch_add(lines, Ordering::Relaxed) > 0
    }

    /// Counts lines that were written or accepted.
    pub fn wrote(&self, lines: u64) {
        self.written.fetch_add(lines, Ordering::Relaxed);
    }

    /// Says how many bytes wait to be sent now, for a sink that keeps them while its receiver is away.
    pub fn waits(&self, bytes: usize) {
        self.waiting_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Lines that were written or accepted.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lines that were lost for a reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.lost[reason as usize].load(Ordering::Relaxed)
    }

    /// Lines that were lost.
    pub fn dropped_in_all(&self) -> u64 {
        Reason::ALL.into_iter().map(|reason| self.dropped(reason)).sum()
    }

    /// Bytes that wait to be sent.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes.load(Ordering::Relaxed)
    }
}
