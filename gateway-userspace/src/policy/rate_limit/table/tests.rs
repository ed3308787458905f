//! Counting exactly while threads race, and evicting the right key.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Bucket, Outcome, Rate, SLOTS, Table};

const NOW_NS: u64 = 5_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

fn rate(burst: u64) -> Rate {
    Rate::new(1, Duration::from_secs(1), burst)
}

/// A key in bucket `bucket`.
fn key(bucket: u64, number: u64) -> u128 {
    u128::from(bucket) << 64 | u128::from(number + 1)
}

fn passes(table: &Table, key: u128, now_ns: u64, rate: Rate) -> bool {
    table.take(key, now_ns, rate).wait_ns.is_none()
}

#[test]
fn a_bucket_is_four_cache_lines() {
    assert_eq!(size_of::<Bucket>(), 256);
    assert_eq!(align_of::<Bucket>(), 128);
}

#[test]
fn keys_are_counted_apart() {
    let table = Table::new(4);
    for number in 0..40 {
        for _ in 0..3 {
            assert!(passes(&table, key(number, number), NOW_NS, rate(2)));
        }
        let refused = Outcome { tat_ns: NOW_NS + 3 * SECOND_NS, wait_ns: Some(SECOND_NS) };
        assert_eq!(table.take(key(number, number), NOW_NS, rate(2)), refused);
    }
    assert_eq!(table.evicted(), 0);
}

#[test]
fn a_look_charges_nothing_and_a_refund_gives_back() {
    let table = Table::new(1);
    assert_eq!(table.peek(key(0, 1), NOW_NS, rate(0)), Outcome { tat_ns: 0, wait_ns: None });
    assert!(passes(&table, key(0, 1), NOW_NS, rate(0)));
    assert_eq!(table.peek(key(0, 1), NOW_NS, rate(0)).wait_ns, Some(SECOND_NS));
    table.refund(key(0, 1), rate(0));
    table.refund(key(0, 2), rate(0));
    assert!(passes(&table, key(0, 1), NOW_NS, rate(0)));
    assert!(!passes(&table, key(0, 1), NOW_NS, rate(0)));
}

#[test]
fn a_full_bucket_evicts_the_oldest_and_refuses_no_stranger() {
    let table = Table::new(1);
    let slots = u64::try_from(SLOTS).expect("small");
    for number in 0..slots {
        assert!(passes(&table, key(0, number), NOW_NS + number * 8, rate(0)));
    }
    assert_eq!(table.evicted(), 0);
    let later_ns = NOW_NS + 1000;
    assert!(passes(&table, key(0, 100), later_ns, rate(0)), "a stranger passes");
    assert_eq!(table.evicted(), 1);
    for number in 1..slots {
        assert!(table.peek(key(0, number), later_ns, rate(0)).wait_ns.is_some(), "{number} is still known");
    }
    assert_eq!(table.peek(key(0, 0), later_ns, rate(0)).wait_ns, None, "the oldest is forgotten");
}

#[test]
fn an_offender_outlives_a_flood_of_strangers() {
    let table = Table::new(1);
    let offender = key(0, 1 << 40);
    while passes(&table, offender, NOW_NS, rate(20)) {}
    for number in 0..100_000 {
        assert!(passes(&table, key(0, number), NOW_NS + number / 10, rate(20)));
    }
    assert!(!passes(&table, offender, NOW_NS + 10_000, rate(20)));
}

#[test]
fn keys_that_have_refilled_give_their_slot_without_loss() {
    let table = Table::new(1);
    for number in 0..1000 {
        assert!(passes(&table, key(0, number), NOW_NS + number * SECOND_NS, rate(0)));
    }
    assert_eq!(table.evicted(), 0);
}

#[test]
fn exactly_as_many_pass_as_the_rate_allows_whatever_the_threads_do() {
    const THREADS: usize = 8;
    const KEYS: usize = 25;
    for round in 0..20 {
        // Five buckets of ten slots, so that the keys crowd but none is evicted.
        let table = Table::new(8);
        let passed: [AtomicUsize; KEYS] = std::array::from_fn(|_| AtomicUsize::new(0));
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (table, passed, start) = (&table, &passed, &start);
                scope.spawn(move || {
                    start.wait();
                    for i in 0..KEYS * 60 {
                        let number = (i + thread * round) % KEYS;
                        let number_64 = u64::try_from(number).expect("small");
                        if passes(table, key(number_64 % 5, number_64), NOW_NS, rate(99)) {
                            passed[number].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        for (number, passed) in passed.iter().enumerate() {
            assert_eq!(passed.load(Ordering::Relaxed), 100, "key {number}");
        }
        assert_eq!(table.evicted(), 0);
    }
}

#[test]
fn an_offender_is_counted_exactly_while_strangers_fight_over_the_other_slots() {
    const THREADS: u64 = 4;
    let table = Table::new(1);
    let offender = key(0, 1 << 40);
    // A head start makes the offender the youngest; then only its own requests may change its count.
    for _ in 0..10 {
        assert!(passes(&table, offender, NOW_NS, rate(999)));
    }
    let passed = AtomicUsize::new(10);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (table, passed) = (&table, &passed);
            scope.spawn(move || {
                for i in 0..20_000 {
                    assert!(passes(table, key(0, thread << 20 | i), NOW_NS, rate(999)));
                    if passes(table, offender, NOW_NS, rate(999)) {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.load(Ordering::Relaxed), 1000);
}

#[test]
fn another_rate_keeps_keys_and_what_they_spent() {
    let table = Table::new(2);
    for _ in 0..3 {
        assert!(passes(&table, key(1, 7), NOW_NS, rate(9)));
    }
    let slower = Rate::new(1, Duration::from_secs(60), 9);
    let carried = table.carried_over(NOW_NS, rate(9), slower);
    let left = (0..20).filter(|_| passes(&carried, key(1, 7), NOW_NS, slower)).count();
    assert_eq!(left, 7);
    assert_eq!((0..20).filter(|_| passes(&carried, key(1, 8), NOW_NS, slower)).count(), 10);
}
