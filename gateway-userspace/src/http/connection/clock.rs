//! When a connection must have got further: one deadline at a time, and one timer for all of them.
//!
//! The phases of a connection and what ends them:
//!
//! | phase | begins | deadline |
//! |---|---|---|
//! | opening | accepted | `handshake_timeout` after accept, in [`super::opening`] |
//! | head | opened; or the first byte after an idle time | `header_timeout` after accept, or after that byte |
//! | busy | a request is complete | none here: the handler, the body and the upstream have their own |
//! | idle | the last response is over | `idle_timeout` after that |
//! | closing | idle for too long, HTTP/2 | [`CLOSING`] after that |
//!
//! In every phase, bytes that the client does not take for `write_timeout` end the connection. HTTP/2 has no head
//! phase after the first request, since streams overlap: a header section that never ends is an idle connection.
//! With HTTP/1, bytes of a next request that came together with the last one count from the next byte.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::model::ListenLimits;

/// How long an idle HTTP/2 connection has to end after its GOAWAY.
pub const CLOSING: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Head { since: Instant, begun: bool },
    Busy,
    Idle { since: Instant },
    Closing { since: Instant },
}

/// What a deadline that passed was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// A header section; `begun` if there was a byte of it.
    Head {
        /// Whether there was a byte of it.
        begun: bool,
    },
    /// The next request.
    Idle,
    /// The end after a GOAWAY.
    Closing,
    /// The client's reading.
    Write,
}

/// The state that deadlines are derived from. Shared by the socket, the requests and the driver of a connection.
#[derive(Debug)]
pub struct Clock {
    accepted: Instant,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    phase: Cell<Phase>,
    multiplexed: Cell<bool>,
    in_flight: Cell<u32>,
    write_blocked: Cell<Option<Instant>>,
    ended: Cell<bool>,
    received: Cell<bool>,
    resets: Cell<bool>,
}

impl Clock {
    /// A connection accepted at this moment.
    pub fn new(accepted: Instant, limits: &ListenLimits) -> Clock {
        Clock {
            accepted,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            phase: Cell::new(Phase::Opening),
            multiplexed: Cell::new(false),
            in_flight: Cell::new(0),
            write_blocked: Cell::new(None),
            ended: Cell::new(false),
            received: Cell::new(false),
            resets: Cell::new(false),
        }
    }

    /// When the connection was accepted.
    pub fn accepted(&self) -> Instant {
        self.accepted
    }

    /// The connection is open: its first header section is due, counted from accept.
    pub fn opened(&self, multiplexed: bool) {
        self.multiplexed.set(multiplexed);
        self.phase.set(Phase::Head { since: self.accepted, begun: false });
    }

    /// Bytes came from the client.
    pub fn read(&self) {
        self.received.set(true);
        match self.phase.get() {
            Phase::Head { since, begun: false } => self.phase.set(Phase::Head { since, begun: true }),
            Phase::Idle { .. } if !self.multiplexed.get() => {
                self.phase.set(Phase::Head { since: Instant::now(), begun: true });
            }
            _ => {}
        }
    }

    /// The client has closed its side.
    pub fn read_end(&self) {
        self.ended.set(true);
    }

    /// Whether the client has closed its side.
    pub fn client_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether the client ever sent a byte.
    pub fn received(&self) -> bool {
        self.received.get()
    }

    /// Makes closing the socket reset the connection, so that the kernel keeps nothing of it: neither bytes that the
    /// client does not read, nor the state of an orderly close.
    pub fn reset_on_close(&self) {
        self.resets.set(true);
    }

    /// Whether closing resets.
    pub fn resets(&self) -> bool {
        self.resets.get()
    }

    /// The client took bytes, or all of them.
    pub fn write_progress(&self) {
        self.write_blocked.set(None);
    }

    /// The client takes no more bytes for now.
    pub fn write_blocked(&self) {
        if self.write_blocked.get().is_none() {
            self.write_blocked.set(Some(Instant::now()));
        }
    }

    /// A request is complete.
    pub fn request_begins(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        if !matches!(self.phase.get(), Phase::Closing { .. }) {
            self.phase.set(Phase::Busy);
        }
    }

    /// A response is over, or its request was given up.
    pub fn request_ends(&self) {
        let left = self.in_flight.get().saturating_sub(1);
        self.in_flight.set(left);
        if left == 0 && self.phase.get() == Phase::Busy {
            self.phase.set(Phase::Idle { since: Instant::now() });
        }
    }

    /// The client was told that the connection will end.
    pub fn closing(&self) {
        self.phase.set(Phase::Closing { since: Instant::now() });
    }

