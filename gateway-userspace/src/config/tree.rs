//! The text of a file as a tree of values, each with its place.
//!
//! Built from the recoverable parse of the `toml` crate, which goes on after an error: what could be read is decoded
//! and checked in the same run as the syntax. A value at which a syntax error was reported is [`Value::Broken`] and is
//! not complained about again. Depth is limited by the parser (80 levels).

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Located, Place, Problem, Report};

use super::{codes, secrecy};

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it was written; of a table, its header.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// The kinds of values.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string.
    Text {
        /// Its content, variables replaced.
        text: String,
        /// Whether there were variables in it.
        substituted: bool,
    },
    /// A whole number, as decimal text; `None` when it does not fit 64 bits.
    Integer(Option<i64>),
    /// Another number.
    Float,
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time.
    Datetime,
    /// An array.
    List(Vec<Node>),
    /// A table, in the order of the file.
    Table(Vec<Entry>),
    /// A value with a syntax error in it, already reported.
    Broken,
}

/// One key of a table.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: Located<String>,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// What kind of value it is, with its article.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Text { .. } => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float => "a number with a fraction",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
            Value::Broken => "something unreadable",
        }
    }

    /// Whether this is a string in which a variable was replaced by nothing. Such a value counts as not written, so
    /// that `audience = "${AUDIENCE:-}"` is an optional setting.
    pub fn is_blank(&self) -> bool {
        matches!(&self.value, Value::Text { text, substituted: true } if text.trim().is_empty())
    }

    /// The entries of a table; none for other values.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key of a table.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key.value == key).map(|entry| &entry.node)
    }

    /// Calls `f` for every string in it, keys not included.
    pub fn for_each_text(&mut self, f: &mut dyn FnMut(&mut Node)) {
        match &mut self.value {
            Value::Text { .. } => f(self),
            Value::List(nodes) => nodes.iter_mut().for_each(|node| node.for_each_text(f)),
            Value::Table(entries) => entries.iter_mut().for_each(|entry| entry.node.for_each_text(f)),
            _ => {}
        }
    }
}

/// Parses a file that is in the report's sources; syntax errors go to the report.
pub fn parse_file(report: &mut Report, file: u32, text: &str) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    let broken = report_syntax(report, file, text, errors);
    let span = table.span();
    let mut node = convert(file, Spanned::new(span, DeValue::Table(table.into_inner())), &broken);
    node.place.span = 0..0;
    node
}

/// Parses one value, such as `["a", "b"]`, that is all of a source.
pub fn parse_value(report: &mut Report, file: u32, text: &str) -> Node {
    let (value, errors) = DeValue::parse_recoverable(text);
    let broken = report_syntax(report, file, text, errors);
    convert(file, value, &broken)
}

fn report_syntax(
    report: &mut Report,
    file: u32,
    text: &str,
    errors: Vec<toml::de::Error>,
) -> Vec<Range<usize>> {
    let mut broken = Vec::new();
    let headers = if errors.is_empty() { Vec::new() } else { headers(text) };
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = match error.message().split_once(", expected ") {
            Some((what, _)) if what == "string values must be quoted" => what,
            _ => error.message(),
        };
        let below = headers.partition_point(|(start, _)| *start <= span.start);
        let header = below.checked_sub(1).map_or("", |index| headers[index].1);
        conceal_broken(report, file, text, &span, header);
        report.push(Problem::error(codes::SYNTAX, message, Place { file, span: span.clone() }));
        broken.push(span);
    }
    broken
}

/// Most lines above a syntax error that are looked at for the name of what is broken.
const LINES_LOOKED_AT_MAX: usize = 100;

/// Hides the value of what looks like a secret on the lines of a syntax error: nothing was decoded that could say so.
/// `header` is the table in which it stands.
fn conceal_broken(report: &mut Report, file: u32, text: &str, span: &Range<usize>, header: &str) {
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let at = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.floor_char_boundary(span.end.clamp(at, text.len()));
    let end = text[end..].find('\n').map_or(text.len(), |length| end + length);
    let start = line_start(at);
    // Within a text or an array of several lines, the name stands above.
    let mut named = start;
    for _ in 0..LINES_LOOKED_AT_MAX {
        if named == 0 || text[named..].lines().next().is_some_and(|line| line.contains('=')) {
            break;
        }
        named = line_start(named - 1);
    }
    for begin in [start, named] {
        let line = text[begin..end].lines().next().unwrap_or_default();
        if let Some(hidden) = secrecy::hidden_from(header, line) {
            report.sources.conceal_all(file, begin + hidden..end);
        }
    }
}

/// Where headers of tables begin, and what stands in their brackets.
fn headers(text: &str) -> Vec<(usize, &str)> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1));
    let lines = starts.zip(text.split('\n'));
    let headers = lines.filter(|(_, line)| line.trim_start().starts_with('['));
    headers.map(|(start, line)| (start, line.trim().trim_matches(['[', ']']))).collect()
}

fn convert(file: u32, spanned: Spanned<DeValue<'_>>, broken: &[Range<usize>]) -> Node {
    let span = spanned.span();
    let leaf = !matches!(spanned.get_ref(), DeValue::Table(_) | DeValue::Array(_));
    let is_broken = leaf && broken.iter().any(|error| error.start >= span.start && error.end <= span.end);
    let value = match spanned.into_inner() {
        _ if is_broken => Value::Broken,
        DeValue::String(text) => Value::Text { text: text.into_owned(), substituted: false },
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| convert(file, item, broken)).collect())
        }
        DeValue::Table(table) => {
            let mut entries: Vec<Entry> = table
                .into_iter()
                .map(|(key, node)| {
                    let place = Place { file, span: key.span() };
                    let key = Located::new(key.into_inner().into_owned(), place);
                    Entry { key, node: convert(file, node, broken) }
                })
                .collect();
            entries.sort_by_key(|entry| entry.key.place.span.start);
            Value::Table(entries)
        }
    };
    Node { place: Place { file, span }, value }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::diagnostic::render;

    #[test]
    fn a_syntax_error_on_the_line_of_a_secret_does_not_print_it() {
        for text in [
            "[sink.a]\ntoken = hush\n",
            "[sink.a]\nheaders = { X-A = hush }\n",
            "[sink.a]\ntoken = \"hush ${A}\n",
            "[auth.a.keys]\np = hush\n",
            "[identity]\nsecret = \"\"\"\nhush \\q\n\"\"\"\n",
            "x-api-key: hush\n",
        ] {
            let mut report = Report::default();
            let file = report.sources.add("a.toml".into(), text.into());
            parse_file(&mut report, file, text);
            let said = render::human(&report, false) + &render::json(&report, Path::new("a.toml"));
            assert!(report.has_errors() && !said.contains("hush"), "{said}");
        }
        let mut report = Report::default();
        let file = report.sources.add("a.toml".into(), "[listen.a]\naddress = shown\n".into());
        parse_file(&mut report, file, "[listen.a]\naddress = shown\n");
        assert!(render::human(&report, false).contains("address = shown"));
    }
}
