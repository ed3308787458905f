//! The text of a file as a tree of values, each with its place.
//!
//! Built from the recoverable parse of the `toml` crate, which goes on after an error: what could be read is decoded
//! and checked in the same run as the syntax. A value at which a syntax error was reported is [`Value::Broken`] and is
//! not complained about again. Depth is limited by the parser (80 levels).

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Located, Place, Problem, Report};

use super::codes;

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
    let broken = report_syntax(report, file, errors);
    let span = table.span();
    let mut node = convert(file, Spanned::new(span, DeValue::Table(table.into_inner())), &broken);
    node.place.span = 0..0;
    node
}

/// Parses one value, such as `["a", "b"]`, that is all of a source.
pub fn parse_value(report: &mut Report, file: u32, text: &str) -> Node {
    let (value, errors) = DeValue::parse_recoverable(text);
    let broken = report_syntax(report, file, errors);
    convert(file, value, &broken)
}

fn report_syntax(
    report: &mut Report,
    file: u32,
    errors: Vec<toml::de::Error>,
) -> Vec<std::ops::Range<usize>> {
    let mut broken = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = match error.message().split_once(", expected ") {
            Some((what, _)) if what == "string values must be quoted" => what,
            _ => error.message(),
        };
        report.push(Problem::error(codes::SYNTAX, message, Place { file, span: span.clone() }));
        broken.push(span);
    }
    broken
}

fn convert(file: u32, spanned: Spanned<DeValue<'_>>, broken: &[std::ops::Range<usize>]) -> Node {
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
