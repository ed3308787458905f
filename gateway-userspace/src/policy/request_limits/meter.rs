//! The least rate of an upload.
//!
//! A fixed time limit for a body cuts honest slow uploads and still lets many slow senders hold connections. So a
//! body earns its time: every byte buys `1 / rate` seconds, and never more than the grace is held in advance. Over any
//! span longer than the grace a sender must therefore keep the least rate, and no pause is longer than the grace.

use std::time::{Duration, Instant};

use super::config::Config;

/// How far a body is paid for.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    paid_until: Instant,
    grace: Duration,
    /// Bytes per second; 0: any byte buys the whole grace.
    rate: u64,
}

/// The body arrived too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body arrived slower than the least rate")]
pub struct Slow;

impl Meter {
    /// Begins when the gateway first waits for the body.
    pub fn new(config: &Config, now: Instant) -> Meter {
        Meter { paid_until: now + config.body_grace, grace: config.body_grace, rate: config.body_rate_min }
    }

    /// Counts bytes that arrived. Late bytes are an error, not a payment.
    pub fn step(&mut self, now: Instant, bytes: usize) -> Result<(), Slow> {
        if now > self.paid_until {
            return Err(Slow);
        }
        if bytes > 0 {
            self.paid_until = (self.paid_until + self.price(bytes)).min(now + self.grace);
        }
        Ok(())
    }

    /// The moment at which the next byte must be there; a timer that fires then has found a slow sender.
    pub fn deadline(&self) -> Instant {
        self.paid_until
    }

    /// Time in which the gateway did not read, because its upstream was slow, is not the client's fault.
    pub fn excuse(&mut self, not_reading: Duration) {
        self.paid_until += not_reading;
    }

    /// Time that so many bytes buy, at most the grace.
    fn price(&self, bytes: usize) -> Duration {
        const NS_PER_S: u128 = 1_000_000_000;
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        let ns = bytes.saturating_mul(NS_PER_S).checked_div(u128::from(self.rate)).unwrap_or(u128::MAX);
        u64::try_from(ns).map_or(self.grace, Duration::from_nanos).min(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Config, Meter, Slow};

    const SECOND: Duration = Duration::from_secs(1);

    /// 500 B/s after 10 s.
    fn meter(now: Instant) -> Meter {
        Meter::new(&Config::default(), now)
    }

    /// Sends `bytes` every `every`; after how many seconds the sender is cut, if within ten minutes.
    fn cut_after(bytes: usize, every: Duration) -> Option<u64> {
        let start = Instant::now();
        let (mut meter, mut now) = (meter(start), start);
        while now < start + 600 * SECOND {
            now += every;
            if meter.step(now, bytes).is_err() {
                return Some((now - start).as_secs());
            }
        }
        None
    }

    #[test]
    fn a_steady_sender_at_the_least_rate_is_kept_and_a_slower_one_is_cut() {
        assert_eq!(cut_after(500, SECOND), None);
        assert_eq!(cut_after(50, SECOND / 10), None);
        assert_eq!(cut_after(4500, 9 * SECOND), None);
        assert_eq!(cut_after(250, SECOND), Some(20));
        assert_eq!(cut_after(1, SECOND), Some(11));
        assert_eq!(cut_after(1, 9 * SECOND), Some(18));
    }

    #[test]
    fn a_fast_beginning_buys_no_more_than_the_grace() {
        let start = Instant::now();
        let mut meter = meter(start);
        meter.step(start + SECOND, 100 << 20).expect("in time");
        assert_eq!(meter.deadline(), start + 11 * SECOND);
        assert_eq!(meter.step(start + 12 * SECOND, 1), Err(Slow));
    }

    #[test]
    fn nothing_arriving_buys_nothing() {
        let start = Instant::now();
        let mut meter = meter(start);
        meter.step(start + 5 * SECOND, 0).expect("in time");
        assert_eq!(meter.deadline(), start + 10 * SECOND);
    }

    #[test]
    fn time_in_which_the_gateway_did_not_read_is_excused() {
        let start = Instant::now();
        let mut meter = meter(start);
        meter.excuse(30 * SECOND);
        assert_eq!(meter.step(start + 39 * SECOND, 1), Ok(()));
    }

    #[test]
    fn without_a_least_rate_only_pauses_are_cut() {
        let start = Instant::now();
        let config = Config { body_rate_min: 0, ..Config::default() };
        let mut meter = Meter::new(&config, start);
        let mut now = start;
        for _ in 0..100 {
            now += 9 * SECOND;
            meter.step(now, 1).expect("a byte every nine seconds");
        }
        assert_eq!(meter.step(now + 11 * SECOND, 1), Err(Slow));
    }
}
