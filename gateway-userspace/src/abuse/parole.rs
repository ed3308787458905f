//! Parole: in the last third of a ban somebody comes through now and then, and is judged.
//!
//! A ban is as long as past offences say, and its client may have been put right long before. So from some moment on one
//! connection in an interval is let through: the kernel picks it by its SYN, and as not every connection comes past the
//! kernel stage (a management port, another interface), [`Gate`] lets one through in an interval too. Without a kernel
//! stage it is one request, which [`Gate`] picks. Whoever is refused again in a way that counts makes the ban longer;
//! whoever behaves ends it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::reporter::Paroles;
use super::standing::Turn;

/// When a ban lets somebody through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Parole {
    /// How long before the ban's end it begins.
    pub before_end: Duration,
    /// How often.
    pub every: Duration,
}

impl Parole {
    /// Of a ban that lasts so long.
    pub fn of(term: Duration, every: Duration) -> Parole {
        Parole { before_end: term / 3, every }
    }
}

/// As the state file has it, in milliseconds.
#[derive(Serialize, Deserialize)]
struct Written {
    before_end_ms: u64,
    every_ms: u64,
}

impl From<Parole> for Written {
    fn from(parole: Parole) -> Written {
        Written { before_end_ms: millis(parole.before_end), every_ms: millis(parole.every) }
    }
}

