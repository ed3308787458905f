//! Targets in turn.
//!
//! Each worker counts for itself, so no cache line is shared; workers begin at different targets. Within a worker the
//! split is exact to one request, over all workers to one request for each worker at worst. The turn of a target that
//! is down goes to the next one.

use std::cell::Cell;
use std::iter::Chain;
use std::ops::Range;

/// Indices of targets, each once.
pub type Order = Chain<Range<usize>, Range<usize>>;

/// One worker's turn.
#[derive(Debug)]
pub struct RoundRobin {
    next: Cell<usize>,
}

impl RoundRobin {
    /// Begins at a target that depends on the worker's number.
    pub fn new(worker: usize) -> RoundRobin {
        RoundRobin { next: Cell::new(worker) }
    }

    /// All `count` targets, beginning with the one whose turn it is; the next call begins with the one after it.
    pub fn order(&self, count: usize) -> Order {
        let first = self.next.get() % count.max(1);
        self.next.set(first + 1);
        (first..count).chain(0..first)
    }
}

#[cfg(test)]
mod tests {
    use super::RoundRobin;

    #[test]
    fn a_thousand_turns_split_exactly_and_workers_begin_apart() {
        let mut counts = [0; 4];
        for worker in 0..2 {
            let turns = RoundRobin::new(worker);
            for turn in 0..501 {
                let first = turns.order(2).next().expect("two targets");
                assert_eq!(first, (turn + worker) % 2);
                counts[worker * 2 + first] += 1;
            }
        }
        assert_eq!(counts, [251, 250, 250, 251]);
    }

    #[test]
    fn an_order_names_every_target_once() {
        let turns = RoundRobin::new(5);
        assert_eq!(turns.order(3).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(turns.order(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(turns.order(0).collect::<Vec<_>>(), Vec::<usize>::new());
    }
}
