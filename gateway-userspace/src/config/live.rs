//! The snapshot in force: published behind one pointer, read by each worker for the price of one load.
//!
//! A worker holds the snapshot it saw last and compares generations before each request; only after a reload does it
//! touch the lock. A request keeps the snapshot that it began with, so a reload never changes a request in flight.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The shared side: one value that is replaced as a whole.
#[derive(Debug)]
pub struct Live<T> {
    generation: AtomicU64,
    current: Mutex<Arc<T>>,
}

impl<T> Live<T> {
    /// Publishes the first value as generation 1.
    pub fn new(first: Arc<T>) -> Live<T> {
        Live { generation: AtomicU64::new(1), current: Mutex::new(first) }
    }

    /// Replaces the value; requests that begin after this see the new one. Returns its generation.
    pub fn publish(&self, next: Arc<T>) -> u64 {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = next;
        self.generation.fetch_add(1, Ordering::Release) + 1
    }

    /// The generation in force, from 1.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The value in force with its generation.
    pub fn current(&self) -> (u64, Arc<T>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (self.generation.load(Ordering::Acquire), current.clone())
    }
}

/// A worker's side: what it made of the snapshot it saw last.
pub struct Pinned<T, W> {
    live: Arc<Live<T>>,
    generation: Cell<u64>,
    held: RefCell<Rc<W>>,
}

impl<T, W> Pinned<T, W> {
    /// Pins the value in force, made fit for this worker by `adapt`.
    pub fn new(live: Arc<Live<T>>, adapt: impl FnOnce(Arc<T>, Option<&W>) -> W) -> Pinned<T, W> {
        let (generation, current) = live.current();
        Pinned { generation: Cell::new(generation), held: RefCell::new(Rc::new(adapt(current, None))), live }
    }

    /// The value in force; `adapt` runs only when it was replaced since the last call, and gets what it made before.
    #[inline]
    pub fn get(&self, adapt: impl FnOnce(Arc<T>, Option<&W>) -> W) -> Rc<W> {
        if self.live.generation() != self.generation.get() {
            let (generation, current) = self.live.current();
            let adapted = adapt(current, Some(&self.held.borrow()));
            *self.held.borrow_mut() = Rc::new(adapted);
            self.generation.set(generation);
        }
        self.held.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Live, Pinned};

    #[test]
    fn a_reader_adapts_a_value_once_and_keeps_it_until_the_next_is_published() {
        let live = Arc::new(Live::new(Arc::new(1)));
        let pinned = Pinned::new(live.clone(), |value, _| *value * 10);
        let held = pinned.get(|_, _| unreachable!("nothing was published"));
        assert_eq!(*held, 10);

        assert_eq!(live.publish(Arc::new(2)), 2);
        assert_eq!(*pinned.get(|value, before| *value * 10 + before.copied().unwrap_or(0)), 30);
        assert_eq!(*held, 10, "what a request pinned does not change under it");
        assert_eq!(*pinned.get(|_, _| unreachable!("it was adapted already")), 30);
    }
}
