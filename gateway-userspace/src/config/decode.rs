//! From a tree of values to typed settings, with every problem reported and none of them the last.
//!
//! A [`Spec`] describes a table: its keys, what each takes, its default, what it is for. The decoder asks a [`Spec`]
//! for everything: an unknown key is one that the spec does not have, a default is the spec's text decoded like any
//! other value. `docs/config-reference.md` is written from the same specs. In a debug build a table that is dropped
//! without having been asked for each of its keys is a failed assertion, so a spec cannot promise what nothing reads.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use rapidhash::quality::RandomState;

use crate::diagnostic::{Located, Place, Problem, Report, Sources};
use crate::route::pattern::Pattern;

use super::codes;
use super::environment::Environment;
use super::near::nearest;
use super::tree::{self, Entry, Node, Value};
use super::value::Type;

/// A table that the configuration may hold.
#[derive(Debug)]
pub struct Spec {
    /// As in `[limit.NAME]`.
    pub title: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whether it may be left out.
    pub presence: Presence,
    /// What it is for.
    pub doc: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// A value of this [`Type`], by its description.
    Value(&'static str),
    /// A whole number in this range.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A table.
    Table(&'static Spec),
}

/// Whether a key may be left out.
#[derive(Debug, Clone, Copy)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It may be missing, and then means what its documentation says.
    Optional,
    /// If it is missing, this TOML value is taken.
    Default(&'static str),
}

impl Takes {
    /// Whether an array may stand there, and whether a table may. Descriptions of values say so by their words.
    pub fn structure(self) -> (bool, bool) {
        match self {
            Takes::Table(_) => (true, true),
            Takes::Value(describe) => (describe.contains("array"), describe.starts_with("a table")),
            Takes::Number(..) | Takes::Word(_) => (false, false),
        }
    }
}

impl Key {
    /// A key of a spec.
    pub const fn new(name: &'static str, takes: Takes, presence: Presence, doc: &'static str) -> Key {
        Key { name, takes, presence, doc }
    }
}

impl Spec {
    /// The key with this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// What the decoding of all files shares.
pub struct Decoder<'a> {
    /// Where problems go.
    pub report: Report,
    /// Variables.
    pub environment: &'a Environment<'a>,
    /// Whether files that the configuration names are opened.
    pub read_files: bool,
    /// Whether something could not be read at all: then what seems to be missing may stand there.
    pub incomplete: bool,
    /// Names that are referred to, noted as they are read, so that one is checked also when its route is not usable.
    pub references: Vec<Reference>,
    /// Named tables, usable or not.
    pub declared: Vec<Declared>,
    /// Matches with their routes, usable or not.
    pub matches: Vec<(Arc<str>, Located<Arc<Pattern>>)>,
    /// Defaults by their texts.
    defaults: HashMap<&'static str, Value, RandomState>,
}

/// A reference to a named table.
#[derive(Debug)]
pub struct Reference {
    /// Who refers to it.
    pub user: User,
    /// `auth`, `limit`, `upstream`, `sink` or `route`.
    pub kind: &'static str,
    /// The name that it uses.
    pub name: Located<Arc<str>>,
}

/// A table that refers to others.
#[derive(Debug)]
pub enum User {
    /// `[route.NAME]`
    Route(Arc<str>),
    /// `[log]`
    Log,
    /// `[ban.NAME]`
    Ban(Arc<str>),
}

/// As messages say it.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Route(name) => write!(f, "route `{name}`"),
            User::Log => f.write_str("[log]"),
            User::Ban(name) => write!(f, "ban `{name}`"),
        }
    }
}

/// A named table.
#[derive(Debug)]
pub struct Declared {
    /// `auth`, `limit`, `upstream` …
    pub kind: &'static str,
    /// Its name, with the place where it begins.
    pub name: Located<Arc<str>>,
}

