//! `${VAR}` and `${VAR:-default}` in string values.
//!
//! Replaced after the file is parsed, and once: a variable's content can neither add keys nor refer to another
//! variable. A default, which stands in the file, can: `${A:-${B:-text}}`. `$${` stands for `${` itself; a `$` that no `{` follows is left alone (`$context.status` of log formats).

use std::ops::Range;

use crate::diagnostic::{Problem, Report};

use super::codes;
use super::decode::place_within;
use super::environment::Environment;
use super::tree::{Node, Value};

/// How deep defaults may hold variables.
const DEPTH_MAX: usize = 8;

/// Why a text cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A variable without a default is not set.
    Unset {
        /// Its name.
        name: String,
        /// Which bytes.
        span: Range<usize>,
    },
    /// `${` without `}`, or with something else than a name in it.
    Malformed(Range<usize>),
}

/// Replaces the variables in every string of a tree.
pub fn apply(node: &mut Node, environment: &Environment<'_>, report: &mut Report) {
    node.for_each_text(&mut |node| {
        let Value::Text { text, .. } = &node.value else { return };
        if !has_variable(text) {
            return;
        }
        let (replaced, faults) = replace(text, &|name| environment.get(name));
        for fault in &faults {
            let problem = match fault {
                Fault::Unset { name, span } => {
                    let place = place_within(&report.sources, node, span.clone());
                    Problem::error(codes::VARIABLE_UNSET, format!("the variable `{name}` is not set"), place)
                        .help(format!("set it, or give it a default: `${{{name}:-default}}`"))
                }
                Fault::Malformed(span) => {
                    let place = place_within(&report.sources, node, span.clone());
                    Problem::error(codes::VARIABLE_MALFORMED, "this is not a variable", place).help(
                        "write `${NAME}` or `${NAME:-default}`, with letters, digits and `_` in the name; \
                         for the characters themselves write `$${`",
                    )
                }
            };
            report.push(problem);
        }
        node.value = match faults.is_empty() {
            true => Value::Text { text: replaced, substituted: true },
            false => Value::Broken,
        };
    });
}

/// Whether `${` is in a text. Hardly any text has a `$`, and one byte is found in less time than two.
fn has_variable(text: &str) -> bool {
    text.as_bytes().contains(&b'$') && text.contains("${")
}

/// The text with its variables replaced, and what was wrong with any of them.
pub fn replace(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> (String, Vec<Fault>) {
    let mut faults = Vec::new();
    let replaced = expand(text, 0, 0, lookup, &mut faults);
    (replaced, faults)
}

/// `offset` is where `text` stands in the whole.
fn expand(
    text: &str,
    offset: usize,
    depth: usize,
    lookup: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<Fault>,
) -> String {
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let start = at + found;
        if start > at && text[..start].ends_with('$') {
            result.push_str(&text[at..start - 1]);
            result.push_str("${");
            at = start + 2;
            continue;
        }
        result.push_str(&text[at..start]);
        let Some(length) = closing_brace(&text[start..]).filter(|_| depth < DEPTH_MAX) else {
            faults.push(Fault::Malformed(offset + start..offset + text.len()));
            return result;
        };
        let inner = &text[start + 2..start + length];
        at = start + length + 1;
        let span = offset + start..offset + at;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !valid {
            faults.push(Fault::Malformed(span));
            continue;
        }
        // As in a shell, `:-` stands in for an empty variable too, and the default may hold variables itself.
        match (lookup(name).filter(|value| !value.is_empty() || default.is_none()), default) {
            (Some(value), _) => result.push_str(&value),
            (None, Some(default)) => {
                let default_at = span.end - 1 - default.len();
                result.push_str(&expand(default, default_at, depth + 1, lookup, faults));
            }
            (None, None) => faults.push(Fault::Unset { name: name.to_owned(), span }),
        }
    }
    result.push_str(&text[at..]);
    result
}

/// Where the brace is that closes the one at the beginning of `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0;
    let mut previous = b' ';
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if previous == b'$' => open += 1,
            b'}' if open == 1 => return Some(at),
            b'}' if open > 1 => open -= 1,
            _ => {}
        }
        previous = byte;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> (String, Vec<Fault>) {
        replace(text, &|name| match name {
            "A" => Some("value".into()),
            "QUOTE" => Some("\"\nadmin = \"x${A}".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn a_variable_is_replaced_and_a_default_stands_in() {
        assert_eq!(with("a ${A} b").0, "a value b");
        assert_eq!(with("${NO:-http://x/y}").0, "http://x/y");
        assert_eq!(with("${NO:-}").0, "");
        assert_eq!(with("${EMPTY:-d}${EMPTY}").0, "d");
        assert_eq!(with("a ${NO:-b ${NOR:-c ${A} d} e} f").0, "a b c value d e f");
    }

    #[test]
    fn the_content_of_a_variable_is_not_looked_at_again() {
        assert_eq!(with("${QUOTE}").0, "\"\nadmin = \"x${A}");
    }

    #[test]
    fn dollars_without_a_brace_and_doubled_dollars_are_left_alone() {
        assert_eq!(with("$context.status costs $5"), ("$context.status costs $5".into(), vec![]));
        assert_eq!(with("$${A} $$${A}"), ("${A} $${A}".into(), vec![]));
    }

    #[test]
    fn faults_name_their_bytes() {
        assert_eq!(with("x ${NO} y").1, [Fault::Unset { name: "NO".into(), span: 2..7 }]);
        assert_eq!(with("x ${A").1, [Fault::Malformed(2..5)]);
        assert_eq!(with("${}${1A}${A B}").1.len(), 3);
        assert_eq!(with("x ${NO:-y ${NOR}}").1, [Fault::Unset { name: "NOR".into(), span: 10..16 }]);
        assert_eq!(with(&"${NO:-".repeat(100)).1.len(), 1);
        assert_eq!(with(&format!("{}{}", "${NO:-".repeat(100), "}".repeat(100))).1.len(), 1);
    }
}