    /// Whether the connection ends because nothing was asked for.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase.get(), Phase::Closing { .. })
    }

    /// The next deadline, if there is one.
    fn deadline(&self) -> Option<(Instant, Overdue)> {
        let by_phase = match self.phase.get() {
            Phase::Opening | Phase::Busy => None,
            Phase::Head { since, begun } => Some((since + self.header_timeout, Overdue::Head { begun })),
            Phase::Idle { since } => Some((since + self.idle_timeout, Overdue::Idle)),
            Phase::Closing { since } => Some((since + CLOSING, Overdue::Closing)),
        };
        let by_writing = self.write_blocked.get().map(|since| (since + self.write_timeout, Overdue::Write));
        by_phase.into_iter().chain(by_writing).min_by_key(|(at, _)| *at)
    }

    /// Waits until the deadline that is then in force has passed. To be polled after everything that moves it.
    ///
    /// The timer is only moved when a deadline comes before it; one that has moved away is noticed when the timer
    /// fires. So a busy connection sets it about once in a `header_timeout`.
    pub fn poll_overdue(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Overdue> {
        loop {
            let Some((at, what)) = self.deadline() else { return Poll::Pending };
            if timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(what);
            }
        }
    }

    /// A timer for [`Clock::poll_overdue`].
    pub fn timer(&self) -> Sleep {
        tokio::time::sleep_until(self.accepted + self.header_timeout)
    }
}

/// How long the client has kept one HTTP/2 stream from getting on by keeping its window shut.
#[derive(Debug, Default)]
pub struct Pace(Cell<Option<Instant>>);

impl Pace {
    /// The library asks for more, so the client takes bytes.
    pub fn asked(&self) {
        self.0.set(None);
    }

    /// The library got bytes, and asks again when the client has room.
    pub fn gave(&self) {
        self.0.set(Some(Instant::now()));
    }

    /// Since when the library has not asked.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);
    const WRITE: Duration = Duration::from_secs(30);

    fn clock() -> Clock {
        let limits = ListenLimits {
            header_timeout: HEADER,
            idle_timeout: IDLE,
            write_timeout: WRITE,
            ..ListenLimits::default()
        };
        Clock::new(Instant::now(), &limits)
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_header_section_is_due_from_accept_however_the_bytes_trickle() {
        let (clock, start) = (clock(), Instant::now());
        pass(4).await;
        clock.opened(false);
        assert_eq!(clock.deadline(), Some((start + HEADER, Overdue::Head { begun: false })));
        for _ in 0..5 {
            pass(1).await;
            clock.read();
        }
        assert_eq!(clock.deadline(), Some((start + HEADER, Overdue::Head { begun: true })));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_client_may_idle_and_its_next_byte_starts_the_header_deadline() {
        let clock = clock();
        clock.opened(false);
        clock.request_begins();
        assert_eq!(clock.deadline(), None);
        pass(100).await;
        clock.request_ends();
        assert_eq!(clock.deadline(), Some((Instant::now() + IDLE, Overdue::Idle)));
        pass(50).await;
        clock.read();
        assert_eq!(clock.deadline(), Some((Instant::now() + HEADER, Overdue::Head { begun: true })));
    }

    #[tokio::test(start_paused = true)]
    async fn overlapping_streams_are_idle_after_the_last_of_them_and_pings_change_nothing() {
        let clock = clock();
        clock.opened(true);
        clock.request_begins();
        clock.request_begins();
        clock.request_ends();
        assert_eq!(clock.deadline(), None);
        clock.request_ends();
        let idle = Some((Instant::now() + IDLE, Overdue::Idle));
        pass(50).await;
        clock.read();
        assert_eq!(clock.deadline(), idle);
        clock.closing();
        clock.request_begins();
        clock.request_ends();
        assert_eq!(clock.deadline(), Some((Instant::now() + CLOSING, Overdue::Closing)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_has_a_deadline_that_progress_moves() {
        let clock = clock();
        clock.opened(false);
        clock.request_begins();
        clock.write_blocked();
        let since = Instant::now();
        pass(20).await;
        clock.write_blocked();
        assert_eq!(clock.deadline(), Some((since + WRITE, Overdue::Write)));
        clock.write_progress();
        assert_eq!(clock.deadline(), None);
        clock.write_blocked();
        assert_eq!(clock.deadline(), Some((Instant::now() + WRITE, Overdue::Write)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_fires_at_the_deadline_in_force_and_not_at_those_before() {
        let (clock, start) = (clock(), Instant::now());
        clock.opened(false);
        let mut timer = std::pin::pin!(clock.timer());
        let overdue = std::future::poll_fn(|cx| clock.poll_overdue(timer.as_mut(), cx));
        let requests = async {
            for _ in 0..20 {
                clock.read();
                clock.request_begins();
                clock.request_ends();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
        };
        let what = tokio::select! { what = overdue => what, () = requests => unreachable!() };
        assert_eq!((what, start.elapsed().as_secs()), (Overdue::Idle, 19 + 60));
    }
}
