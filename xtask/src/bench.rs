//! `cargo xtask bench`: builds the gateway for release and runs the measuring programs of the package `tests`.
//!
//! Those are built with the profile `quick`: linking each of them as a release takes minutes, and what they measure is
//! not themselves.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{
    build::{self, Profile},
    privilege::Privilege,
    process, setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Which benches [default: all]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(BENCHES))]
    names: Vec<String>,
    /// Write the figures as JSON too; with several benches the bench's name goes in front of the extension
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// For the bench itself
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Every bench; NAME is the binary `bench-NAME` of the package `tests`.
const BENCHES: [&str; 5] = ["packet", "attack", "reaction", "reload", "request"];

/// The verb itself: one bench after the other, all of them even if one fails.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Verb::Bench)?;
    let gateway = build::gateway(Profile::Release)?;
    let all: Vec<String> = BENCHES.map(str::to_owned).into();
    let names = if arguments.names.is_empty() { &all } else { &arguments.names };
    let mut failed = Vec::new();
    for name in names {
        process::announce(&format!("bench: {name}"));
        let json = arguments
            .json
            .as_deref()
            .map(|file| if names.len() > 1 { file_of(file, name) } else { file.into() });
        if let Err(error) = measure(name, json.as_deref(), &gateway, &arguments.arguments) {
            eprintln!("error: {error:#}");
            failed.push(name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn measure(name: &str, json: Option<&Path>, gateway: &Path, arguments: &[String]) -> Result<()> {
    let binary = format!("bench-{name}");
    let mut build = process::cargo();
    let profile = Profile::Quick;
    process::run(build.args(["build", "--profile", profile.name(), "--package", "tests", "--bin", &binary]))?;
    let program = profile.folder().join(&binary);
    let Some(mut command) = Privilege::current().command(program, &["PORTCULLIS_BIN"]) else {
        bail!("{binary} needs root to pin processors and load programs, and there is no sudo");
    };
    if let Some(file) = json {
        command.arg("--json").arg(file);
    }
    process::run(command.args(arguments).env("PORTCULLIS_BIN", gateway))
}

/// `out.json` for the bench `packet` is `out.packet.json`.
fn file_of(file: &Path, name: &str) -> PathBuf {
    let extension =
        file.extension().map(|text| text.to_string_lossy().into_owned()).unwrap_or_else(|| "json".into());
    file.with_extension(format!("{name}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_benches_write_several_files() {
        assert_eq!(file_of(Path::new("a/out.json"), "packet"), Path::new("a/out.packet.json"));
        assert_eq!(file_of(Path::new("out"), "request"), Path::new("out.request.json"));
    }
}
