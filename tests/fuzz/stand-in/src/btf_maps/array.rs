//! Arrays, which remember what of them may have been written.

use std::cell::UnsafeCell;
use std::sync::{Mutex, OnceLock, PoisonError};

/// `N` values that are zero at first.
pub struct Array<T, const N: usize, const FLAGS: usize = 0> {
    cells: OnceLock<Box<[UnsafeCell<T>]>>,
    /// Indices that were given out to be written since the last [`Array::reset`].
    written: Mutex<Vec<u32>>,
}

/// With one CPU there is one copy.
pub type PerCpuArray<T, const N: usize> = Array<T, N>;

// SAFETY: one thread at a time uses a map, as the crate says.
unsafe impl<T, const N: usize, const FLAGS: usize> Sync for Array<T, N, FLAGS> {}

impl<T: Copy + Default, const N: usize, const FLAGS: usize> Array<T, N, FLAGS> {
    /// All zero.
    #[expect(clippy::new_without_default, reason = "as in aya-ebpf")]
    pub const fn new() -> Self {
        Self { cells: OnceLock::new(), written: Mutex::new(Vec::new()) }
    }

    /// What the program reads.
    pub fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: nobody writes while the one thread that uses the map reads.
        self.cell(index).map(|cell| unsafe { &*cell.get() })
    }

    /// What the program writes through.
    pub fn get_ptr_mut(&self, index: u32) -> Option<*mut T> {
        let cell = self.cell(index)?;
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        Some(cell.get())
    }

    /// Sets a value from outside.
    ///
    /// # Panics
    /// If there is no such index.
    pub fn set(&self, index: u32, value: T) {
        let cell = self.get_ptr_mut(index).expect("an index of the map");
        // SAFETY: the pointer is to a value of this map, and nobody else uses the map now.
        unsafe { cell.write(value) };
    }

    /// Which indices may have been written, each once, in order; from here on none were, though they keep their values.
    pub fn take_written(&self) -> Vec<u32> {
        let mut written = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        written.sort_unstable();
        written.dedup();
        written
    }

    /// Makes these values zero again.
    pub fn zero(&self, indices: &[u32]) {
        for cell in indices.iter().filter_map(|index| self.cell(*index)) {
            // SAFETY: the pointer is to a value of this map, and nobody else uses the map now.
            unsafe { cell.get().write(T::default()) };
        }
    }

    fn cell(&self, index: u32) -> Option<&UnsafeCell<T>> {
        let cells = self.cells.get_or_init(|| (0..N).map(|_| UnsafeCell::new(T::default())).collect());
        cells.get(index as usize)
    }
}
