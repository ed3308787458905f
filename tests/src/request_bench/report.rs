//! From samples to a table and to JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::case::Case;
use super::subject::Subject;
use crate::figures::{best, median, paired_ratio};

/// What one subject did in one case. `samples[round]` of all subjects were taken one right after the other.
#[derive(Debug)]
pub struct Series {
    /// Who.
    pub subject: Subject,
    /// What.
    pub case: Case,
    /// Processor microseconds per request, one for each round.
    pub cost: Vec<f64>,
    /// Requests per second, one for each round.
    pub rate: Vec<f64>,
    /// Resident memory after the start, before any request, in MiB.
    pub memory_mib: f64,
}

/// One line of the table.
#[derive(Debug, PartialEq)]
pub struct Row {
    case: &'static str,
    subject: &'static str,
    unit: &'static str,
    median: f64,
    best: f64,
    /// Median over the rounds of this subject's figure over the peer's.
    ratio: Vec<(&'static str, f64)>,
}

/// A limit that the project has set for itself.
#[derive(Debug, PartialEq)]
pub struct Bar {
    what: &'static str,
    measured: f64,
    most: f64,
}

const COST: &str = "CPU us/request";
const RATE: &str = "requests/s";
const MEMORY: &str = "MiB resident, idle";

/// All rows, in the order of the cases.
pub fn rows(all: &[Series]) -> Vec<Row> {
    let mut rows = Vec::new();
    for series in all {
        let peers: Vec<&Series> =
            all.iter().filter(|peer| peer.case == series.case && peer.subject != series.subject).collect();
        let row = |unit, own: &[f64], best, of: fn(&Series) -> &[f64]| Row {
            case: series.case.name(),
            subject: series.subject.name(),
            unit,
            median: median(own),
            best,
            ratio: peers.iter().map(|peer| (peer.subject.name(), paired_ratio(own, of(peer)))).collect(),
        };
        let most = series.rate.iter().copied().fold(0.0, f64::max);
        let memory = std::slice::from_ref(&series.memory_mib);
        rows.push(row(COST, &series.cost, best(&series.cost), |peer| &peer.cost));
        rows.push(row(RATE, &series.rate, most, |peer| &peer.rate));
        rows.push(row(MEMORY, memory, series.memory_mib, |peer| std::slice::from_ref(&peer.memory_mib)));
    }
    rows.sort_by_key(|row| Case::ALL.iter().position(|case| case.name() == row.case));
    rows
}

/// How the gateway stands to its own limits; only those that were measured.
pub fn bars(rows: &[Row]) -> Vec<Bar> {
    let find = |case: Case, unit: &str| {
        let own = Subject::Portcullis.name();
        rows.iter().find(move |row| row.case == case.name() && row.unit == unit && row.subject == own)
    };
    let ratio = |row: &Row, peer: Subject| {
        row.ratio.iter().find(|(name, _)| *name == peer.name()).map(|found| found.1)
    };
    let plain = find(Case::Plain, COST).and_then(|row| ratio(row, Subject::Nginx));
    let policies = find(Case::Policies, COST).and_then(|row| ratio(row, Subject::Haproxy));
    let memory = find(Case::Plain, MEMORY).map(|row| row.median);
    let limits = [
        ("plain, CPU per request over nginx", plain, 1.25),
        ("routes + JWT + limit, CPU per request over haproxy", policies, 0.5),
        ("idle memory in MiB", memory, 30.0),
    ];
    limits
        .into_iter()
        .filter_map(|(what, measured, most)| Some(Bar { what, measured: measured?, most }))
        .collect()
}

/// For people.
pub fn table(rows: &[Row], bars: &[Bar]) -> String {
    let mut text = format!(
        "{:<30} {:<11} {:<19} {:>10} {:>10}   ratio, paired in time\n",
        "case", "subject", "unit", "median", "best"
    );
    for row in rows {
        let ratio: Vec<String> =
            row.ratio.iter().map(|(peer, ratio)| format!("{ratio:.2} x {peer}")).collect();
        let (median, best) = (figure(row.median), figure(row.best));
        writeln!(
            text,
            "{:<30} {:<11} {:<19} {median:>10} {best:>10}   {}",
            row.case,
            row.subject,
            row.unit,
            ratio.join(", ")
        )
        .expect("writing to a String");
    }
    for Bar { what, measured, most } in bars {
        let verdict = if measured <= most { "within" } else { "OVER" };
        writeln!(text, "{verdict:<6} {what}: {measured:.2}, at most {most}").expect("writing to a String");
    }
    text
}

/// For programs: `{"bench", "machine", "rows"}`, and who was not there.
pub fn json(rows: &[Row], machine: Value, not_measured: &[Subject]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let ratio: Map<String, Value> =
                row.ratio.iter().map(|(peer, ratio)| ((*peer).to_owned(), json!(ratio))).collect();
            json!({
                "case": row.case, "subject": row.subject, "unit": row.unit,
                "median": row.median, "best": row.best, "ratio": ratio,
            })
        })
        .collect();
    let missing: Vec<&str> = not_measured.iter().map(|subject| subject.name()).collect();
    json!({ "bench": "request", "machine": machine, "rows": rows, "not_measured": missing })
}

fn figure(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(subject: Subject, cost: &[f64]) -> Series {
        let rate = cost.iter().map(|cost| 1e6 / cost).collect();
        Series { subject, case: Case::Plain, cost: cost.to_vec(), rate, memory_mib: 10.0 }
    }

    #[test]
    fn ratios_are_paired_round_by_round() {
        let all =
            [series(Subject::Portcullis, &[10.0, 30.0, 20.0]), series(Subject::Nginx, &[20.0, 60.0, 40.0])];
        let rows = rows(&all);
        assert_eq!(rows[0].ratio, [("nginx", 0.5)]);
        assert_eq!((rows[0].median, rows[0].best), (20.0, 10.0));
        assert_eq!((rows[1].unit, rows[1].best), (RATE, 100_000.0));
    }

    #[test]
    fn bars_are_shown_only_for_what_was_measured() {
        let alone = rows(&[series(Subject::Nginx, &[20.0])]);
        assert_eq!(bars(&alone), []);
        let both = rows(&[series(Subject::Portcullis, &[30.0]), series(Subject::Nginx, &[20.0])]);
        let bars = bars(&both);
        assert_eq!(bars.len(), 2);
        assert!(table(&both, &bars).contains("OVER   plain, CPU per request over nginx: 1.50, at most 1.25"));
    }
}
