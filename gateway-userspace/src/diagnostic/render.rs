//! A report as text: for people, as JSON, as annotations of GitHub's, and in one line each.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use serde::Serialize;

use super::located::{Place, Sources};
use super::report::{Problem, Report, Severity};

/// Problems as a compiler shows them: the line, a caret, what was expected, what to do. Ends with an empty line after
/// each problem; [`summary`] is the last line.
pub fn human(report: &Report, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for problem in &report.problems {
        text.push_str(&renderer.render(&groups(problem, &report.sources)));
        text.push_str("\n\n");
    }
    text
}

/// The last line: `gateway.toml: 2 problem(s); the running configuration was not changed`.
pub fn summary(report: &Report, file: &Path) -> String {
    let file = file.display();
    match (report.count(Severity::Error), report.count(Severity::Warning)) {
        (0, 0) => format!("{file}: no problems"),
        (0, warnings) => format!("{file}: good, with {warnings} warning(s)"),
        (errors, 0) => format!("{file}: {errors} problem(s); the running configuration was not changed"),
        (errors, warnings) => format!(
            "{file}: {errors} problem(s), {warnings} warning(s); the running configuration was not changed"
        ),
    }
}

/// One line for each problem: `path:line:column: error[C001]: message`.
pub fn lines(report: &Report) -> String {
    report
        .problems
        .iter()
        .map(|problem| {
            let found = Position::of(problem.place.as_ref(), &report.sources);
            let at = found.map_or_else(String::new, |at| format!("{}:{}:{}: ", at.path, at.line, at.column));
            format!("{at}{}[{}]: {}\n", severity(problem), problem.code.0, problem.message)
        })
        .collect()
}

/// Workflow commands that GitHub shows beside the lines of a change.
pub fn github(report: &Report) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let escape_property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    report
        .problems
        .iter()
        .map(|problem| {
            let mut properties = format!("title={}", problem.code.0);
            if let Some(at) = Position::of(problem.place.as_ref(), &report.sources) {
                properties = format!(
                    "file={},line={},col={},{properties}",
                    escape_property(&at.path),
                    at.line,
                    at.column
                );
            }
            let help = problem.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
            format!(
                "::{} {properties}::{}\n",
                severity(problem),
                escape(&format!("{}{help}", problem.message))
            )
        })
        .collect()
}

/// The report as one JSON object.
pub fn json(report: &Report, file: &Path) -> String {
    let problems = report.problems.iter().map(|problem| ProblemView {
        code: problem.code.0,
        severity: severity(problem),
        message: &problem.message,
        at: Position::of(problem.place.as_ref(), &report.sources),
        label: &problem.label,
        related: problem
            .related
            .iter()
            .map(|(place, text)| Related { text, at: Position::of(Some(place), &report.sources) })
            .collect(),
        help: problem.help.as_deref(),
    });
    let view = ReportView {
        file: file.display().to_string(),
        ok: !report.has_errors(),
        errors: report.count(Severity::Error),
        warnings: report.count(Severity::Warning),
        problems: problems.collect(),
    };
    serde_json::to_string_pretty(&view).expect("texts and numbers are always JSON")
}

#[derive(Serialize)]
struct ReportView<'r> {
    file: String,
    ok: bool,
    errors: usize,
    warnings: usize,
    problems: Vec<ProblemView<'r>>,
}

#[derive(Serialize)]
struct ProblemView<'r> {
    code: &'static str,
    severity: &'static str,
    message: &'r str,
    #[serde(flatten)]
    at: Option<Position>,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'r str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<Related<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'r str>,
}

#[derive(Serialize)]
struct Related<'r> {
    text: &'r str,
    #[serde(flatten)]
    at: Option<Position>,
}

/// Line and column from 1, of the beginning and of the end.
#[derive(Serialize)]
struct Position {
    path: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl Position {
    fn of(place: Option<&Place>, sources: &Sources) -> Option<Position> {
        let place = place?;
        let (path, _) = sources.get(place.file)?;
        let (line, column) = sources.line_column(place);
        let end = Place { file: place.file, span: place.span.end..place.span.end };
        let (end_line, end_column) = sources.line_column(&end);
        Some(Position { path: path.display().to_string(), line, column, end_line, end_column })
    }
}

fn severity(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn groups<'p>(problem: &'p Problem, sources: &'p Sources) -> Vec<Group<'p>> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&*problem.message).id(problem.code.0));
    for (index, file) in files_of(problem).into_iter().enumerate() {
        let Some((path, text)) = sources.get(file) else { continue };
        let own = problem.place.iter().filter(|place| place.file == file && index == 0);
        let related = problem.related.iter().filter(|(place, _)| place.file == file);
        let own: Vec<_> = own.map(|place| (AnnotationKind::Primary, place, problem.label.as_str())).collect();
        let related = related.map(|(place, label)| (AnnotationKind::Context, place, label.as_str()));
        let annotations: Vec<_> = own.into_iter().chain(related).collect();
        // Only the lines from the first annotation to the last: the renderer looks at all that it is given.
        let lines = || annotations.iter().map(|(_, place, _)| sources.line_column(place).0);
        let first = lines().min().unwrap_or(1);
        let start = sources.line_start(file, first);
        let end = sources.line_start(file, lines().max().unwrap_or(first) + 1);
        let part = text[start..end].strip_suffix('\n').unwrap_or(&text[start..end]);
        let part: Cow<'_, str> = match sources.has_secrets(file) {
            true => sources.shown(file)[start..start + part.len()].to_owned().into(),
            false => part.into(),
        };
        let length = part.len();
        let annotations = annotations.iter().map(|(kind, place, label)| {
            let span = within(&place.span, text);
            let annotation = kind.span(span.start - start..(span.end - start).min(length));
            if label.is_empty() { annotation } else { annotation.label(*label) }
        });
        let snippet = Snippet::source(part).path(path.display().to_string()).line_start(first).fold(true);
        group = group.element(snippet.annotations(annotations));
    }
    let help = problem.help.as_deref().map(|help| Group::with_title(Level::HELP.secondary_title(help)));
    std::iter::once(group).chain(help).collect()
}

