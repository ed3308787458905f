//! `portcullis diff`: what a reload would change, or what differs between two files.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{self, Config, Environment};
use crate::diagnostic::render;

use super::{Common, Exit, Output, reload};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Two files to compare; if not given, the running configuration with what is in its file now.
    #[arg(num_args = 2, value_names = ["OLD", "NEW"])]
    files: Vec<PathBuf>,
    /// Exit with 2 if there are differences.
    #[arg(long)]
    exit_code: bool,
    /// Do not open the certificates and keys that the two files name, as on a machine that does not have them.
    #[arg(long, requires = "files")]
    no_files: bool,
}

/// What differs.
#[derive(Debug, Serialize)]
struct Differences {
    /// One line for each: `+ route users`, `~ limit per-user (…)`, `- auth old`.
    changes: Vec<String>,
}

/// Compares and prints.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let [old, new] = &arguments.files[..] else {
        return reload::ask(common, output, true, arguments.exit_code);
    };
    let load = |path: &Path| load(output, path, !arguments.no_files);
    let (Some(old), Some(new)) = (load(old), load(new)) else { return Exit::Config };
    let differences = Differences { changes: config::diff::changes(&old, &new) };
    output.answer(&differences, || text(&differences));
    match arguments.exit_code && !differences.changes.is_empty() {
        true => Exit::Differs,
        false => Exit::Done,
    }
}

/// A file's configuration; its problems are printed if there is none.
fn load(output: &Output, path: &Path, read_files: bool) -> Option<Config> {
    match config::load_from(path, &Environment::of_process(), read_files) {
        Ok((config, _warnings)) => Some(config),
        Err(report) => {
            let problems = render::human(&report, output.colour_of_errors);
            eprintln!("{problems}{}", render::summary(&report, path));
            None
        }
    }
}

fn text(differences: &Differences) -> String {
    match differences.changes.len() {
        0 => "nothing differs\n".to_owned(),
        _ => differences.changes.iter().map(|change| format!("{change}\n")).collect(),
    }
}
