//! How the request path hands a refusal to the keeper: without waiting, and without growing.
//!
//! All signals and all operators' questions travel through one channel, which is what the keeper sleeps on. The channel
//! itself is unbounded; what bounds it is that each worker may have only [`PENDING_MAX`] signals in it. A worker above
//! that loses the signal and counts the loss, so one flooded worker neither delays a request, nor crowds out the
//! others, nor stands before an operator's `unban` for longer than it takes to look at its thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::counters::Counters;
use super::keeper::Message;
use super::signal::Signal;

/// Most signals of one worker that may wait for the keeper (about 128 bytes each, and their evidence).
pub const PENDING_MAX: u32 = 1024;

/// A worker's end of the queue. Made by [`super::keeper::Handle::reporter`], one for each worker.
#[derive(Debug, Clone)]
pub struct Reporter {
    sender: mpsc::Sender<Message>,
    pending: Arc<AtomicU32>,
    counters: Arc<Counters>,
}

/// Something on its way; while it exists it takes one of its worker's places.
#[derive(Debug)]
pub struct InFlight<T> {
    load: Option<T>,
    pending: Arc<AtomicU32>,
}

impl Reporter {
    pub(super) fn new(sender: mpsc::Sender<Message>, counters: Arc<Counters>) -> Reporter {
        Reporter { sender, pending: Arc::default(), counters }
    }

    /// Hands over a signal, or drops it when this worker has too many waiting or the keeper is gone. Never waits.
    ///
    /// Costs two atomic operations and a push; a futex wake when the keeper sleeps.
    pub fn report(&self, signal: Signal) {
        if !self.send(signal, Message::Signal) {
            self.counters.signals_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that the client of this ban was let through and behaved, under the same terms. If that is lost, the ban
    /// goes on.
    pub fn behaved(&self, ban: u32) {
        self.send(ban, Message::Behaved);
    }

    fn send<T>(&self, load: T, message: fn(InFlight<T>) -> Message) -> bool {
        if self.pending.fetch_add(1, Ordering::Relaxed) >= PENDING_MAX {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let in_flight = InFlight { load: Some(load), pending: self.pending.clone() };
        self.sender.send(message(in_flight)).is_ok()
    }
}

impl<T> InFlight<T> {
    /// What it is; its worker's place is free again.
    pub(super) fn arrive(mut self) -> T {
        self.load.take().expect("a signal arrives once")
    }
}

impl<T> Drop for InFlight<T> {
    fn drop(&mut self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::signal::Kind;
    use super::*;

    fn signal() -> Signal {
        Signal {
            source: [203, 0, 113, 9].into(),
            trusted_proxy: false,
            kind: Kind::RateLimited,
            at: Instant::now(),
            evidence: None,
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_does_not_take_another_workers_room() {
        let (sender, receiver) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let flooded = Reporter::new(sender.clone(), counters.clone());
        let calm = Reporter::new(sender, counters.clone());
        for _ in 0..PENDING_MAX + 7 {
            flooded.report(signal());
        }
        assert_eq!(counters.signals_dropped.load(Ordering::Relaxed), 7);
        calm.report(signal());
        assert_eq!(counters.signals_dropped.load(Ordering::Relaxed), 7);

        let Ok(Message::Signal(first)) = receiver.recv() else { panic!("a signal was sent") };
        first.arrive();
        flooded.report(signal());
        assert_eq!(counters.signals_dropped.load(Ordering::Relaxed), 7, "one place was free again");
    }

    #[test]
    fn without_a_keeper_signals_are_dropped_and_counted_and_nothing_fills_up() {
        let (sender, receiver) = mpsc::channel();
        drop(receiver);
        let reporter = Reporter::new(sender, Arc::default());
        for _ in 0..3 * PENDING_MAX {
            reporter.report(signal());
        }
        assert_eq!(reporter.counters.signals_dropped.load(Ordering::Relaxed), u64::from(3 * PENDING_MAX));
        assert_eq!(reporter.pending.load(Ordering::Relaxed), 0);
    }
}
