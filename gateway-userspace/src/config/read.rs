//! The files of a configuration, read and merged into one tree.
//!
//! The main file, `conf.d/*.toml` beside it, and what `include` names, relative to the file in which it stands. Tables
//! are merged by name. No file overrides another: the same table in two files is an error that shows both.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Place, Problem, Report};

use super::codes;
use super::file::{INCLUDE, SECTIONS};
use super::overlay::{self, Overlay};
use super::tree::{self, Entry, Node, Value};

/// Most files.
const FILES_MAX: usize = 1024;

/// The folder beside the main file whose files belong to the configuration.
pub const DROP_INS: &str = "conf.d";

/// Reads the main file and all that belongs to it, as the overlay shows the disk. Each file becomes one source of the
/// report, the main file the first.
pub fn read(main: &Path, files: &Overlay, report: &mut Report) -> Node {
    let mut root = Node { place: Place::default(), value: Value::Table(Vec::new()) };
    walk(main, files, report, |file, path, text, report| {
        let tree = tree::parse_file(report, file, text);
        let included = includes(&tree, path, files, report);
        merge(&mut root, tree, report);
        included
    });
    root
}

/// Reads the same files for their texts alone: the report gets the sources, and few of the problems in them.
pub fn read_texts(main: &Path, files: &Overlay, report: &mut Report) {
    walk(main, files, report, |file, path, text, report| {
        if !may_include(text) {
            return Vec::new();
        }
        let tree = tree::parse_file(report, file, text);
        includes(&tree, path, files, report)
    });
}

/// Whether there can be a key `include` in a text; a quoted key may be written with escapes.
fn may_include(text: &str) -> bool {
    text.contains(INCLUDE) || text.contains('\\')
}

/// A file to read, and where it is included, if it is.
type Wanted = (PathBuf, Option<Place>);

/// Goes through the main file, the drop-ins, and what `visit` says that each of them includes.
fn walk(
    main: &Path,
    files: &Overlay,
    report: &mut Report,
    mut visit: impl FnMut(u32, &Path, &str, &mut Report) -> Vec<Wanted>,
) {
    let mut waiting = vec![(main.to_owned(), None)];
    let folder = main.parent().unwrap_or(Path::new(""));
    let drop_ins = files.glob(&folder.join(DROP_INS).join("*.toml")).unwrap_or_default();
    waiting.extend(drop_ins.into_iter().map(|path| (path, None)));
    let mut seen = HashSet::new();
    let mut next = 0;
    while let Some((path, included_at)) = waiting.get(next).cloned() {
        next += 1;
        if next > FILES_MAX {
            let message = format!("the configuration has more than {FILES_MAX} files");
            report.push(Problem { place: included_at, ..Problem::unplaced(codes::TOO_MANY, message) });
            break;
        }
        if !seen.insert(overlay::real(&path)) {
            continue;
        }
        let text = match files.read(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                report.push(Problem { place: included_at, ..Problem::unplaced(codes::UNREADABLE, message) });
                continue;
            }
        };
        let file = report.sources.add(path.clone(), text.clone());
        waiting.extend(visit(file, &path, &text, report));
    }
}

/// Reads one text as a whole configuration, for tests and examples.
pub fn read_one(path: &Path, text: &str, report: &mut Report) -> Node {
    let file = report.sources.add(path.to_owned(), Arc::from(text));
    tree::parse_file(report, file, text)
}

/// The files that `include` names.
fn includes(tree: &Node, path: &Path, files: &Overlay, report: &mut Report) -> Vec<Wanted> {
    let Some(node) = tree.get(INCLUDE) else { return Vec::new() };
    let one = [node.clone()];
    let items = match &node.value {
        Value::List(items) => items,
        _ => &one[..],
    };
    let mut found = Vec::new();
    for item in items {
        let pattern = match &item.value {
            Value::Text { text, .. } => text,
            Value::Broken => continue,
            _ => {
                let message = format!("found {}, expected the path of a file", item.kind());
                report.push(Problem::error(codes::WRONG_TYPE, message, item.place.clone()));
                continue;
            }
        };
        let full = path.parent().unwrap_or(Path::new("")).join(pattern);
        match files.glob(&full) {
            Ok(paths) if paths.is_empty() => {
                let message = format!("`{pattern}` matches no file");
                report.push(Problem::error(codes::BAD_INCLUDE, message, item.place.clone()));
            }
            Ok(paths) => found.extend(paths.into_iter().map(|path| (path, Some(item.place.clone())))),
            Err(error) => {
                let message = format!("`{pattern}` cannot be included: {error}");
                report.push(Problem::error(codes::BAD_INCLUDE, message, item.place.clone()));
            }
        }
    }
    found
}

/// Adds the tables of one file to those of the others.
fn merge(root: &mut Node, file: Node, report: &mut Report) {
    let (Value::Table(into), Value::Table(from)) = (&mut root.value, file.value) else { return };
    for entry in from {
        let named = SECTIONS.iter().any(|section| section.named && section.name == entry.key.value);
        match into.iter_mut().find(|other| other.key.value == entry.key.value) {
            None => into.push(entry),
            Some(_) if entry.key.value == INCLUDE => {}
            Some(other) => match (named, &mut other.node.value, &entry.node.value) {
                (true, Value::Table(_), Value::Table(_)) => merge_named(other, entry, report),
                _ => defined_twice(
                    report,
                    &format!("[{}]", entry.key.value),
                    &other.key.place,
                    &entry.key.place,
                ),
            },
        }
    }
}

fn merge_named(into: &mut Entry, from: Entry, report: &mut Report) {
    let section = into.key.value.clone();
    let (Value::Table(into), Value::Table(from)) = (&mut into.node.value, from.node.value) else { return };
    // Thousands of tables may meet thousands: they are looked up and not compared one by one.
    let mut new: HashMap<String, Entry> =
        from.into_iter().map(|entry| (entry.key.value.clone(), entry)).collect();
    for other in into.iter() {
        if let Some(entry) = new.remove(&other.key.value) {
            let title = format!("[{section}.{}]", entry.key.value);
            defined_twice(report, &title, &other.key.place, &entry.key.place);
        }
    }
    let mut new: Vec<Entry> = new.into_values().collect();
    new.sort_by_key(|entry| entry.key.place.span.start);
    into.extend(new);
}

fn defined_twice(report: &mut Report, title: &str, first: &Place, second: &Place) {
    let problem = Problem::error(codes::DEFINED_TWICE, format!("{title} is defined twice"), second.clone());
    let problem = problem.label("here again").related(first.clone(), "it is defined here");
    report.push(problem.help("no file overrides another: rename or delete one of the two"));
}