impl<'a> Decoder<'a> {
    /// A decoder that adds to a report.
    pub fn new(report: Report, environment: &'a Environment<'a>, read_files: bool) -> Decoder<'a> {
        let unread = [codes::SYNTAX, codes::UNREADABLE, codes::BAD_INCLUDE];
        let incomplete = report.problems.iter().any(|problem| unread.contains(&problem.code));
        Decoder {
            report,
            environment,
            read_files,
            incomplete,
            references: Vec::new(),
            declared: Vec::new(),
            matches: Vec::new(),
            defaults: HashMap::default(),
        }
    }

    /// Opens a table; unknown keys are reported now.
    pub fn fields<'n>(&mut self, spec: &'static Spec, title: String, node: &'n Node) -> Option<Fields<'n>> {
        let entries = match &node.value {
            Value::Table(entries) => entries,
            Value::Broken => return None,
            _ => {
                self.wrong_type(node, "a table");
                return None;
            }
        };
        for entry in entries {
            if spec.key(&entry.key.value).is_none() {
                let known: Vec<&str> = spec.keys.iter().map(|key| key.name).collect();
                self.unknown_key(&title, &entry.key, &known);
            }
        }
        let asked = RefCell::new(Vec::new());
        Some(Fields { spec, title, place: node.place.clone(), entries, asked })
    }

    /// Reports a key that nothing knows.
    pub fn unknown_key(&mut self, title: &str, key: &Located<String>, known: &[&str]) {
        let message = match title.is_empty() {
            true => format!("there is no table or key `{}`", key.value),
            false => format!("{title} has no key `{}`", key.value),
        };
        let problem = Problem::error(codes::UNKNOWN_KEY, message, key.place.clone());
        self.report.push(match nearest(&key.value, known.iter().copied()) {
            Some(near) => problem.help(format!("a key with a similar name exists: `{near}`")),
            None => problem.help(format!("it knows {}", list(known))),
        });
    }

    /// Reports a value of another type than expected; nothing for a value that is already known to be broken.
    pub fn wrong_type(&mut self, node: &Node, expected: &str) {
        if matches!(node.value, Value::Broken) {
            return;
        }
        let message = format!("found {}, expected {expected}", node.kind());
        self.report.push(
            Problem::error(codes::WRONG_TYPE, message, node.place.clone())
                .label(format!("expected {expected}")),
        );
    }

    /// The text of a string; another type is reported.
    pub fn text<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text { text, .. } => Some(text),
            _ => {
                self.wrong_type(node, expected);
                None
            }
        }
    }

    /// A default, as if it were written at a place. Thousands of tables leave out the same keys, so each text is parsed
    /// once.
    fn default(&mut self, text: &'static str, place: &Place) -> Node {
        let report = &mut self.report;
        let parse = || tree::parse_value(report, place.file, text).value;
        let value = self.defaults.entry(text).or_insert_with(parse).clone();
        Node { place: place.clone(), value }
    }

    /// A part of a string value as a place in its file.
    pub fn within(&self, node: &Node, part: Range<usize>) -> Place {
        place_within(&self.report.sources, node, part)
    }
}

/// A part of a string value as a place in its file; the whole value where the string is not written as it reads
/// (escapes, several lines, variables).
pub fn place_within(sources: &Sources, node: &Node, part: Range<usize>) -> Place {
    let whole = node.place.clone();
    let Value::Text { text, substituted: false } = &node.value else { return whole };
    let Some((_, source)) = sources.get(whole.file) else { return whole };
    let Some(written) = source.get(whole.span.clone()) else { return whole };
    let quoted = written.len() == text.len() + 2 && written.get(1..=text.len()) == Some(text.as_str());
    let offset = match (quoted, written == text) {
        (true, _) => whole.span.start + 1,
        (_, true) => whole.span.start,
        _ => return whole,
    };
    if part.is_empty() {
        return whole;
    }
    Place { file: whole.file, span: offset + part.start..offset + part.end }
}

/// An open table.
pub struct Fields<'n> {
    spec: &'static Spec,
    /// As in `[limit.per-user]`.
    pub title: String,
    /// Its header.
    pub place: Place,
    entries: &'n [Entry],
    /// What was asked for so far, in a debug build.
    asked: RefCell<Vec<&'static str>>,
}

