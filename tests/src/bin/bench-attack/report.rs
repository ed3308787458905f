//! From samples to a table and to JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tests::figures::{best, median, paired_ratio};

use crate::Sample;
use crate::defence::Subject;
use crate::refusals::Refusals;

/// What one defence did; samples of one round were taken one right after the other.
pub struct Series {
    /// Which.
    pub subject: Subject,
    ns: Vec<f64>,
    rate: Vec<f64>,
    busy: Vec<f64>,
}

impl Series {
    /// Without samples as yet.
    pub fn new(subject: Subject) -> Series {
        Series { subject, ns: Vec::new(), rate: Vec::new(), busy: Vec::new() }
    }

    /// Adds a round.
    pub fn push(&mut self, sample: Sample) {
        self.ns.push(sample.ns);
        self.rate.push(sample.rate);
        self.busy.push(sample.busy);
    }
}

/// Everything that was measured.
pub struct Report {
    /// On what.
    pub machine: Value,
    /// Defences against the flood.
    pub packets: Vec<Series>,
    /// Servers that refuse.
    pub requests: Vec<Refusals>,
    /// Rows that are left out.
    pub missing: Vec<&'static str>,
    /// Length of one sample.
    pub sample: Duration,
}

/// A limit that the project has set for itself.
pub struct Bar {
    what: &'static str,
    measured: f64,
    most: f64,
}

impl Bar {
    /// Whether it is kept to.
    pub fn is_met(&self) -> bool {
        self.measured <= self.most
    }
}

impl Report {
    /// How the gateway stands to its own limits: medians of ratios of the same round.
    pub fn bars(&self) -> Vec<Bar> {
        let ratio = |peer| Some(paired_ratio(self.of(Subject::Native)?, self.of(peer)?));
        [
            ("native XDP over `return XDP_DROP`", ratio(Subject::Floor), 2.0),
            ("native XDP over no defence", ratio(Subject::Nothing), 0.15),
        ]
        .into_iter()
        .filter_map(|(what, measured, most)| Some(Bar { what, measured: measured?, most }))
        .collect()
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<38} {:>9} {:>9} {:>9} {:>7}   ratio, paired in time: to no defence, to a bare drop\n",
            "a packet of the flood", "best ns", "median", "Mpps", "busy"
        );
        for Series { subject, ns, rate, busy } in &self.packets {
            let ratio = |peer| self.of(peer).map_or(f64::NAN, |peer| paired_ratio(ns, peer));
            let _ = writeln!(
                text,
                "{:<38} {:>9.0} {:>9.0} {:>9.2} {:>6.0}%   {:.3}, {:.2}",
                subject.name(),
                best(ns),
                median(ns),
                median(rate) / 1e6,
                median(busy) * 100.0,
                ratio(Subject::Nothing),
                ratio(Subject::Floor)
            );
        }
        let _ = writeln!(
            text,
            "\n{:<38} {:>9} {:>9}   as many dropped packets (native XDP)",
            "a refused request", "best us", "median"
        );
        for Refusals { server, us } in &self.requests {
            let packets = self.packets_of(us);
            let _ = writeln!(text, "{server:<38} {:>9.1} {:>9.1}   {packets:.0}", best(us), median(us));
        }
        text.push('\n');
        for bar in self.bars() {
            let verdict = if bar.is_met() { "within" } else { "OVER" };
            let _ = writeln!(text, "{verdict:<6} {}: {:.2}, at most {}", bar.what, bar.measured, bar.most);
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let packets = self.packets.iter().map(|Series { subject, ns, rate, busy }| {
            json!({
                "case": "a packet of the flood", "subject": subject.name(), "unit": "ns/packet",
                "best": round(best(ns)), "median": round(median(ns)), "packets_per_s": median(rate).round(),
                "busy": round(median(busy)),
                "ratio": {
                    "no defence": self.of(Subject::Nothing).map(|peer| round(paired_ratio(ns, peer))),
                    "return XDP_DROP": self.of(Subject::Floor).map(|peer| round(paired_ratio(ns, peer))),
                },
            })
        });
        let requests = self.requests.iter().map(|Refusals { server, us }| {
            json!({
                "case": "a refused request", "subject": server, "unit": "CPU us/request",
                "best": round(best(us)), "median": round(median(us)),
                "dropped_packets": self.packets_of(us).round(),
            })
        });
        let bars = self.bars().into_iter().map(|bar| {
            json!({ "what": bar.what, "measured": round(bar.measured), "most": bar.most, "met": bar.is_met() })
        });
        json!({
            "bench": "attack", "machine": self.machine, "sample_s": self.sample.as_secs_f64(),
            "rows": packets.chain(requests).collect::<Vec<_>>(),
            "bars": bars.collect::<Vec<_>>(), "not_measured": self.missing,
        })
    }

    fn of(&self, subject: Subject) -> Option<&Vec<f64>> {
        self.packets.iter().find(|series| series.subject == subject).map(|series| &series.ns)
    }

    /// How many packets the kernel stage drops for the cost of one request.
    fn packets_of(&self, us: &[f64]) -> f64 {
        self.of(Subject::Native).map_or(f64::NAN, |ns| median(us) * 1e3 / median(ns))
    }
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
