//! What the kernel program says in words, through aya-log.
//!
//! The ring belongs to one load of the program and is not pinned: a program loaded anew brings its own, and
//! while nobody reads, lines beyond its 128 KiB are lost without a trace.
//!
//! Limits: `EbpfLogger` panics on a record that it cannot read. None can come from elsewhere than the
//! program in this binary, which is built with the same version of aya-log's format.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::Error;

/// The reading end of aya-log's ring.
pub struct Diagnostics {
    ring: EbpfLogger<Lines>,
    lines: Lines,
}

impl Diagnostics {
    /// Takes the ring of a program that has just been loaded.
    pub fn open(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let lines = Lines::default();
        let ring = EbpfLogger::init_with_logger(ebpf, lines.clone())
            .map_err(|_| Error::Object { what: "map", name: "AYA_LOGS" })?;
        Ok(Self { ring, lines })
    }

    /// Takes all lines out, oldest first: some 500 at most, what the ring holds.
    pub fn drain(&mut self) -> Vec<String> {
        self.ring.flush();
        mem::take(&mut *self.lines.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps the lines that aya-log hands to a logger. Shared, because it owns its logger.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
    }

    fn flush(&self) {}
}
