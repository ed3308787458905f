//! `portcullis fmt`: configuration files in the one layout.

use std::io::Read;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::config::files::{self, Files, Fingerprint};
use crate::config::format::{self, Error};
use crate::config::overlay::Overlay;
use crate::config::store;
use crate::diagnostic::render;

use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The files, or `-` for standard input; if not given, all that the configuration of --config is made of.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing; name the files that are not formatted, and exit with 1 if there are any.
    #[arg(long)]
    check: bool,
    /// Write nothing; show what would change.
    #[arg(long)]
    diff: bool,
    /// Leave the `=` of neighbours where their keys end.
    #[arg(long)]
    no_align: bool,
}

/// Formats, or looks.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let mut files = arguments.files.clone();
    if files.is_empty() {
        let folder = files::folder(&common.config);
        let known = Files::read(&common.config, &Overlay::default());
        files.extend(known.iter().map(|file| folder.join(&file.path)));
        if files.is_empty() {
            // So that it is said why it cannot be read.
            files.push(common.config.clone());
        }
    }
    let mut exit = Exit::Done;
    for file in &files {
        let done = format_one(common, output, arguments, file);
        if done != Exit::Done && exit != Exit::Config {
            exit = done;
        }
    }
    exit
}

fn format_one(common: &Common, output: &Output, arguments: &Arguments, path: &Path) -> Exit {
    let piped = path == Path::new("-");
    let shown = if piped { Path::new("standard input") } else { path };
    let read = if piped { read_input() } else { std::fs::read_to_string(path) };
    let text = match read {
        Ok(text) => text,
        Err(error) => {
            output.complain(format!("{} cannot be read: {error}", shown.display()));
            return Exit::Failed;
        }
    };
    let formatted = match format::format(shown, &text, !arguments.no_align) {
        Ok(formatted) => formatted,
        Err(Error::Syntax(report)) => {
            eprint!("{}", render::human(&report, output.colour_of_errors));
            return Exit::Config;
        }
        Err(error) => {
            output.complain(format!("{}: {error}", shown.display()));
            return Exit::Failed;
        }
    };
    let differs = formatted != text;
    if differs && arguments.diff {
        let name = shown.display();
        let diff = TextDiff::from_lines(text.as_str(), formatted.as_str());
        let (old, new) = (format!("{name}"), format!("{name} (formatted)"));
        output.raw(&diff.unified_diff().header(&old, &new).to_string());
    }
    match (differs, arguments.check, arguments.diff) {
        (true, true, diff) => {
            if !diff {
                output.raw(&format!("{}\n", shown.display()));
            }
            Exit::Failed
        }
        (_, _, true) | (_, true, _) => Exit::Done,
        _ if piped => {
            output.raw(&formatted);
            Exit::Done
        }
        (false, ..) => Exit::Done,
        (true, ..) => write(common, output, path, &text, &formatted),
    }
}

fn write(common: &Common, output: &Output, path: &Path, text: &str, formatted: &str) -> Exit {
    match store::replace(path, &Fingerprint::of(text.as_bytes()), formatted) {
        Ok(()) => {
            if !common.quiet {
                output.raw(&format!("formatted {}\n", path.display()));
            }
            Exit::Done
        }
        Err(error) => {
            output.error(&error);
            Exit::Failed
        }
    }
}

fn read_input() -> std::io::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
