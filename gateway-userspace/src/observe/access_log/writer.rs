//! The thread that writes the access log, and the bounded queue in front of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use super::syslog::{self, Lost};
use super::{CHUNK_BYTES, Format, Log};

/// Most buffers that wait to be written: with [`CHUNK_BYTES`] each, 2 MiB.
pub const CHUNKS_MAX: usize = 64;
/// Room beyond [`CHUNK_BYTES`] for the line that fills a buffer.
const CHUNK_SPARE_BYTES: usize = 4 << 10;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, made if it is not there (readable by owner and group), appended to.
    File(PathBuf),
    /// Syslog. That nobody receives it is found out with the first lines, and costs those.
    Syslog(syslog::Receiver),
}

/// Why the log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be opened.
    #[error("cannot open the access log `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread can be started.
    #[error("cannot start the thread of the access log")]
    Thread(#[source] io::Error),
}

/// The writing thread. When it is dropped, what was handed over is written, then the thread ends; logs should be
/// dropped before.
pub struct Writer {
    format: Format,
    queue: Option<Queue>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    reopen: AtomicBool,
    dropped: AtomicU64,
}

impl Writer {
    /// Opens the sink and starts the thread.
    pub fn start(format: Format, sink: Sink) -> Result<Writer, StartError> {
        let output = Output::open(sink)?;
        let (chunks, received) = mpsc::sync_channel(CHUNKS_MAX);
        // Holds as many as can be under way, so that returning one never waits.
        let (spare, returned) = mpsc::sync_channel(CHUNKS_MAX);
        let state = Arc::new(State::default());
        let thread = std::thread::Builder::new()
            .name(String::from("access-log"))
            .spawn({
                let state = state.clone();
                move || write(output, &received, &spare, &state)
            })
            .map_err(StartError::Thread)?;
        let returned = Arc::new(std::sync::Mutex::new(returned));
        let queue = Queue { chunks, returned, state: state.clone() };
        Ok(Writer { format, queue: Some(queue), state, thread: Some(thread) })
    }

    /// A log for one worker.
    pub fn log(&self) -> Log {
        let queue = self.queue.clone().expect("taken only when the writer is dropped");
        Log::new(self.format.clone(), queue)
    }

    /// Asks the thread to open the file anew, after it was rotated away; if that fails, the old one stays in use. A
    /// receiver of syslog messages is connected to anew, its name resolved again.
    pub fn reopen(&self) {
        self.state.reopen.store(true, Ordering::Release);
        if let Some(queue) = &self.queue {
            // Wakes the thread; if the queue is full, it is awake.
            let _ = queue.chunks.try_send(Chunk::default());
        }
    }

    /// Lines that were lost so far, because the sink was slow or refused them.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return };
        // A sink that blocks for ever must not keep the process from ending: the thread is waited for only if it can
        // end, which it cannot while logs live or the sink blocks.
        for _ in 0..50 {
            if thread.is_finished() {
                // It ended without a panic or was reported by the panic hook.
                let _ = thread.join();
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Whole lines.
#[derive(Debug, Default)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub lines: u64,
}

/// A worker's end of the queue.
#[derive(Clone)]
pub struct Queue {
    chunks: SyncSender<Chunk>,
    /// Buffers that were written and can be filled again. Locked once for each buffer, not for each line.
    returned: Arc<std::sync::Mutex<Receiver<Vec<u8>>>>,
    state: Arc<State>,
}

impl Queue {
    /// Hands lines over, or drops and counts them when too many wait.
    pub fn send(&self, chunk: Chunk) {
        if let Err(mpsc::TrySendError::Full(chunk) | mpsc::TrySendError::Disconnected(chunk)) =
            self.chunks.try_send(chunk)
        {
            self.state.dropped.fetch_add(chunk.lines, Ordering::Relaxed);
        }
    }

    /// An empty buffer, a used one if there is one.
    pub fn empty_chunk(&self) -> Chunk {
        let returned = self.returned.lock().unwrap_or_else(std::sync::PoisonError::into_inner).try_recv();
        let bytes = returned.unwrap_or_else(|_| Vec::with_capacity(CHUNK_BYTES + CHUNK_SPARE_BYTES));
        Chunk { bytes, lines: 0 }
    }
}

fn write(mut output: Output, received: &Receiver<Chunk>, spare: &SyncSender<Vec<u8>>, state: &State) {
    while let Ok(chunk) = received.recv() {
        if state.reopen.swap(false, Ordering::Acquire) {
            output.reopen();
        }
        if chunk.lines == 0 {
            continue;
        }
        if let Err(Lost { lines, error }) = output.write(&chunk) {
            let dropped = state.dropped.fetch_add(lines, Ordering::Relaxed);
            if dropped == 0 {
                tracing::warn!(%error, "the access log cannot be written; lines are dropped and counted");
            }
        }
        let mut bytes = chunk.bytes;
        bytes.clear();
        // A buffer that outgrew its size is not kept, and neither is one too many.
        if bytes.capacity() <= 2 * CHUNK_BYTES {
            let _ = spare.try_send(bytes);
        }
    }
}

/// The open sink.
enum Output {
    Stream(Stream),
    Syslog(syslog::Sender),
}

impl Output {
    fn open(sink: Sink) -> Result<Output, StartError> {
        let (stream, path): (Box<dyn Write + Send>, _) = match sink {
            Sink::Stdout => (Box::new(io::stdout()), None),
            Sink::Stderr => (Box::new(io::stderr()), None),
            Sink::File(path) => match open(&path) {
                Ok(file) => (Box::new(file), Some(path)),
                Err(source) => return Err(StartError::Open { path, source }),
            },
            Sink::Syslog(receiver) => return Ok(Output::Syslog(syslog::Sender::new(receiver))),
        };
        Ok(Output::Stream(Stream { stream, path, torn: false }))
    }

    fn write(&mut self, chunk: &Chunk) -> Result<(), Lost> {
        match self {
            Output::Stream(stream) => {
                stream.write(&chunk.bytes).map_err(|error| Lost { lines: chunk.lines, error })
            }
            Output::Syslog(sender) => sender.send(&chunk.bytes),
        }
    }

    fn reopen(&mut self) {
        match self {
            Output::Stream(stream) => stream.reopen(),
            Output::Syslog(sender) => sender.reconnect(),
        }
    }
}

/// Something that takes bytes one after another.
struct Stream {
    stream: Box<dyn Write + Send>,
    /// Of a file.
    path: Option<PathBuf>,
    /// Whether the last write broke off within a line.
    torn: bool,
}

impl Stream {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let outcome = self.try_write(lines);
        self.torn = outcome.is_err();
        outcome
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.stream.write_all(b"\n")?;
        }
        self.stream.write_all(lines)?;
        self.stream.flush()
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                self.stream = Box::new(file);
                self.torn = false;
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the access log cannot be opened anew; the old file stays");
            }
        }
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o640).open(path)
}
