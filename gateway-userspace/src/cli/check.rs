//! `portcullis check`: every problem of a configuration, in one run.

use std::path::{Path, PathBuf};

use crate::config::{self, Environment};
use crate::diagnostic::{Report, render};

use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file; if not given, that of --config.
    file: Option<PathBuf>,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Do not open the certificates and keys that the file names, as on a machine that does not have them.
    #[arg(long)]
    no_files: bool,
}

/// How problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// With the line, a caret and what to do.
    Human,
    /// One line each: path:line:column: message.
    Short,
    /// One JSON object.
    Json,
    /// Annotations of GitHub Actions.
    Github,
}

/// Checks and prints.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let file = arguments.file.as_deref().unwrap_or(&common.config);
    let (report, exit) = match config::load_from(file, &Environment::of_process(), !arguments.no_files) {
        Ok((_, warnings)) => (warnings, Exit::Done),
        Err(report) => (report, Exit::Config),
    };
    let format = if common.json { Format::Json } else { arguments.format };
    if !common.quiet || exit != Exit::Done {
        output.raw(&show(&report, file, format, output.colour));
    }
    exit
}

fn show(report: &Report, file: &Path, format: Format, colour: bool) -> String {
    match format {
        Format::Human => format!("{}{}\n", render::human(report, colour), render::summary(report, file)),
        Format::Short => format!("{}{}\n", render::lines(report), render::summary(report, file)),
        Format::Json => format!("{}\n", render::json(report, file)),
        Format::Github => render::github(report),
    }
}
