//! Rings.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

/// What a ring holds at most.
const ENTRIES_MAX: usize = 64;

/// What was sent, in order.
pub struct RingBuf<T, const N: usize, const FLAGS: usize = 0> {
    sent: Mutex<Vec<Box<dyn Any + Send>>>,
    kind: PhantomData<T>,
}

impl<T, const N: usize, const FLAGS: usize> RingBuf<T, N, FLAGS> {
    /// Empty.
    #[expect(clippy::new_without_default, reason = "as in aya-ebpf")]
    pub const fn new() -> Self {
        Self { sent: Mutex::new(Vec::new()), kind: PhantomData }
    }

    /// Room for one more, if there is.
    pub fn reserve_untyped<U: Send + 'static>(&self, _flags: u64) -> Option<Entry<'_, U>> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        (sent.len() < ENTRIES_MAX).then_some(Entry { sent: &self.sent, value: None })
    }

    /// Takes out what was sent of this type, and all else with it.
    pub fn take<U: 'static>(&self) -> Vec<U> {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner));
        sent.into_iter().filter_map(|value| value.downcast().ok().map(|value| *value)).collect()
    }
}

/// Room in a ring.
pub struct Entry<'a, U> {
    sent: &'a Mutex<Vec<Box<dyn Any + Send>>>,
    value: Option<U>,
}

impl<U: Send + 'static> Entry<'_, U> {
    /// Fills it.
    pub fn write(&mut self, value: U) {
        self.value = Some(value);
    }

    /// Sends it.
    ///
    /// # Panics
    /// If nothing was written, which in the kernel would send what was there before.
    pub fn submit(self, _flags: u64) {
        let value = self.value.expect("an entry is written before it is sent");
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(value));
    }
}
