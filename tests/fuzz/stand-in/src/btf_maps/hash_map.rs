//! Hashes.

use std::borrow::Borrow;
use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Values by key. A value stays where it is as long as it is not removed.
pub struct HashMap<K, V, const N: usize, const FLAGS: usize = 0> {
    values: Mutex<BTreeMap<K, Box<UnsafeCell<V>>>>,
}

// SAFETY: one thread at a time uses a map, as the crate says.
unsafe impl<K, V, const N: usize, const FLAGS: usize> Sync for HashMap<K, V, N, FLAGS> {}

impl<K: Ord + Copy, V: Copy, const N: usize, const FLAGS: usize> HashMap<K, V, N, FLAGS> {
    /// Empty.
    #[expect(clippy::new_without_default, reason = "as in aya-ebpf")]
    pub const fn new() -> Self {
        Self { values: Mutex::new(BTreeMap::new()) }
    }

    /// What the program reads.
    ///
    /// # Safety
    /// Nobody removes the value while the reference is used.
    pub unsafe fn get(&self, key: impl Borrow<K>) -> Option<&V> {
        // SAFETY: the pointer is to a value that stays, by the caller's word.
        self.get_ptr_mut(key).map(|value| unsafe { &*value })
    }

    /// What the program writes through.
    pub fn get_ptr_mut(&self, key: impl Borrow<K>) -> Option<*mut V> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(key.borrow()).map(|value| value.get())
    }

    /// Puts a value in from outside.
    pub fn insert(&self, key: K, value: V) {
        let value = Box::new(UnsafeCell::new(value));
        self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    /// Takes all out.
    pub fn clear(&self) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
