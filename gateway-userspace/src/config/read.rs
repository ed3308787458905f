//! The files of a configuration, read and merged into one tree.
//!
//! The main file, `conf.d/*.toml` beside it, and what `include` names, relative to the file in which it stands. Tables
//! are merged by name. No file overrides another: the same table in two files is an error that shows both.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Place, Problem, Report};

use super::codes;
use super::file::{INCLUDE, SECTIONS};
use super::tree::{self, Entry, Node, Value};

/// Largest file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most files.
const FILES_MAX: usize = 1024;

/// Reads the main file and all that belongs to it.
pub fn read(main: &Path, report: &mut Report) -> Node {
    let mut root = Node { place: Place::default(), value: Value::Table(Vec::new()) };
    let mut waiting = vec![(main.to_owned(), None)];
    let folder = main.parent().unwrap_or(Path::new(""));
    let drop_ins = glob(&folder.join("conf.d/*.toml")).unwrap_or_default();
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
        if !seen.insert(std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            continue;
        }
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                report.push(Problem { place: included_at, ..Problem::unplaced(codes::UNREADABLE, message) });
                continue;
            }
        };
        let file = report.sources.add(path.clone(), Arc::from(text.as_str()));
        let tree = tree::parse_file(report, file, &text);
        waiting.extend(includes(&tree, &path, report));
        merge(&mut root, tree, report);
    }
    root
}

/// Reads one text as a whole configuration, for tests and examples.
pub fn read_one(path: &Path, text: &str, report: &mut Report) -> Node {
    let file = report.sources.add(path.to_owned(), Arc::from(text));
    tree::parse_file(report, file, text)
}

fn read_text(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("it is a folder".into());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err("it is larger than 64 MiB".into());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 (byte {})", error.utf8_error().valid_up_to()))
}

/// The files that `include` names.
fn includes(tree: &Node, path: &Path, report: &mut Report) -> Vec<(PathBuf, Option<Place>)> {
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
        match glob(&full) {
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

/// The files of a path whose last part may hold one `*`, sorted; a path without `*` is itself.
fn glob(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().and_then(|name| name.to_str()).ok_or("it has no file name")?;
    let folder = pattern.parent().unwrap_or(Path::new(""));
    if folder.to_string_lossy().contains('*') {
        return Err("`*` stands only in the last part of a path".into());
    }
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
    if after.contains('*') {
        return Err("only one `*` is possible".into());
    }
    let listed = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(listed).map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let long_enough = name.len() >= before.len() + after.len();
        if long_enough && name.starts_with(before) && name.ends_with(after) && !name.starts_with('.') {
            paths.push(folder.join(name));
        }
    }
    paths.sort();
    Ok(paths)
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
    for entry in from {
        match into.iter().find(|other| other.key.value == entry.key.value) {
            None => into.push(entry),
            Some(other) => {
                let title = format!("[{section}.{}]", entry.key.value);
                defined_twice(report, &title, &other.key.place, &entry.key.place);
            }
        }
    }
}

fn defined_twice(report: &mut Report, title: &str, first: &Place, second: &Place) {
    let problem = Problem::error(codes::DEFINED_TWICE, format!("{title} is defined twice"), second.clone());
    let problem = problem.label("here again").related(first.clone(), "it is defined here");
    report.push(problem.help("no file overrides another: rename or delete one of the two"));
}
