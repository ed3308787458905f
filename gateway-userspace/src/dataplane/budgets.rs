//! From packets per second to the nanoseconds of the kernel program.

use gateway_common::settings::Settings;

use super::Budgets;

/// The least depth of a budget. The kernel program's clock stands still for up to a tick (10 ms at 100 Hz);
/// a shallower budget would refuse packets of a source that keeps its rate.
const BURST_NS_MIN: u64 = 20_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Writes the budgets into the settings.
pub fn apply(budgets: &Budgets, settings: &mut Settings) {
    (settings.packet_cost_ns, settings.packet_burst_ns) =
        cost_and_burst_ns(budgets.packets_per_second, budgets.packet_burst);
    (settings.syn_cost_ns, settings.syn_burst_ns) =
        cost_and_burst_ns(budgets.syns_per_second, budgets.syn_burst);
}

/// Cost of one packet and depth of the budget. A rate of 0 is no budget: cost 0. A cost is a whole number
/// of nanoseconds, so a rate above some ten million per second is rounded up noticeably.
fn cost_and_burst_ns(per_second: u64, burst: u64) -> (u64, u64) {
    if per_second == 0 {
        return (0, 0);
    }
    let cost_ns = (SECOND_NS / per_second).max(1);
    (cost_ns, cost_ns.saturating_mul(burst.max(1)).clamp(BURST_NS_MIN.max(cost_ns), 1 << 62))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_zero_is_no_budget() {
        assert_eq!(cost_and_burst_ns(0, 500), (0, 0));
    }

    #[test]
    fn the_burst_is_that_many_packets_but_never_less_than_a_tick() {
        assert_eq!(cost_and_burst_ns(1_000, 100), (1_000_000, 100_000_000));
        assert_eq!(cost_and_burst_ns(50_000, 10), (20_000, BURST_NS_MIN));
        // One packet every two seconds: a single one must fit.
        assert_eq!(cost_and_burst_ns(1, 0), (SECOND_NS, SECOND_NS));
    }

    #[test]
    fn absurd_numbers_neither_overflow_nor_disable() {
        assert_eq!(cost_and_burst_ns(u64::MAX, u64::MAX).0, 1);
        assert_eq!(cost_and_burst_ns(1, u64::MAX), (SECOND_NS, 1 << 62));
    }
}
