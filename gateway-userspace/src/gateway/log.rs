//! What outlives a reload of the access log, and the outcome of the last reload.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::observe::access_log::Writer;

/// The writer in use; its count of lost lines never falls, whatever writer comes after it.
pub struct LogSlot {
    writer: Mutex<Option<Writer>>,
    dropped_before: AtomicU64,
}

impl LogSlot {
    /// With the first writer, if there is one.
    pub fn new(writer: Option<Writer>) -> LogSlot {
        LogSlot { writer: Mutex::new(writer), dropped_before: AtomicU64::new(0) }
    }

    /// Another writer; the one before writes what it was handed and ends.
    pub fn replace(&self, writer: Option<Writer>) {
        let before = std::mem::replace(&mut *self.lock(), writer);
        if let Some(before) = before {
            self.dropped_before.fetch_add(before.dropped(), Ordering::Relaxed);
        }
    }

    /// After the file was rotated away.
    pub fn reopen(&self) {
        if let Some(writer) = &*self.lock() {
            writer.reopen();
        }
    }

    /// Lines lost since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped_before.load(Ordering::Relaxed) + self.lock().as_ref().map_or(0, Writer::dropped)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the last reload ended.
#[derive(Debug, Default)]
pub struct LastReload(Mutex<Option<String>>);

impl LastReload {
    /// It failed with this, or succeeded.
    pub fn set(&self, error: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
