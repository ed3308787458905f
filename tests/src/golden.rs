//! Tables of what several programs do with the same input, recorded from the real ones and committed.
//!
//! A line is `input | result | result … | why`. A run compares what it saw with the file, result by result. Where the
//! results of a line differ, `why` must say the reason; where they agree, it is `-`. With
//! `PORTCULLIS_RECORD=1` the file is written anew, reasons kept.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What was sent.
    pub input: String,
    /// What each program made of it, in the order of the table's columns.
    pub results: Vec<String>,
}

/// The inputs of `tests/tests/behaviour/golden/NAME`, in order.
pub fn inputs(name: &str) -> Vec<String> {
    read(name).into_iter().map(|(line, _)| line.input).collect()
}

/// Compares what was seen with the file; all differences at once.
pub fn check(name: &str, seen: &[Line]) {
    let known = read(name);
    if std::env::var_os("PORTCULLIS_RECORD").is_some() {
        let reasons: HashMap<String, String> =
            known.into_iter().map(|(line, why)| (line.input, why)).collect();
        return record(name, seen, &reasons);
    }
    let mut faults = Vec::new();
    for ((expected, why), found) in known.iter().zip(seen) {
        if expected != found {
            faults.push(format!(
                "{}\n  expected {:?}\n  found    {:?}",
                found.input, expected.results, found.results
            ));
        }
        let differ = found.results.windows(2).any(|pair| pair[0] != pair[1]);
        if differ == why.is_empty() {
            let what = if differ { "differs without a reason" } else { "has a reason and no difference" };
            faults.push(format!("{} {what}", found.input));
        }
    }
    assert_eq!(known.len(), seen.len(), "lines of {name}");
    assert!(faults.is_empty(), "{} of {} lines of {name}:\n{}", faults.len(), seen.len(), faults.join("\n"));
}

fn read(name: &str) -> Vec<(Line, String)> {
    let text = fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(parse).collect()
}

fn parse(line: &str) -> (Line, String) {
    let mut columns: Vec<String> = line.split(" | ").map(|column| column.trim().to_owned()).collect();
    let input = columns.remove(0);
    let why = columns.pop().filter(|why| why != "-").unwrap_or_default();
    (Line { input, results: columns }, why)
}

fn record(name: &str, seen: &[Line], reasons: &HashMap<String, String>) {
    let old = fs::read_to_string(path(name)).unwrap_or_default();
    let mut text: String =
        old.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for Line { input, results } in seen {
        let why = reasons.get(input).filter(|why| !why.is_empty()).map_or("-", String::as_str);
        text.push_str(&format!("{input} | {} | {why}\n", results.join(" | ")));
    }
    fs::write(path(name), text).expect("the table can be written");
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/golden").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_input_its_results_and_a_reason_if_there_is_one() {
        let line = |results: &[&str]| Line {
            input: "/a".into(),
            results: results.iter().map(|result| (*result).to_owned()).collect(),
        };
        assert_eq!(parse("/a | 400 | /a | stricter"), (line(&["400", "/a"]), "stricter".into()));
        assert_eq!(parse("/a | 400 | 400 | -"), (line(&["400", "400"]), String::new()));
    }
}
