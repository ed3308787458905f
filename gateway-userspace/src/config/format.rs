//! One way to lay a configuration file out: `portcullis fmt`.
//!
//! Tables, keys and comments stay in their order. What changes: blanks (one empty line before each table, none after
//! its header, never two), `key = value` with the `=` of neighbours below each other, comments behind values likewise,
//! arrays on one line or with one item on each and a comma behind the last, four spaces where something is inside,
//! `'text'` as `"text"` where it means the same, keys without quotes that they do not need, line ends.
//!
//! The tokens of the text are written again with other blanks between them ([`parse`]), so nothing that stands in it
//! can get lost; at the end both texts are parsed, and have to mean the same.

mod parse;

use std::path::Path;

use crate::diagnostic::Report;

use super::tree;
use parse::{Line, List, Part, Value};

/// An array that makes its line longer is spread over several.
const WIDTH_MAX: usize = 110;
/// What stands inside something is moved to the right by so much.
const INDENT: usize = 4;

/// Why a text was not formatted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not TOML; the report says where.
    #[error("it is not valid TOML")]
    Syntax(Box<Report>),
    /// A fault of the formatter.
    #[error("formatted, it would not mean the same; this is a fault of portcullis: please report it")]
    Meaning,
}

/// Formats a text; `path` is what messages call it. With `align` the `=` of neighbours stand below each other.
pub fn format(path: &Path, text: &str, align: bool) -> Result<String, Error> {
    let mut report = Report::default();
    let file = report.sources.add(path.to_owned(), text.into());
    tree::parse_file(&mut report, file, text);
    let Ok(meaning) = text.parse::<toml::Table>() else { return Err(Error::Syntax(report.into())) };
    if report.has_errors() {
        return Err(Error::Syntax(report.into()));
    }
    let formatted = print(&parse::parse(text), align);
    // By their texts: a `nan` does not equal itself.
    match formatted.parse::<toml::Table>() {
        Ok(after) if format!("{after:?}") == format!("{meaning:?}") => Ok(formatted),
        _ => Err(Error::Meaning),
    }
}

fn print(lines: &[Line<'_>], align: bool) -> String {
    let lines = with_blanks(lines);
    let blocks: Vec<String> = lines
        .split(|line| matches!(line, Line::Blank))
        .filter(|block| !block.is_empty())
        .map(|block| print_block(block, align))
        .collect();
    blocks.join("\n")
}

/// The lines with an empty one before each table and the comments right above it, and none below a header.
fn with_blanks<'l, 't>(lines: &'l [Line<'t>]) -> Vec<&'l Line<'t>> {
    let mut spaced: Vec<&Line<'_>> = Vec::with_capacity(lines.len());
    for line in lines {
        match line {
            Line::Blank if matches!(spaced.last(), Some(Line::Header { .. })) => continue,
            Line::Header { .. } => {
                let comments =
                    spaced.iter().rev().take_while(|line| matches!(line, Line::Comment(_))).count();
                spaced.insert(spaced.len() - comments, &Line::Blank);
            }
            _ => {}
        }
        spaced.push(line);
    }
    spaced
}

/// Lines without an empty one among them.
fn print_block(block: &[&Line<'_>], align: bool) -> String {
    let widest = |width: &dyn Fn(&Line<'_>) -> Option<usize>| {
        if align { block.iter().filter_map(|line| width(line)).max().unwrap_or(0) } else { 0 }
    };
    let key_width = widest(&|line| match line {
        Line::Pair { key, .. } => Some(width(key)),
        _ => None,
    });
    let printed: Vec<(String, Option<&str>)> = block.iter().map(|line| print_line(line, key_width)).collect();
    let commented = printed.iter().filter(|(code, comment)| comment.is_some() && !code.contains('\n'));
    let comments_at = match align {
        true => commented.map(|(code, _)| width(code)).max().unwrap_or(0),
        false => 0,
    };
    let mut text = String::new();
    for (code, comment) in printed {
        text.push_str(&code);
        if let Some(comment) = comment {
            let blanks = match code.contains('\n') {
                true => 0,
                false => comments_at.saturating_sub(width(&code)),
            };
            text.extend(std::iter::repeat_n(' ', blanks + if code.is_empty() { 0 } else { 2 }));
            text.push_str(comment);
        }
        text.push('\n');
    }
    text
}

/// A line, and the comment behind it.
fn print_line<'t>(line: &Line<'t>, key_width: usize) -> (String, Option<&'t str>) {
    match line {
        Line::Blank => (String::new(), None),
        Line::Comment(comment) => ((*comment).to_owned(), None),
        Line::Header { text, comment } => (text.clone(), *comment),
        Line::Pair { key, value, comment } => {
            let mut text = format!("{key}{} = ", " ".repeat(key_width.saturating_sub(width(key))));
            print_value(value, Around { depth: 0, may_spread: true }, &mut text);
            (text, *comment)
        }
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Around {
    /// How deep the line is on which it begins.
    depth: usize,
    /// Whether it may be spread over several lines if it is long.
    may_spread: bool,
}

/// Writes a value behind what stands on its line already.
fn print_value(value: &Value<'_>, around: Around, text: &mut String) {
    let list = match value {
        Value::Scalar(scalar) => return text.push_str(scalar),
        Value::List(list) => list,
    };
    match list.spread || (around.may_spread && !list.is_table && is_too_long(list, text)) {
        true => print_spread(list, around.depth, text),
        // Not every reader of TOML takes an inline table of several lines, so none is made.
        false => print_flat(list, Around { may_spread: false, ..around }, text),
    }
}

fn is_too_long(list: &List<'_>, text: &str) -> bool {
    let line = &text[text.rfind('\n').map_or(0, |newline| newline + 1)..];
    let mut flat = String::new();
    print_flat(list, Around { depth: 0, may_spread: false }, &mut flat);
    !list.parts.is_empty() && width(line) + width(&flat) > WIDTH_MAX
}

fn print_flat(list: &List<'_>, around: Around, text: &mut String) {
    let (open, close) = list.brackets();
    let pad = if list.is_table && !list.parts.is_empty() { " " } else { "" };
    text.push(open);
    text.push_str(pad);
    let mut between = "";
    for part in &list.parts {
        // Comments and blanks bring a line break with them: then the list is spread.
        if let Part::Item { key, value, .. } = part {
            text.push_str(between);
            print_item(key.as_deref(), value, around, text);
            between = ", ";
        }
    }
    text.push_str(pad);
    text.push(close);
}

fn print_spread(list: &List<'_>, depth: usize, text: &mut String) {
    let (open, close) = list.brackets();
    text.push(open);
    if let Some(comment) = list.opening {
        text.push_str(&format!("  {comment}"));
    }
    text.push('\n');
    let indent = " ".repeat(INDENT * (depth + 1));
    for part in &list.parts {
        match part {
            Part::Blank => {}
            Part::Comment(comment) => text.push_str(&format!("{indent}{comment}")),
            Part::Item { key, value, comment } => {
                text.push_str(&indent);
                print_item(key.as_deref(), value, Around { depth: depth + 1, may_spread: true }, text);
                text.push(',');
                if let Some(comment) = comment {
                    text.push_str(&format!("  {comment}"));
                }
            }
        }
        text.push('\n');
    }
    text.push_str(&" ".repeat(INDENT * depth));
    text.push(close);
}

fn print_item(key: Option<&str>, value: &Value<'_>, around: Around, text: &mut String) {
    if let Some(key) = key {
        text.push_str(&format!("{key} = "));
    }
    print_value(value, around, text);
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