impl<'n> Fields<'n> {
    /// The key's node if it is written.
    pub fn node(&self, name: &'static str) -> Option<&'n Node> {
        debug_assert!(self.spec.key(name).is_some(), "{} has no key {name} in its spec", self.spec.title);
        if cfg!(debug_assertions) {
            self.asked.borrow_mut().push(name);
        }
        let found = self.entries.iter().find(|entry| entry.key.value == name).map(|entry| &entry.node);
        found.filter(|node| !node.is_blank())
    }

    /// The place of a key's name, for problems with the key itself.
    pub fn key_place(&self, name: &str) -> Place {
        let found = self.entries.iter().find(|entry| entry.key.value == name);
        found.map_or_else(|| self.place.clone(), |entry| entry.key.place.clone())
    }

    /// The key's value, or its default. `None` when it is optional and missing, and after any problem.
    pub fn get<T>(&self, d: &mut Decoder<'_>, name: &'static str, of: &Type<T>) -> Option<T> {
        debug_assert!(
            matches!(self.spec.key(name).map(|key| key.takes), Some(Takes::Value(takes)) if takes == of.describe),
            "{} documents {name} as something else than {}",
            self.spec.title,
            of.describe
        );
        self.with(d, name, |d, node| (of.decode)(d, node))
    }

    /// As [`Fields::get`], with the value's place.
    pub fn located<T>(&self, d: &mut Decoder<'_>, name: &'static str, of: &Type<T>) -> Option<Located<T>> {
        self.with(d, name, |d, node| Some(Located::new((of.decode)(d, node)?, node.place.clone())))
    }

    /// A whole number in the range that the spec gives.
    pub fn number<T: TryFrom<u64>>(&self, d: &mut Decoder<'_>, name: &'static str) -> Option<T> {
        let Some(Takes::Number(least, most)) = self.spec.key(name).map(|key| key.takes) else {
            unreachable!("{} does not document {name} as a number", self.spec.title)
        };
        self.with(d, name, |d, node| T::try_from(number(d, node, least..=most)?).ok())
    }

    /// One of the words that the spec lists, by what each means.
    pub fn word<T: Copy>(
        &self,
        d: &mut Decoder<'_>,
        name: &'static str,
        meanings: &[(&'static str, T)],
    ) -> Option<T> {
        debug_assert!(
            matches!(self.spec.key(name).map(|key| key.takes), Some(Takes::Word(words))
                if words.iter().eq(meanings.iter().map(|(word, _)| word))),
            "{} documents other words for {name}",
            self.spec.title
        );
        self.with(d, name, |d, node| {
            if let Value::Text { text, .. } = &node.value
                && let Some((_, meaning)) = meanings.iter().find(|(word, _)| word == text)
            {
                return Some(*meaning);
            }
            let words: Vec<&str> = meanings.iter().map(|(word, _)| *word).collect();
            let expected = format!("one of {}", list(&words));
            let text = d.text(node, &expected)?;
            let message = format!("`{name}` cannot be `{text}`");
            let problem = Problem::error(codes::NOT_A_CHOICE, message, node.place.clone());
            let problem = problem.label(format!("expected {expected}"));
            d.report.push(match nearest(text, words.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            });
            None
        })
    }

    /// Decodes the key's value, or its default, by a function.
    pub fn with<T>(
        &self,
        d: &mut Decoder<'_>,
        name: &'static str,
        decode: impl Fn(&mut Decoder<'_>, &Node) -> Option<T>,
    ) -> Option<T> {
        if let Some(node) = self.node(name) {
            return decode(d, node);
        }
        match self.spec.key(name)?.presence {
            Presence::Optional => None,
            Presence::Default(text) => {
                let node = d.default(text, &self.place);
                decode(d, &node)
            }
            Presence::Required => {
                self.missing(d, name);
                None
            }
        }
    }

    /// Reports that a key is missing.
    pub fn missing(&self, d: &mut Decoder<'_>, name: &str) {
        if d.incomplete {
            return;
        }
        let message = format!("{} needs `{name}`", self.title);
        let doc = self.spec.key(name).map_or("", |key| key.doc);
        d.report.push(
            Problem::error(codes::MISSING_KEY, message, self.place.clone())
                .label(format!("`{name}` is missing here"))
                .help(format!("`{name}`: {doc}")),
        );
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) && !std::thread::panicking() {
            let asked = self.asked.borrow();
            for key in self.spec.keys {
                assert!(asked.contains(&key.name), "{}: nothing reads `{}`", self.spec.title, key.name);
            }
        }
    }
}

/// A whole number in a range. A string that came from a variable may hold one too.
pub fn number(d: &mut Decoder<'_>, node: &Node, range: RangeInclusive<u64>) -> Option<u64> {
    let found = match &node.value {
        Value::Integer(number) => number.map(i128::from),
        Value::Text { text, substituted: true } => match text.trim().parse::<i64>() {
            Ok(number) => Some(number.into()),
            Err(_) => {
                d.wrong_type(node, "a whole number");
                return None;
            }
        },
        _ => {
            d.wrong_type(node, "a whole number");
            return None;
        }
    };
    let found = found.and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number));
    if found.is_none() {
        let expected = format!("expected a whole number from {} to {}", range.start(), range.end());
        let problem = Problem::error(codes::OUT_OF_RANGE, "this number is out of range", node.place.clone());
        d.report.push(problem.label(expected));
    }
    found
}

/// Names in backquotes, for messages.
pub fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