/// The files that a problem points into, its own first.
fn files_of(problem: &Problem) -> Vec<u32> {
    let mut files = Vec::new();
    for place in problem.place.iter().chain(problem.related.iter().map(|(place, _)| place)) {
        if !files.contains(&place.file) {
            files.push(place.file);
        }
    }
    files
}

/// The span within the text, on the borders of characters, and not over the end of its first line: a caret under a
/// table of fifty lines says nothing.
fn within(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |length| start + length);
    start..end.min(line_end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;
    use std::sync::Arc;

    fn report() -> Report {
        let mut report = Report::default();
        let file =
            report.sources.add("a.toml".into(), Arc::from("[limit.x]\nrate = \"é100/minute\"\nbrust = 20\n"));
        let other = report.sources.add("conf.d/b.toml".into(), Arc::from("[limit.x]\n"));
        report.push(
            Problem::error(Code("C001"), "[limit.x] has no key `brust`", Place { file, span: 32..37 })
                .help("a key with a similar name exists: `burst`"),
        );
        report.push(
            Problem::warning(Code("C006"), "defined twice", Place { file: other, span: 0..9 })
                .label("here again")
                .related(Place { file, span: 0..9 }, "it is defined here"),
        );
        report.push(Problem::unplaced(Code("C013"), "nothing to listen on"));
        report
    }

    #[test]
    fn people_see_the_line_the_caret_and_the_help() {
        let expected = "\
error[C001]: [limit.x] has no key `brust`
 --> a.toml:3:1
  |
3 | brust = 20
  | ^^^^^
  |
help: a key with a similar name exists: `burst`

warning[C006]: defined twice
 --> conf.d/b.toml:1:1
  |
1 | [limit.x]
  | ^^^^^^^^^ here again
  |
 ::: a.toml:1:1
  |
1 | [limit.x]
  | --------- it is defined here

error[C013]: nothing to listen on

";
        assert_eq!(human(&report(), false), expected);
        assert!(human(&report(), true).contains("\u{1b}["));
    }

    #[test]
    fn the_last_line_counts_and_says_that_nothing_was_changed() {
        assert_eq!(
            summary(&report(), Path::new("a.toml")),
            "a.toml: 2 problem(s), 1 warning(s); the running configuration was not changed"
        );
        assert_eq!(summary(&Report::default(), Path::new("a.toml")), "a.toml: no problems");
    }

    #[test]
    fn machines_get_positions() {
        assert_eq!(
            lines(&report()),
            "a.toml:3:1: error[C001]: [limit.x] has no key `brust`\n\
             conf.d/b.toml:1:1: warning[C006]: defined twice\n\
             error[C013]: nothing to listen on\n"
        );
        assert_eq!(
            github(&report()).lines().next(),
            Some(
                "::error file=a.toml,line=3,col=1,title=C001::[limit.x] has no key `brust`; \
                 a key with a similar name exists: `burst`"
            )
        );
        let json: serde_json::Value = serde_json::from_str(&json(&report(), Path::new("a.toml"))).unwrap();
        assert_eq!(json["errors"], 2);
        assert_eq!(json["problems"][0]["line"], 3);
        assert_eq!(json["problems"][0]["end_column"], 6);
        assert_eq!(json["problems"][1]["related"][0]["path"], "a.toml");
        assert_eq!(json["problems"][2].get("line"), None);
    }

    #[test]
    fn a_place_outside_the_text_or_within_a_character_is_no_panic() {
        let mut report = Report::default();
        let file = report.sources.add("a".into(), Arc::from("é\r\nü"));
        for start in 0..12 {
            for end in 0..12 {
                let place = Place { file, span: Range { start, end } };
                report.push(Problem::error(Code("C001"), "x", place.clone()).related(place, "y"));
            }
        }
        report.push(Problem::error(Code("C001"), "no such file", Place { file: 9, span: 0..1 }));
        assert!(human(&report, false).contains("no such file"));
        assert!(lines(&report).contains("a:1:1"));
    }
}
