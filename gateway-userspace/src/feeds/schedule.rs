//! When a list is read next. Times in, times out; what chance has a part in is given as a number.
//!
//! Entries of a list are a lease: the kernel ends them by itself. So whatever the interval, a list is read again when
//! two thirds of its lease are over, which leaves a third of it for attempts that fail.

use std::time::{Duration, Instant};

/// The first pause after a failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Nothing is read sooner again than after this, however short its lease.
const SHORTEST: Duration = Duration::from_secs(1);
/// A longer interval counts as this one, so that it can be added to any clock.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// When to read again what was read at `now`: after `refresh`, or sooner by up to the part `jitter` (0 to 1) of it, by
/// `chance` (0 to 1), so that lists which were started together are not fetched together; and no later than two thirds of
/// the way to `until`, where the lease ends.
pub fn next(now: Instant, refresh: Duration, jitter: f64, until: Option<Instant>, chance: f64) -> Instant {
    let refresh = refresh.min(LONGEST);
    now + bounded(refresh.mul_f64(1.0 - part(jitter) * part(chance)), now, until)
}

/// When to try again what failed at `now` for the `failures`th time in a row: after a pause that doubles with each up to
/// `refresh`, of which `chance` (0 to 1) takes up to half; and again no later than two thirds of the way to `until`.
pub fn retry(now: Instant, refresh: Duration, failures: u32, until: Option<Instant>, chance: f64) -> Instant {
    let doubled =
        FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let pause = doubled.min(refresh.max(SHORTEST)).min(LONGEST);
    now + bounded(pause.mul_f64(1.0 - 0.5 * part(chance)), now, until)
}

/// A lease that is over bounds nothing: it cannot be lost any more.
fn bounded(pause: Duration, now: Instant, until: Option<Instant>) -> Duration {
    let left = until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero());
    left.map_or(pause, |left| pause.min(left / 3 * 2)).max(SHORTEST)
}

fn part(of: f64) -> f64 {
    if of.is_nan() { 0.0 } else { of.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_list_is_read_after_its_interval_or_when_two_thirds_of_its_lease_are_over() {
        let now = Instant::now();
        let after = |refresh, jitter, lease: Option<Duration>, chance| {
            next(now, refresh, jitter, lease.map(|lease| now + lease), chance) - now
        };
        assert_eq!(after(HOUR, 0.1, None, 0.0), HOUR);
        assert_eq!(after(HOUR, 0.1, None, 1.0), Duration::from_secs(3240));
        assert_eq!(after(HOUR, 0.1, Some(25 * HOUR), 0.5), Duration::from_secs(3420));
        assert_eq!(after(HOUR, 0.1, Some(HOUR), 0.0), Duration::from_secs(2400));
        assert_eq!(
            after(HOUR, 0.5, Some(HOUR), 1.0),
            Duration::from_secs(1800),
            "jitter is within the bound"
        );
        assert_eq!(after(HOUR, 0.1, Some(Duration::ZERO), 0.0), HOUR, "there is no lease to lose");
        assert_eq!(after(Duration::ZERO, 0.1, None, 0.0), SHORTEST);
        assert_eq!(after(Duration::MAX, f64::NAN, None, f64::INFINITY), LONGEST);
    }

    #[test]
    fn failures_are_followed_by_longer_pauses_and_never_let_the_lease_go() {
        let now = Instant::now();
        let pauses = |until, chance| {
            (1..=12)
                .map(|failures| (retry(now, HOUR, failures, until, chance) - now).as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses(None, 0.0), [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!(pauses(None, 1.0)[..4], [2, 5, 10, 20]);
        assert_eq!(pauses(Some(now + HOUR / 60), 0.0)[..5], [5, 10, 20, 40, 40]);
        assert_eq!(retry(now, Duration::MAX, u32::MAX, None, 0.0), now + LONGEST);
        assert_eq!(retry(now, Duration::ZERO, 0, None, -1.0), now + SHORTEST);
    }

    #[test]
    fn whatever_fails_there_is_an_attempt_in_the_last_third_of_a_lease() {
        for lease in [3, 60, 3600, 90_000] {
            for chance in [0.0, 0.3, 1.0] {
                let start = Instant::now();
                let until = start + Duration::from_secs(lease);
                let mut at = next(start, 10 * HOUR, 0.1, Some(until), chance);
                let mut attempts = 0;
                while at < until {
                    attempts += 1;
                    at = retry(at, HOUR, attempts, Some(until), chance);
                }
                assert!((1..100).contains(&attempts), "{attempts} attempts in {lease} s");
                assert!(lease < 60 || attempts >= 4, "{attempts} attempts in {lease} s");
            }
        }
    }
}
