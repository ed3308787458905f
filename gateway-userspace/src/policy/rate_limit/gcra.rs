//! The generic cell rate algorithm (ITU-T I.371): a leaky bucket whose whole state is one moment.
//!
//! That moment is the theoretical arrival time (TAT): when the next request would come if all so far had come at the
//! even pace. A request passes while the TAT is at most the tolerance ahead of the clock, and moves it by one
//! interval. The result equals NGINX's `limit_req burst=N nodelay`: N + 1 requests pass back to back, then one for
//! each interval. All times are nanoseconds since an epoch of the caller's.

use std::time::Duration;

/// Times are whole multiples of this, which leaves low bits of a stored TAT free for the table.
pub const GRAIN_NS: u64 = 8;

/// The longest tolerance, 146 years: sums with the clock stay far from overflow.
const TOLERANCE_NS_MAX: u64 = 1 << 62;

/// A pace and how far one may run ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval_ns: u64,
    tolerance_ns: u64,
}

/// How much of a bucket is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Requests that would pass now.
    pub remaining: u64,
    /// Nanoseconds until all would.
    pub reset_ns: u64,
}

impl Rate {
    /// `requests` in each `per`, and `burst` more at once. The interval is rounded up to the grain, so a limit is never
    /// too generous; the error is under one part in a thousand up to 125 000 requests per second.
    pub fn new(requests: u64, per: Duration, burst: u64) -> Rate {
        let interval_ns = per.as_nanos().div_ceil(u128::from(requests.max(1)));
        let interval_ns = u64::try_from(interval_ns).unwrap_or(TOLERANCE_NS_MAX);
        let interval_ns = interval_ns.clamp(1, TOLERANCE_NS_MAX).next_multiple_of(GRAIN_NS);
        let tolerance_ns = interval_ns.saturating_mul(burst).min(TOLERANCE_NS_MAX);
        Rate { interval_ns, tolerance_ns }
    }

    /// Takes one request: the new TAT, or the nanoseconds to wait until one would pass. `now_ns` is rounded down to
    /// the grain.
    pub fn step(self, tat_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let now_ns = now_ns - now_ns % GRAIN_NS;
        let tat_ns = tat_ns.max(now_ns);
        match (tat_ns - now_ns).checked_sub(self.tolerance_ns) {
            None | Some(0) => Ok(tat_ns + self.interval_ns),
            Some(early_ns) => Err(early_ns),
        }
    }

    /// Gives one request back.
    pub fn back(self, tat_ns: u64) -> u64 {
        tat_ns.saturating_sub(self.interval_ns)
    }

    /// How much is left at a TAT.
    pub fn level(self, tat_ns: u64, now_ns: u64) -> Level {
        let reset_ns = tat_ns.saturating_sub(now_ns - now_ns % GRAIN_NS);
        let remaining =
            self.tolerance_ns.checked_sub(reset_ns).map_or(0, |spare_ns| spare_ns / self.interval_ns + 1);
        Level { remaining, reset_ns }
    }

    /// The TAT under this rate that stands for as many spent requests as `tat_ns` did under `old`, at most for a
    /// spent burst.
    pub fn carry_over(self, old: Rate, tat_ns: u64, now_ns: u64) -> u64 {
        let debt_ns = u128::from(tat_ns.saturating_sub(now_ns));
        let debt_ns = debt_ns * u128::from(self.interval_ns) / u128::from(old.interval_ns);
        let debt_ns = u64::try_from(debt_ns).unwrap_or(u64::MAX).min(self.tolerance_ns + self.interval_ns);
        (now_ns + debt_ns).next_multiple_of(GRAIN_NS)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Level, Rate};

    const SECOND_NS: u64 = 1_000_000_000;
    const START_NS: u64 = 17 * SECOND_NS;

    /// How many of `count` requests pass at one moment.
    fn pass(rate: Rate, tat_ns: &mut u64, now_ns: u64, count: usize) -> usize {
        (0..count).filter(|_| rate.step(*tat_ns, now_ns).map(|next| *tat_ns = next).is_ok()).count()
    }

    #[test]
    fn a_burst_of_twenty_lets_twenty_one_pass_back_to_back() {
        let rate = Rate::new(100, Duration::from_secs(60), 20);
        let mut tat_ns = 0;
        assert_eq!(pass(rate, &mut tat_ns, START_NS, 40), 21);
        assert_eq!(rate.step(tat_ns, START_NS), Err(600_000_000));
        assert_eq!(pass(rate, &mut tat_ns, START_NS + 599_999_992, 3), 0);
        assert_eq!(pass(rate, &mut tat_ns, START_NS + 600_000_000, 3), 1);
        assert_eq!(
            pass(rate, &mut tat_ns, START_NS + 3600 * SECOND_NS, 40),
            21,
            "a rest fills the bucket, no more"
        );
    }

