//! Standard output, standard error, a file or the syslog as the log's thread writes them: one after another, waiting
//! for each.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::queue::{Chunk, Pool, Reason, Tally};
use super::syslog::{self, Lost};

/// Writes what comes until nobody can send any more.
pub fn run(
    mut output: Output,
    mut received: mpsc::Receiver<Chunk>,
    pool: &Pool,
    tally: &Tally,
    reopen: &AtomicBool,
) {
    while let Some(chunk) = received.blocking_recv() {
        if reopen.swap(false, Ordering::Acquire) {
            output.reopen();
        }
        if chunk.lines == 0 {
            continue;
        }
        let lost = match output.write(&chunk) {
            Ok(()) => 0,
            Err(Lost { lines, error }) => {
                if !tally.lost(Reason::Failed, lines) {
                    tracing::warn!(%error, "the access log cannot be written; lines are dropped and counted");
                }
                lines
            }
        };
        tally.wrote(chunk.lines.saturating_sub(lost));
        pool.give_back(chunk.bytes);
    }
}

/// The open sink.
pub enum Output {
    Stream(Stream),
    Syslog(syslog::Sender),
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Output {
        Output::Stream(Stream { stream: Box::new(io::stdout()), path: None, torn: false })
    }

    /// Standard error.
    pub fn stderr() -> Output {
        Output::Stream(Stream { stream: Box::new(io::stderr()), path: None, torn: false })
    }

    /// A file, made if it is not there.
    pub fn file(path: PathBuf) -> io::Result<Output> {
        let stream = Box::new(open(&path)?);
        Ok(Output::Stream(Stream { stream, path: Some(path), torn: false }))
    }

    /// A receiver of syslog messages.
    pub fn syslog(receiver: syslog::Receiver) -> Output {
        Output::Syslog(syslog::Sender::new(receiver))
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
pub struct Stream {
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
