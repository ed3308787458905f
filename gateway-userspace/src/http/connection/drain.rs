//! Ending the connections of one worker: each is told, and whoever asked can wait until the last one is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Shared by the connections of a worker; cloning shares.
#[derive(Clone, Default)]
pub struct Drain(Rc<Shared>);

#[derive(Default)]
struct Shared {
    begun: Cell<bool>,
    /// A slot for each open connection, with what wakes its task.
    slots: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

/// One open connection.
pub struct Entered {
    drain: Drain,
    slot: usize,
}

impl Drain {
    /// No connection yet.
    pub fn new() -> Drain {
        Drain::default()
    }

    /// Counts a connection until the result is dropped.
    pub fn enter(&self) -> Entered {
        let slot = self.0.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut slots = self.0.slots.borrow_mut();
            slots.push(None);
            slots.len() - 1
        });
        self.0.open.set(self.0.open.get() + 1);
        Entered { drain: self.clone(), slot }
    }

    /// Open connections of this worker.
    pub fn open(&self) -> usize {
        self.0.open.get()
    }

    /// Tells every connection, and those to come, to end after the requests it is serving.
    pub fn begin(&self) {
        self.0.begun.set(true);
        let wakers: Vec<Waker> = self.0.slots.borrow_mut().iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether connections are to end.
    pub fn has_begun(&self) -> bool {
        self.0.begun.get()
    }

    /// Waits until no connection is open. One waiter at a time.
    pub async fn emptied(&self) {
        std::future::poll_fn(|cx| {
            if self.0.open.get() == 0 {
                return Poll::Ready(());
            }
            self.0.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Entered {
    /// Ready once the connection is to end.
    pub fn poll_begun(&self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.drain.0;
        if shared.begun.get() {
            return Poll::Ready(());
        }
        match &mut shared.slots.borrow_mut()[self.slot] {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let shared = &self.drain.0;
        let waker = shared.slots.borrow_mut()[self.slot].take();
        shared.free.borrow_mut().push(self.slot);
        shared.open.set(shared.open.get() - 1);
        drop(waker);
        if shared.open.get() == 0
            && let Some(waiting) = shared.waiting.take()
        {
            waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn every_connection_is_told_and_the_end_of_the_last_one_is_noticed() {
        let drain = Drain::new();
        let local = tokio::task::LocalSet::new();
        let told = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (entered, told) = (drain.enter(), told.clone());
            local.spawn_local(async move {
                poll_fn(|cx| entered.poll_begun(cx)).await;
                told.set(told.get() + 1);
            });
        }
        local
            .run_until(async {
                tokio::task::yield_now().await;
                assert_eq!((told.get(), drain.open()), (0, 3));
                drain.begin();
                drain.emptied().await;
                assert_eq!((told.get(), drain.open()), (3, 0));
                poll_fn(|cx| drain.enter().poll_begun(cx)).await; // A late one is told at once.
            })
            .await;
    }

    #[test]
    fn slots_are_used_again() {
        let drain = Drain::new();
        for _ in 0..100 {
            drop((drain.enter(), drain.enter()));
        }
        assert_eq!(drain.0.slots.borrow().len(), 2);
    }
}
