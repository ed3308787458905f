//! From packets per second to the units of the kernel program.

use gateway_common::{
    budget::{BURST_MAX, CLASS_LINES, Class, ClassBudget},
    settings::Settings,
};

use super::Budgets;

/// The least depth of a budget. The kernel program's clock stands still for up to a tick (10 ms at 100 Hz);
/// a shallower budget would refuse packets of a source that keeps its rate.
const BURST_NS_MIN: u64 = 20_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Fewest units of a cost, where a burst of that many packets fits: a rate is at most that part of itself higher
/// than it was asked for, 3 %. More units would make the round of the cells' clock shorter.
const COST_UNITS_MIN: u64 = 32;

/// Writes the budgets into the settings; keys stay.
pub fn apply(budgets: &Budgets, settings: &mut Settings) {
    let packets = cost_and_burst_ns(budgets.packets_per_second, budgets.packet_burst);
    let syns = cost_and_burst_ns(budgets.syns_per_second, budgets.syn_burst);
    for (class, (cost_ns, burst_ns), first_line) in [
        (Class::Packet4, packets, 0),
        (Class::Packet6, packets, 0),
        (Class::Syn4, syns, CLASS_LINES),
        (Class::Syn6, syns, CLASS_LINES),
        (Class::Flow, packets, 0),
    ] {
        let class = &mut settings.classes[class as usize];
        *class = ClassBudget { key: class.key, first_line, ..in_units(cost_ns, burst_ns) };
    }
}

/// The coarsest units that are fine enough, so that a cell stays valid for long.
fn in_units(cost_ns: u64, burst_ns: u64) -> ClassBudget {
    if cost_ns == 0 {
        return ClassBudget::default();
    }
    let by_cost = (cost_ns / COST_UNITS_MIN).checked_ilog2().unwrap_or(0);
    // However large a burst is, a packet costs at least one unit.
    let by_burst = (burst_ns / u64::from(BURST_MAX)).checked_ilog2().map_or(0, |bits| bits + 1);
    let shift = by_cost.max(by_burst).min(cost_ns.ilog2()).min(63);
    let cost = u32::try_from(cost_ns >> shift).unwrap_or(BURST_MAX).min(BURST_MAX);
    // As many packets as before the cost was rounded.
    let burst = (u128::from(burst_ns) * u128::from(cost)).div_ceil(cost_ns.into());
    let burst = u32::try_from(burst).unwrap_or(BURST_MAX).clamp(cost, BURST_MAX);
    ClassBudget { key: [0, 0], cost, burst, shift, first_line: 0 }
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
        for (cost_ns, burst_ns) in [(1, 1), (1, 1 << 62), (SECOND_NS, 1 << 62), (SECOND_NS, SECOND_NS)] {
            let class = in_units(cost_ns, burst_ns);
            assert!(class.cost >= 1 && class.cost <= class.burst && class.burst <= BURST_MAX, "{class:?}");
        }
    }

    #[test]
    fn units_keep_the_rate_nearly_and_the_burst_exactly() {
        for per_second in [1, 3, 100, 999, 10_000, 81_274, 1_000_000, 10_000_000] {
            for burst in [1, 2, 100, 50_000, 1_000_000] {
                let (cost_ns, burst_ns) = cost_and_burst_ns(per_second, burst);
                let class = in_units(cost_ns, burst_ns);
                let what = format!("{per_second} per second, {burst} at once: {class:?}");
                let packets = burst_ns / cost_ns;
                assert_eq!(u64::from(class.burst) / u64::from(class.cost), packets, "{what}");
                // Never dearer, and at most 3 % cheaper.
                let unit_ns = 1_u64 << class.shift;
                let least_ns = cost_ns - cost_ns * 33 / 1_000;
                assert!((least_ns..=cost_ns).contains(&(u64::from(class.cost) * unit_ns)), "{what}");
                // A cell is valid far longer than a burst lasts.
                assert!(u64::from(class.burst) * 64 <= 1 << 32, "{what}");
            }
        }
    }

    #[test]
    fn a_flow_has_the_budget_of_packets_and_keys_stay() {
        let mut settings = Settings::default();
        settings.classes[Class::Flow as usize].key = [1, 2];
        let budgets = Budgets { packets_per_second: 500, packet_burst: 500, ..Budgets::default() };
        apply(&budgets, &mut settings);
        let of = |class: Class| settings.classes[class as usize];
        assert_eq!(of(Class::Flow), ClassBudget { key: [1, 2], ..of(Class::Packet4) });
        assert_eq!(of(Class::Packet4), of(Class::Packet6));
        assert_eq!(of(Class::Syn4).cost, 0);
    }

    #[test]
    fn classes_that_count_in_other_units_have_other_lines() {
        let mut settings = Settings::default();
        let budgets =
            Budgets { packets_per_second: 50_000, packet_burst: 50_000, syns_per_second: 7, syn_burst: 9 };
        apply(&budgets, &mut settings);
        for one in settings.classes {
            for other in settings.classes.iter().filter(|other| other.first_line == one.first_line) {
                assert_eq!((one.shift, one.burst), (other.shift, other.burst));
            }
            assert!(one.first_line + CLASS_LINES <= gateway_common::budget::LINES);
        }
    }
}
