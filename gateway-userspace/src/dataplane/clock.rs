//! The clocks that we share with the kernel program.

use std::time::Duration;

use rustix::time::{ClockId, clock_getres, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds: the clock that the kernel program compares leases with (it reads the
/// coarse variant, which lags by at most one tick, 1 to 10 ms).
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The instant `duration` from now, capped at some 580 years after boot.
pub fn monotonic_ns_after(duration: Duration) -> u64 {
    monotonic_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Length of a tick of this kernel in nanoseconds (1e9 / HZ): the resolution of the coarse clocks, by
/// definition (`KTIME_LOW_RES`).
pub fn tick_ns() -> u32 {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    u32::try_from(resolution.tv_nsec).unwrap_or(TICK_NS_DEFAULT).max(1)
}

/// The tick of the kernel (`jiffies64`), given the lower half of it. The kernel counts ticks of `CLOCK_MONOTONIC`
/// and begins five minutes before the lower half is full (`INITIAL_JIFFIES`), so the upper half is known.
pub fn ticks_from(low: u32) -> u64 {
    ticks_near(monotonic_ns(), tick_ns(), low)
}

fn ticks_near(monotonic_ns: u64, tick_ns: u32, low: u32) -> u64 {
    let initial = (1 << 32) - 300 * 1_000_000_000 / u64::from(tick_ns);
    let estimate = initial + monotonic_ns / u64::from(tick_ns);
    // The lower half says by how much the estimate is wrong: less than half a round in either direction.
    let wrong_by = low.wrapping_sub(estimate as u32) as i32;
    estimate.wrapping_add_signed(wrong_by.into())
}

/// 250 Hz, the default of most distributions.
const TICK_NS_DEFAULT: u32 = 4_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_one_of_those_that_kernels_are_built_with() {
        // HZ is 100, 250, 300 or 1000 (kernel/Kconfig.hz); some architectures offer others in between.
        assert!((900_000..=10_100_000).contains(&tick_ns()), "{}", tick_ns());
    }

    #[test]
    fn the_upper_half_of_a_tick_is_that_of_the_time_since_boot() {
        const MINUTE_NS: u64 = 60_000_000_000;
        // The lower half is full five minutes after the start, here at 250 Hz.
        let first = (1_u64 << 32) - 75_000;
        assert_eq!(ticks_near(0, 4_000_000, first as u32), first);
        assert_eq!(ticks_near(4 * MINUTE_NS, 4_000_000, u32::MAX - 14_999), u64::from(u32::MAX) - 14_999);
        assert_eq!(ticks_near(5 * MINUTE_NS, 4_000_000, 0), 1 << 32);
        // One clock is read after the other.
        assert_eq!(ticks_near(5 * MINUTE_NS, 4_000_000, u32::MAX), u64::from(u32::MAX));
        assert_eq!(ticks_near(5 * MINUTE_NS - 1, 4_000_000, 2), (1 << 32) + 2);
    }

    #[test]
    fn an_instant_too_far_off_is_capped() {
        assert!(monotonic_ns_after(Duration::from_secs(1)) > monotonic_ns());
        assert_eq!(monotonic_ns_after(Duration::MAX), u64::MAX);
    }
}
