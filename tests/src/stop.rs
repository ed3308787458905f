//! Ends the threads of a scope when its body ends.
//!
//! `std::thread::scope` waits for its threads also when its body panics, so a flag that is set in the last line of the body
//! would let a failed assertion hang instead of being told.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Sets the flag when it goes.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
