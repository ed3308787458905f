//! A deadline that moves with every chunk and almost never touches the timer wheel.
//!
//! The timer under it is only ever set earlier than needed: when the deadline moves away, the timer stays, fires at
//! its old time and is set again then. A connection keeps its timer over all its requests, so a busy connection sets
//! it once per timeout and not once per request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// See the module.
#[derive(Debug)]
pub(super) struct Deadline {
    timer: Pin<Box<Sleep>>,
    due: Instant,
}

impl Deadline {
    /// A deadline that far from now.
    pub(super) fn new(after: Duration) -> Deadline {
        let timer = Box::pin(tokio::time::sleep(after));
        let due = timer.deadline().into_std();
        Deadline { timer, due }
    }

    /// Moves the deadline, in either direction.
    pub(super) fn set(&mut self, due: Instant) {
        self.due = due;
        if due < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(due.into());
        }
    }

    /// Ready once the deadline has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline().into_std() >= self.due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.due.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::{Duration, Instant};

    use super::Deadline;

    #[tokio::test]
    async fn a_deadline_that_moved_away_is_kept_and_one_that_moved_near_too() {
        let start = Instant::now();
        let mut deadline = Deadline::new(Duration::from_millis(5));
        deadline.set(start + Duration::from_millis(40));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(40));

        deadline.set(Instant::now() + Duration::from_secs(3600));
        deadline.set(Instant::now() + Duration::from_millis(10));
        tokio::time::timeout(Duration::from_secs(10), poll_fn(|cx| deadline.poll(cx)))
            .await
            .expect("came near");
    }
}
