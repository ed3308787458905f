//! Settings by variables: `PORTCULLIS__SHIELD__BAN="5 denials in 1s"`.
//!
//! The name is the path of the setting in upper case, `__` between its parts, `_` for `-`. The value is taken as if it
//! were written in the file in place of what stands there: text as text, arrays, tables, numbers and booleans as TOML.
//! Values are not searched for `${…}`. A named table that no file has comes into being, its name in lower case with
//! `-`. Where the names of variables are known, one that leads nowhere is an error.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Located, Place, Problem, Report};

use super::codes;
use super::decode::{Key, Spec, Takes};
use super::environment::Environment;
use super::file::{SECTIONS, Section};
use super::near::nearest;
use super::tree::{self, Entry, Node, Value};

/// What the names of overrides begin with.
pub const PREFIX: &str = "PORTCULLIS__";

/// Puts the overrides into the tree.
pub fn apply(root: &mut Node, environment: &Environment<'_>, report: &mut Report) {
    let written = environment
        .names()
        .map(|names| names.iter().filter(|name| name.starts_with(PREFIX)).map(String::as_str).collect());
    // Usually there is none; asking for every key of ten thousand routes would take longer than all the rest.
    if written.as_ref().is_some_and(BTreeSet::is_empty) {
        return;
    }
    let mut overrides = Overrides { environment, written, report, asked: BTreeSet::new() };
    for section in SECTIONS {
        match section.named {
            true => overrides.named(root, section),
            false => {
                let mut path = vec![section.name.to_owned()];
                overrides.table(root, &mut path, section.specs[0]);
            }
        }
    }
    overrides.report_unknown();
}

struct Overrides<'a, 'e> {
    environment: &'a Environment<'e>,
    /// The overrides that are set, if the names of variables are known.
    written: Option<BTreeSet<&'a str>>,
    report: &'a mut Report,
    /// Every variable that would have had an effect.
    asked: BTreeSet<String>,
}

impl Overrides<'_, '_> {
    fn named(&mut self, root: &mut Node, section: &Section) {
        let mut names: Vec<String> = match root.get(section.name) {
            Some(node) => node.entries().iter().map(|entry| entry.key.value.clone()).collect(),
            None => Vec::new(),
        };
        let prefix = format!("{PREFIX}{}__", spell(section.name));
        for variable in self.written.iter().flatten() {
            let Some((name, _)) = variable.strip_prefix(&prefix).and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            if !name.is_empty() && !names.iter().any(|known| spell(known) == name) {
                names.push(name.to_ascii_lowercase().replace('_', "-"));
            }
        }
        for name in names {
            let mut path = vec![section.name.to_owned(), name];
            for spec in section.specs {
                self.table(root, &mut path, spec);
            }
        }
    }

    fn table(&mut self, root: &mut Node, path: &mut Vec<String>, spec: &Spec) {
        for key in spec.keys {
            path.push(key.name.to_owned());
            let variable = variable(path);
            let set_now = self.written.as_ref().is_none_or(|written| written.contains(variable.as_str()));
            if let Some(text) = set_now.then(|| self.environment.get(&variable)).flatten() {
                let node = self.value(&variable, &text, key);
                if let Err(depth) = set(root, path, node) {
                    self.report_unreachable(&variable, &path[..depth]);
                }
            }
            self.asked.insert(variable);
            if let Takes::Table(inner) = key.takes {
                self.table(root, path, inner);
            }
            path.pop();
        }
    }

    /// The variable's content as a value whose place is the variable.
    fn value(&mut self, variable: &str, text: &str, key: &Key) -> Node {
        let shown = PathBuf::from(format!("${variable}"));
        let file = self.report.sources.add(shown, Arc::from(text));
        // `substituted` lets a text stand for a number or a boolean, as with `${…}`.
        let plain = Value::Text { text: text.to_owned(), substituted: true };
        let plain = Node { place: Place { file, span: 0..text.len() }, value: plain };
        let (array, table) = key.takes.structure();
        let trimmed = text.trim();
        if array && trimmed.starts_with('[') && trimmed.ends_with(']') {
            tree::parse_value(self.report, file, text)
        } else if table && trimmed.starts_with('{') {
            // JSON, such as a JWK, is text in braces too.
            let mut aside = Report::default();
            let node = tree::parse_value(&mut aside, file, text);
            if aside.has_errors() { plain } else { node }
        } else {
            plain
        }
    }

    /// What stands at `above` is no table, so that nothing in it can be replaced alone.
    fn report_unreachable(&mut self, variable: &str, above: &[String]) {
        let message = format!(
            "the variable `{variable}` replaces a part of `{}`, which is no table here",
            above.join(".")
        );
        let problem = Problem::unplaced(codes::OVERRIDE_UNKNOWN, message);
        self.report.push(problem.help(format!("replace the whole of it, with `{}`", self::variable(above))));
    }

    fn report_unknown(&mut self) {
        for variable in self.written.iter().flatten().filter(|variable| !self.asked.contains(**variable)) {
            let message = format!("the variable `{variable}` names no setting");
            let problem = Problem::unplaced(codes::OVERRIDE_UNKNOWN, message);
            self.report.push(match nearest(variable, self.asked.iter().map(String::as_str)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
    }
}

fn variable(path: &[String]) -> String {
    let parts: Vec<String> = path.iter().map(|part| spell(part)).collect();
    format!("{PREFIX}{}", parts.join("__"))
}

fn spell(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '.'], "_")
}

/// Puts a value at a path; tables on the way come into being. The error is how many parts of the path lead to something
/// that is no table.
fn set(node: &mut Node, path: &[String], value: Node) -> Result<(), usize> {
    let entries = match &mut node.value {
        Value::Table(entries) => entries,
        // Reported already.
        Value::Broken => return Ok(()),
        _ => return Err(0),
    };
    let place = value.place.clone();
    let key = Located::new(path[0].clone(), place.clone());
    let at = entries.iter().position(|entry| entry.key.value == path[0]);
    if path.len() == 1 {
        match at {
            Some(at) => entries[at] = Entry { key, node: value },
            None => entries.push(Entry { key, node: value }),
        }
        return Ok(());
    }
    let at = at.unwrap_or_else(|| {
        entries.push(Entry { key, node: Node { place, value: Value::Table(Vec::new()) } });
        entries.len() - 1
    });
    set(&mut entries[at].node, &path[1..], value).map_err(|depth| depth + 1)
}