    #[test]
    fn the_whole_quota_at_once_needs_a_burst_of_one_less() {
        let rate = Rate::new(100, Duration::from_secs(60), 99);
        assert_eq!(pass(rate, &mut 0, START_NS, 500), 100);
        let one = Rate::new(1, Duration::from_secs(1), 0);
        assert_eq!(pass(one, &mut 0, START_NS, 5), 1);
    }

    #[test]
    fn the_level_counts_what_would_pass_and_when_all_would() {
        let rate = Rate::new(10, Duration::from_secs(1), 4);
        let mut tat_ns = 0;
        assert_eq!(rate.level(tat_ns, START_NS), Level { remaining: 5, reset_ns: 0 });
        for spent in 1..=5 {
            assert_eq!(pass(rate, &mut tat_ns, START_NS, 1), 1);
            let level = Level { remaining: 5 - spent, reset_ns: spent * 100_000_000 };
            assert_eq!(rate.level(tat_ns, START_NS), level);
        }
        assert_eq!(rate.level(tat_ns, START_NS + 50_000_000).remaining, 0);
        assert_eq!(rate.level(tat_ns, START_NS + 100_000_000).remaining, 1);
        assert_eq!(rate.level(rate.back(tat_ns), START_NS).remaining, 1);
    }

    /// `ngx_http_limit_req_lookup`, `nodelay`: times in ms, excess in thousandths of a request.
    struct Nginx {
        rate: i64,
        burst: i64,
        last: Option<(i64, i64)>,
    }

    impl Nginx {
        fn pass(&mut self, now_ms: i64) -> bool {
            let excess = match self.last {
                None => 0,
                Some((last_ms, excess)) => (excess - self.rate * (now_ms - last_ms) / 1000 + 1000).max(0),
            };
            if excess > self.burst {
                return false;
            }
            self.last = Some((now_ms, excess));
            true
        }
    }

    #[test]
    fn the_same_requests_pass_as_in_nginx() {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for (per_second, burst) in [(10, 20), (1, 0), (50, 5), (100, 99), (250, 1)] {
            let rate = Rate::new(per_second, Duration::from_secs(1), burst);
            let thousandths = |number: u64| i64::try_from(number * 1000).expect("small");
            let mut nginx = Nginx { rate: thousandths(per_second), burst: thousandths(burst), last: None };
            let (mut tat_ns, mut now_ms) = (0, 1_000_000_u64);
            let mut passed = 0;
            for _ in 0..20_000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                now_ms += if state.is_multiple_of(5) { (state >> 32) % (3000 / per_second + 2) } else { 0 };
                let ours = pass(rate, &mut tat_ns, now_ms * 1_000_000, 1) == 1;
                assert_eq!(ours, nginx.pass(i64::try_from(now_ms).expect("small")), "at {now_ms} ms");
                passed += usize::from(ours);
            }
            assert!((1000..20_000).contains(&passed), "both outcomes occur: {passed}");
        }
    }

    #[test]
    fn absurd_settings_neither_overflow_nor_admit_all() {
        let slow = Rate::new(1, Duration::from_secs(u64::MAX), u64::MAX);
        assert!(slow.step(0, START_NS).is_ok());
        let fast = Rate::new(u64::MAX, Duration::from_nanos(1), 0);
        assert_eq!(pass(fast, &mut 0, START_NS, 3), 1);
        assert_eq!(slow.level(u64::MAX >> 1, START_NS).remaining, 0);
    }

    #[test]
    fn a_changed_rate_carries_over_the_spent_requests_but_never_more_than_a_burst() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        let (old, new) = (Rate::new(100, hour, 99), Rate::new(100, minute, 99));
        let mut tat_ns = 0;
        pass(old, &mut tat_ns, START_NS, 30);
        let carried_ns = new.carry_over(old, tat_ns, START_NS);
        assert_eq!(new.level(carried_ns, START_NS).remaining, 70);
        assert_eq!(old.level(old.carry_over(new, carried_ns, START_NS), START_NS).remaining, 70);
        let smaller = Rate::new(100, minute, 4);
        let carried_ns = smaller.carry_over(old, tat_ns, START_NS);
        assert_eq!(
            smaller.step(carried_ns, START_NS),
            Err(600_000_000),
            "spent, and free again after one interval"
        );
    }
}
