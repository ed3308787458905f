//! A list of problems found in one run.

use super::located::{Place, Sources};

/// A stable identifier of a kind of problem, such as `C014`; `portcullis explain C014` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub &'static str);

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// One problem.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// What was found, in one line.
    pub message: String,
    /// Where; none when the problem has no place in a file (a missing file, say).
    pub place: Option<Place>,
    /// Written under the caret: what was expected.
    pub label: String,
    /// Other places that matter, with what to say about each.
    pub related: Vec<(Place, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn error(code: Code, message: impl Into<String>, place: Place) -> Problem {
        Problem {
            code,
            severity: Severity::Error,
            message: message.into(),
            place: Some(place),
            label: String::new(),
            related: Vec::new(),
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, message: impl Into<String>, place: Place) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(code, message, place) }
    }

    /// An error without a place.
    pub fn unplaced(code: Code, message: impl Into<String>) -> Problem {
        Problem { place: None, ..Problem::error(code, message, Place::default()) }
    }

    /// Sets what stands under the caret.
    pub fn label(mut self, label: impl Into<String>) -> Problem {
        self.label = label.into();
        self
    }

    /// Adds another place.
    pub fn related(mut self, place: Place, text: impl Into<String>) -> Problem {
        self.related.push((place, text.into()));
        self
    }

    /// Sets what to do.
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// All problems of one run, with the files they point into.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Files that were read.
    pub sources: Sources,
    /// Problems in the order in which they were found.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Whether there is an error among the problems.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// How many problems are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }
}
