//! What the kernel stage must not cost more than: `bench-packet --check`.

use crate::{Subject, table::Report};

/// What a row is held against.
enum Against {
    /// The cost of another subject in the same case, that many times.
    Times(f64, Subject),
    /// The cost of the same subject in another case, and that many nanoseconds.
    Above(f64, &'static str),
}

/// A row, and the most that it may cost.
struct Bar {
    case: &'static str,
    subject: Subject,
    most: Against,
}

const fn bar(case: &'static str, subject: Subject, most: Against) -> Bar {
    Bar { case, subject, most }
}

use Against::{Above, Times};
use Subject::{Budget, Drop, Filter, XdpFilter};

const BARS: [Bar; 10] = [
    bar("1 entries, one clean source", Filter, Times(0.8, XdpFilter)),
    bar("1 entries, 4096 clean sources", Filter, Times(0.8, XdpFilter)),
    bar("1 entries, 1M clean sources", Filter, Times(0.8, XdpFilter)),
    bar("1000 entries, 4096 clean sources", Budget, Times(1.0, XdpFilter)),
    bar("100000 entries, 4096 clean sources", Budget, Times(0.8, XdpFilter)),
    bar("100000 entries, 1M clean sources", Budget, Times(0.5, XdpFilter)),
    bar("1000000 entries, 4096 clean sources", Filter, Above(20.0, "1 entries, 4096 clean sources")),
    bar("1000000 entries, 4096 clean sources", Budget, Above(20.0, "1 entries, 4096 clean sources")),
    bar("1000 entries, listed sources", Filter, Times(6.0, Drop)),
    bar("1000 entries, listed sources", Budget, Times(6.0, Drop)),
];

/// The rows that cost more than they may, and those that were not measured, each in one line.
pub fn missed(report: &Report) -> Vec<String> {
    BARS.iter().filter_map(|bar| bar.missed(report)).collect()
}

impl Bar {
    fn missed(&self, report: &Report) -> Option<String> {
        let Self { case, subject, most } = self;
        let name = subject.name();
        let (other, most, how) = match *most {
            Times(times, peer) => {
                let ns = report.best(case, peer.name());
                (ns, ns.map(|ns| ns * times), format!("{times} × {}", peer.name()))
            }
            Above(ns, of) => {
                let other = report.best(of, name);
                (other, other.map(|other| other + ns), format!("{ns} ns above {of}"))
            }
        };
        let (Some(found), Some(most), Some(other)) = (report.best(case, name), most, other) else {
            return Some(format!("{case}, {name}: not measured beside {how}"));
        };
        (found > most).then(|| {
            format!("{case}, {name}: {found:.1} ns, may be {most:.1} ({how}, which is {other:.1} ns)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "1 entries, 4096 clean sources";
    const LONG: &str = "1000000 entries, 4096 clean sources";

    /// All rows that there are bars for, at a cost, but for those of the longest list.
    fn report(ours: f64, longest: f64) -> Report {
        let mut report = Report::new();
        for case in BARS.iter().map(|bar| bar.case).chain([SHORT]) {
            let ours = if case == LONG { longest } else { ours };
            for (subject, ns) in [(Drop, 10.0), (XdpFilter, 50.0), (Filter, ours), (Budget, ours)] {
                report.add(case, subject.name(), ns, ns, &[]);
            }
        }
        report
    }

    #[test]
    fn a_row_that_costs_too_much_is_named_and_so_is_one_that_is_not_there() {
        assert_eq!(missed(&report(25.0, 45.0)), [""; 0]);
        let slow = missed(&report(45.0, 45.0));
        assert_eq!(slow.len(), 5, "{slow:?}");
        assert!(
            slow[0].starts_with("1 entries, one clean source, portcullis, no budget: 45.0 ns, may be 40.0")
        );
        assert_eq!(missed(&Report::new()).len(), BARS.len());
    }

    #[test]
    fn growth_is_held_against_the_short_list() {
        let slow = missed(&report(25.0, 45.5));
        assert_eq!(slow.len(), 2, "{slow:?}");
        assert!(slow[0].contains("20 ns above 1 entries, 4096 clean sources, which is 25.0 ns"));
    }
}
