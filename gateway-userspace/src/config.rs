//! The configuration: read from files, checked as a whole, compiled into a snapshot, replaced in one step.
//!
//! ```text
//! read        files → one tree           syntax errors, conf.d and include, the same table twice
//! substitute  ${VAR} in strings          after parsing: a variable cannot add keys
//! overrides   PORTCULLIS__… variables    as if written
//! file        tree → model               unknown keys, types, units, missing keys; one module for each table
//! check       the model as a whole       references, equal matches, certificates
//! ```
//!
//! No step ends the run: one run reports every problem. The model is given out only if none of them is an error.

pub mod check;
pub mod codes;
pub mod compile;
pub mod conceal;
pub mod decode;
pub mod diff;
pub mod environment;
pub mod file;
pub mod files;
pub mod format;
pub mod history;
pub mod live;
pub mod managed;
pub mod model;
mod near;
pub mod overlay;
mod overrides;
pub mod read;
pub mod reference;
pub mod schema;
pub mod secrecy;
mod secret;
pub mod snapshot;
pub mod store;
mod substitute;
pub mod tables;
pub mod tree;
pub mod units;
pub mod value;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use crate::diagnostic::Report;

use decode::Decoder;
pub use environment::Environment;
use files::Files;
pub use model::Config;
use overlay::Overlay;
use tree::Node;

/// Loads a configuration; the report of a success holds warnings only.
///
/// `env` looks variables up. [`load_from`] also knows which there are, and so notices an override that names no setting.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<(Config, Report), Report> {
    load_from(path, &Environment::by_name(env), true)
}

/// As [`load`], with an [`Environment`]. Without `read_files` the files that the configuration names (certificates, keys,
/// users, interfaces) are not looked at, so that a file can be checked on another machine.
pub fn load_from(
    path: &Path,
    environment: &Environment<'_>,
    read_files: bool,
) -> Result<(Config, Report), Report> {
    let loaded = load_over(path, &Overlay::default(), environment, read_files)?;
    Ok((loaded.config, loaded.report))
}

/// A configuration, and what it was made of.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub report: Report,
    /// The files, the main file first.
    pub files: Files,
}

/// As [`load_from`], with texts laid over files that are not written yet, or no more.
pub fn load_over(
    path: &Path,
    overlay: &Overlay,
    environment: &Environment<'_>,
    read_files: bool,
) -> Result<Loaded, Report> {
    let mut report = Report::default();
    let root = read::read(path, overlay, &mut report);
    let files = Files::of(path, &report.sources);
    let (config, report) = finish(root, report, environment, read_files)?;
    Ok(Loaded { config, report, files })
}

/// Loads a text, without `conf.d`, `include` and the files that it names; `path` is what messages call it.
pub fn load_text(path: &Path, text: &str, environment: &Environment<'_>) -> Result<(Config, Report), Report> {
    let mut report = Report::default();
    let root = read::read_one(path, text, &mut report);
    finish(root, report, environment, false)
}

/// A configuration to derive budgets from: what is wrong with its own budgets does not matter, and files that it names are
/// not looked at.
pub fn load_for_budgets(path: &Path, environment: &Environment<'_>) -> Result<Config, Report> {
    let mut report = Report::default();
    let root = read::read(path, &Overlay::default(), &mut report);
    let (config, mut report) = decode_and_check(root, report, environment, false);
    report.problems.retain(|problem| !check::budget::is_too_small(problem.code));
    if report.has_errors() { Err(report) } else { Ok(config) }
}

/// The admin socket that a configuration names, however much else in it is wrong: a gateway whose file was broken
/// meanwhile must still be reachable.
pub fn admin_socket(path: &Path, environment: &Environment<'_>) -> PathBuf {
    let mut report = Report::default();
    let mut root = read::read(path, &Overlay::default(), &mut report);
    substitute::apply(&mut root, environment, &mut report);
    overrides::apply(&mut root, environment, &mut report);
    file::decode_admin(&mut Decoder::new(report, environment, false), &root).socket
}

fn finish(
    root: Node,
    report: Report,
    environment: &Environment<'_>,
    read_files: bool,
) -> Result<(Config, Report), Report> {
    let (config, report) = decode_and_check(root, report, environment, read_files);
    if report.has_errors() { Err(report) } else { Ok((config, report)) }
}

/// The configuration, of which parts are missing if the report has errors.
fn decode_and_check(
    mut root: Node,
    mut report: Report,
    environment: &Environment<'_>,
    read_files: bool,
) -> (Config, Report) {
    substitute::apply(&mut root, environment, &mut report);
    overrides::apply(&mut root, environment, &mut report);
    let mut decoder = Decoder::new(report, environment, read_files);
    let config = file::decode(&mut decoder, &root);
    check::check(&config, &mut decoder);
    let mut report = decoder.report;
    // In the order of the files; what has no place comes first.
    report.problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.file, place.span.start)));
    (config, report)
}
