//! The tests of the tier `verdict`, run on this machine's kernel, each told as one line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tests::boot::{Line, programs};
use tests::privilege::{ON_KERNEL, REQUIRE_KERNEL};

use crate::report::Report;

/// Runs them all. A test that skips is a failure here: nothing is missing.
pub fn run(report: &mut Report) {
    let mut child = Command::new(programs::VERDICT)
        .env(REQUIRE_KERNEL, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tests of the tier `verdict` start");
    let output = child.stdout.take().expect("its output was piped");
    let mut failed = Vec::new();
    let mut said: HashMap<String, String> = HashMap::new();
    let mut skipped: HashMap<String, String> = HashMap::new();
    let mut speaking = None;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line.expect("its output can be read")).into_owned();
        if let Some((name, reason)) =
            line.strip_prefix(ON_KERNEL).and_then(|rest| rest.trim().split_once(": "))
        {
            skipped.insert(name.to_owned(), reason.to_owned());
        }
        if let Some((name, outcome)) = outcome(&line) {
            match (outcome, skipped.remove(name)) {
                ("ok", Some(reason)) => report.send(&Line::Failed(name.into(), format!("skipped: {reason}"))),
                ("ok", None) => report.send(&Line::Passed(name.into())),
                _ => failed.push(name.to_owned()),
            }
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            speaking = Some(name.to_owned());
        } else if let Some(name) = &speaking {
            let text = said.entry(name.clone()).or_default();
            text.push_str(&line);
            text.push('\n');
        }
    }
    // How it ended says no more than its lines do; a test without a line is missed on the other side.
    let _ = child.wait();
    for name in failed {
        let text = said.remove(&name).unwrap_or_default();
        report.send(&Line::Failed(name, text.trim().to_owned()));
    }
}

/// `test NAME ... ok`
fn outcome(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.split_once(" ... ")
}
