//! How the request path hands a refusal to the keeper, and whom it has served: without waiting, and without growing.
//!
//! All of that and all operators' questions travel through one channel, which is what the keeper sleeps on. The channel
//! itself is unbounded; what bounds it is that each worker may have only [`PENDING_MAX`] signals in it. A worker above
//! that loses the signal and counts the loss, so one flooded worker neither delays a request, nor crowds out the
//! others, nor stands before an operator's `unban` for longer than it takes to look at its thousand. Whom it has served is
//! counted apart, so that many clients do not displace what one of them does.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use super::counters::Counters;
use super::keeper::Message;
use super::signal::Signal;
use super::target::Subject;
use super::told::Told;

/// Most signals of one worker that may wait for the keeper (about 128 bytes each, and their evidence).
pub const PENDING_MAX: u32 = 1024;

/// A worker's end of the queue. Made by [`super::keeper::Handle::reporter`], one for each worker.
#[derive(Debug)]
pub struct Reporter {
    sender: mpsc::Sender<Message>,
    pending: Arc<AtomicU32>,
    pending_seen: Arc<AtomicU32>,
    told: Told,
    counters: Arc<Counters>,
}

/// A worker's end of the same queue, for what is known only when a connection has ended.
#[derive(Debug)]
pub struct Paroles {
    sender: mpsc::Sender<Message>,
    pending: Arc<AtomicU32>,
}

/// A client that was served.
#[derive(Debug)]
pub struct Seen {
    /// The socket's peer.
    pub source: IpAddr,
    /// Who.
    pub who: Subject,
}

/// Something on its way; while it exists it takes one of its worker's places.
#[derive(Debug)]
pub struct InFlight<T> {
    what: Option<T>,
    pending: Arc<AtomicU32>,
}

impl Reporter {
    pub(super) fn new(sender: mpsc::Sender<Message>, counters: Arc<Counters>) -> Reporter {
        let told = Told::new(Instant::now());
        Reporter { sender, pending: Arc::default(), pending_seen: Arc::default(), told, counters }
    }

    /// Hands over a signal, or drops it when this worker has too many waiting or the keeper is gone. Never waits.
    ///
    /// Costs two atomic operations and a push; a futex wake when the keeper sleeps.
    pub fn report(&self, signal: Signal) {
        let in_flight = InFlight::begin(signal, &self.pending);
        let sent = in_flight.is_some_and(|it| self.sender.send(Message::Signal(it)).is_ok());
        if !sent {
            self.counters.signals_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells whom a request was served to, a few times an hour each. Never waits; what finds no room is told in
    /// the next period.
    ///
    /// Costs a hash and a cache line when it was told already, and then allocates nothing.
    pub fn seen(&self, now: Instant, source: IpAddr, auth: &Arc<str>, principal: &Arc<str>) {
        if principal.is_empty() || !self.told.is_news(now, source, auth, principal) {
            return;
        }
        let seen = Seen { source, who: Subject { auth: auth.clone(), principal: principal.clone() } };
        if let Some(in_flight) = InFlight::begin(seen, &self.pending_seen) {
            // Without a keeper nobody is banned, and nobody needs to know.
            let _ = self.sender.send(Message::Seen(in_flight));
        }
    }

    /// The way to say how a parole went, under the terms of signals.
    pub fn paroles(&self) -> Paroles {
        Paroles { sender: self.sender.clone(), pending: self.pending.clone() }
    }
}

impl Paroles {
    /// Says that the client of this ban was let through and behaved. If that is lost, the ban goes on.
    pub fn behaved(&self, ban: u32) {
        if let Some(in_flight) = InFlight::begin(ban, &self.pending) {
            let _ = self.sender.send(Message::Behaved(in_flight));
        }
    }
}

impl<T> InFlight<T> {
    /// None if the worker has no place left.
    fn begin(what: T, pending: &Arc<AtomicU32>) -> Option<InFlight<T>> {
        let in_flight = InFlight { what: Some(what), pending: pending.clone() };
        (pending.fetch_add(1, Ordering::Relaxed) < PENDING_MAX).then_some(in_flight)
    }

    /// What it is; its worker's place is free again.
    pub(super) fn arrive(mut self) -> T {
        self.what.take().expect("it arrives once")
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
            cost: std::time::Duration::ZERO,
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

    #[test]
    fn a_client_is_told_once_and_takes_no_place_of_a_signal() {
        let (sender, receiver) = mpsc::channel();
        let reporter = Reporter::new(sender, Arc::default());
        let now = Instant::now();
        for n in 0..2 * PENDING_MAX {
            let [.., c, d] = n.to_be_bytes();
            for _ in 0..2 {
                reporter.seen(now, [10, 0, c, d].into(), &"users".into(), &"alice".into());
            }
        }
        reporter.seen(now, [10, 0, 0, 0].into(), &"users".into(), &"".into());
        reporter.report(signal());
        let told: Vec<Message> = receiver.try_iter().collect();
        assert_eq!(told.len(), PENDING_MAX as usize + 1);
        assert!(matches!(told.last(), Some(Message::Signal(_))));
        assert_eq!(reporter.counters.signals_dropped.load(Ordering::Relaxed), 0);
        drop(told);
        assert_eq!(reporter.pending_seen.load(Ordering::Relaxed), 0);
    }
}