impl From<Written> for Parole {
    fn from(written: Written) -> Parole {
        let Written { before_end_ms, every_ms } = written;
        Parole { before_end: Duration::from_millis(before_end_ms), every: Duration::from_millis(every_ms) }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The parole of one ban, as the requests of all workers meet it.
#[derive(Debug)]
pub struct Gate {
    begins: Instant,
    every: Duration,
    /// Whether the kernel picks connections too, and not layer 7 requests.
    by_kernel: bool,
    /// When the next one may pass, milliseconds after `begins`. It is the number of the last one's turn.
    next_ms: AtomicU64,
}

impl Gate {
    /// Shut until `begins`.
    pub fn new(begins: Instant, every: Duration, by_kernel: bool) -> Gate {
        Gate { begins, every, by_kernel, next_ms: AtomicU64::new(0) }
    }

    /// The number of the turn in which a request passes that comes now, if it may. `held` is that of its connection, which
    /// it keeps until another connection gets one. Of those that come at once to several workers, one may pass.
    ///
    /// What the kernel has picked may take half an interval longer from its SYN to its request than the next one: it is
    /// not refused for coming too early, and there are no more of them in the long run.
    pub fn admits(&self, now: Instant, held: Option<u64>) -> Option<u64> {
        let now_ms = self.since_ms(now)?;
        let (next_ms, every_ms) = (self.next_ms.load(Relaxed), millis(self.every));
        let early_ms = if self.by_kernel { every_ms / 2 } else { 0 };
        if self.by_kernel && held == Some(next_ms) {
            return held;
        }
        if now_ms.saturating_add(early_ms) < next_ms {
            return None;
        }
        // Each turn has a number of its own.
        let then_ms = now_ms.max(next_ms).saturating_add(every_ms.max(1));
        let taken = self.next_ms.compare_exchange(next_ms, then_ms, Relaxed, Relaxed);
        taken.is_ok().then_some(then_ms)
    }

    /// Whether somebody may pass in its turn.
    pub fn is_open(&self, now: Instant) -> bool {
        self.since_ms(now).is_some()
    }

    fn since_ms(&self, now: Instant) -> Option<u64> {
        now.checked_duration_since(self.begins).map(millis)
    }
}

/// The connection of somebody on parole. It ends with the last of its requests and says then how they went.
#[derive(Debug)]
pub struct Visit {
    /// The ban.
    pub ban: u32,
    /// The number of its turn.
    turn: Cell<u64>,
    paroles: Paroles,
    behaved: Cell<bool>,
    refused: Cell<bool>,
}

impl Visit {
    /// Nothing has been asked for yet.
    pub fn new(turn: Turn, paroles: Paroles) -> Visit {
        let Turn { ban, number } = turn;
        Visit { ban, turn: Cell::new(number), paroles, behaved: Cell::new(false), refused: Cell::new(false) }
    }

    /// The turn that its connection has, or had.
    pub fn turn(&self) -> Turn {
        Turn { ban: self.ban, number: self.turn.get() }
    }

    /// Its connection has got another turn.
    pub fn set_turn(&self, turn: Turn) {
        self.turn.set(turn.number);
    }

    /// Notes how a request went. An authenticated one that is served ends the ban at once; one of a stranger may be
    /// the first of many, so the connection's end is waited for. A refusal that counts makes all of it count nothing:
    /// the refusal itself, which the keeper hears of as of any other, renews the ban.
    pub fn judge(&self, status: u16, authenticated: bool, refused: bool) {
        if refused {
            self.refused.set(true);
        }
        if refused || status >= 400 {
            return;
        }
        self.behaved.set(true);
        if authenticated {
            self.tell();
        }
    }

    fn tell(&self) {
        if self.behaved.take() && !self.refused.get() {
            self.paroles.behaved(self.ban);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::abuse::keeper::Message;
    use crate::abuse::reporter::Reporter;

    #[test]
    fn without_a_kernel_one_request_passes_in_each_interval() {
        let start = Instant::now();
        let gate = Gate::new(start + Duration::from_secs(10), Duration::from_secs(30), false);
        let admits = |ms: u64| gate.admits(start + Duration::from_millis(ms), None).is_some();
        assert_eq!([0, 9_999].map(admits), [false; 2]);
        assert_eq!([10_000, 10_000, 39_999, 40_000, 40_001].map(admits), [true, false, false, true, false]);
        assert_eq!([200_000, 229_999, 230_000].map(admits), [true, false, true]);
    }

    #[test]
    fn of_requests_that_come_at_once_to_several_workers_one_passes() {
        let gate = Gate::new(Instant::now(), Duration::from_secs(3_600), false);
        let ask = || (0..1_000).filter_map(|_| gate.admits(Instant::now(), None)).count();
        let admitted: usize = std::thread::scope(|scope| {
            let askers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            askers.into_iter().map(|asker| asker.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1);
    }

    #[test]
    fn beside_a_kernel_one_connection_passes_in_each_interval_and_all_of_its_requests() {
        let start = Instant::now();
        let gate = Gate::new(start + Duration::from_secs(10), Duration::from_secs(30), true);
        let admits = |ms: u64, held| gate.admits(start + Duration::from_millis(ms), held);
        assert_eq!(admits(9_999, None), None);
        let first = admits(10_000, None);
        assert_eq!([10_000, 10_001, 24_999].map(|ms| admits(ms, None)), [None; 3], "others");
        assert_eq!([10_000, 24_999, 100_000].map(|ms| admits(ms, first)), [first; 3], "the same one");
        // Half an interval early, for the kernel has picked by the SYN …
        let second = admits(25_000, None);
        assert!(first.is_some() && second.is_some() && first != second);
        assert_eq!(admits(25_000, first), None, "there is one at a time");
        // … and no more of them for that.
        let later = [54_999, 55_000, 84_999, 85_000].map(|ms| admits(ms, None).is_some());
        assert_eq!(later, [false, true, false, true]);
        assert_eq!(admits(85_001, second), None);
    }

    /// Status, authenticated, refused; and how often the keeper hears of it, by the end of each and of the connection.
    type Case = (&'static [(u16, bool, bool)], &'static [usize]);

    #[test]
    fn good_answers_end_a_parole_and_one_refusal_spoils_them() {
        let cases: &[Case] = &[
            (&[(200, true, false), (200, true, false)], &[1, 1, 0]),
            (&[(200, false, false), (304, false, false)], &[0, 0, 1]),
            (&[(200, false, false), (401, false, true)], &[0, 0, 0]),
            (&[(401, false, true), (200, true, false)], &[0, 0, 0]),
            (&[(404, false, false), (502, true, false), (499, true, false)], &[0, 0, 0, 0]),
            (&[(200, true, true)], &[0, 0]),
            (&[], &[0]),
        ];
        for (requests, expected) in cases {
            let (sender, receiver) = mpsc::channel();
            let turn = Turn { ban: 7, number: 1 };
            let visit = Visit::new(turn, Reporter::new(sender, Arc::default()).paroles());
            let heard =
                || receiver.try_iter().filter(|message| matches!(message, Message::Behaved(_))).count();
            let mut told = Vec::new();
            for (status, authenticated, refused) in *requests {
                visit.judge(*status, *authenticated, *refused);
                told.push(heard());
            }
            drop(visit);
            told.push(heard());
            assert_eq!(told, *expected, "{requests:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let parole = Parole::of(Duration::from_secs(600), Duration::from_secs(30));
        let text = serde_json::to_string(&parole).unwrap();
        assert_eq!(text, r#"{"before_end_ms":200000,"every_ms":30000}"#);
        assert_eq!(serde_json::from_str::<Parole>(&text).unwrap(), parole);
    }
}
