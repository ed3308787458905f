//! Whole configurations in, models and problems out.

mod documents;
mod examples;
mod files;
mod model;
mod overrides;
mod problems;
mod sinks;

use super::*;
use crate::diagnostic::render;

/// Loads a text that must be free of errors.
pub fn load_ok(text: &str) -> Config {
    load_ok_with(text, &[])
}

/// The same with variables.
fn load_ok_with(text: &str, variables: &[(&str, &str)]) -> Config {
    match load(text, variables) {
        Ok((config, _)) => config,
        Err(report) => panic!("{}", render::human(&report, false)),
    }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<(Config, Report), Report> {
    let lookup =
        |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    let names = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
    load_text(Path::new("gateway.toml"), text, &Environment::listed(&lookup, names))
}

/// The problems of a text, errors and warnings, one line each.
pub fn problems(text: &str, variables: &[(&str, &str)]) -> String {
    let report = match load(text, variables) {
        Ok((_, report)) | Err(report) => report,
    };
    // Rendering must work for whatever there is.
    let _ = (render::human(&report, true), render::github(&report), render::json(&report, Path::new("x")));
    render::lines(&report)
}
