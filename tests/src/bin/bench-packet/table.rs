//! The result: a table for people, JSON for the records.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use tests::figures::machine;

/// All rows.
pub struct Report {
    rows: Vec<Row>,
    /// What is not the cost of a packet.
    rates: Vec<Rate>,
}

/// Entries per second.
struct Rate {
    case: String,
    subject: &'static str,
    per_second: f64,
}

struct Row {
    case: String,
    subject: &'static str,
    best: f64,
    median: f64,
    ratios: Vec<(String, f64)>,
}

impl Report {
    pub fn new() -> Self {
        Self { rows: Vec::new(), rates: Vec::new() }
    }

    /// Adds a row: nanoseconds per packet, and the best ones of the peers in the same case.
    pub fn add(&mut self, case: &str, subject: &'static str, best: f64, median: f64, peers: &[(&str, f64)]) {
        let ratios = peers
            .iter()
            .filter(|(peer, _)| *peer != subject)
            .map(|(peer, ns)| ((*peer).to_owned(), best / ns))
            .collect();
        self.rows.push(Row { case: case.to_owned(), subject, best, median, ratios });
    }

    /// Adds a row of another table: entries per second.
    pub fn add_rate(&mut self, case: &str, subject: &'static str, per_second: f64) {
        self.rates.push(Rate { case: case.to_owned(), subject, per_second });
    }

    /// Nanoseconds of a row.
    pub fn best(&self, case: &str, subject: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.case == case && row.subject == subject).map(|row| row.best)
    }

    /// Prints the table.
    pub fn print(&self) {
        if !self.rows.is_empty() {
            println!("{:<38} {:<24} {:>8} {:>8}  ratio of best", "case", "subject", "best ns", "median");
        }
        for row in &self.rows {
            let ratios: Vec<String> =
                row.ratios.iter().map(|(peer, ratio)| format!("{ratio:.2} × {peer}")).collect();
            let (case, subject) = (&row.case, row.subject);
            println!("{case:<38} {subject:<24} {:>8.1} {:>8.1}  {}", row.best, row.median, ratios.join(", "));
        }
        if !self.rates.is_empty() {
            println!("\n{:<38} {:<24} {:>10}", "case", "subject", "entries/s");
        }
        for Rate { case, subject, per_second } in &self.rates {
            println!("{case:<38} {subject:<24} {per_second:>10.0}");
        }
    }

    /// Writes the rows and what they were measured on.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let ratio: Map<String, Value> =
                    row.ratios.iter().map(|(peer, ratio)| (peer.clone(), json!(round(*ratio)))).collect();
                json!({
                    "case": row.case,
                    "subject": row.subject,
                    "unit": "ns/packet",
                    "median": round(row.median),
                    "best": round(row.best),
                    "ratio": ratio,
                })
            })
            .chain(self.rates.iter().map(|Rate { case, subject, per_second }| {
                json!({ "case": case, "subject": subject, "unit": "entries/s", "best": per_second.round() })
            }))
            .collect();
        let report = json!({ "bench": "packet", "machine": machine(), "rows": rows });
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
