//! `cargo xtask fuzz`: runs a fuzzer of `tests/fuzz`, built with assertions and overflow checks.
//!
//! An input that goes wrong is left in `target/fuzz`. The same fuzzers run with a fixed number of inputs in
//! `cargo xtask test`.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;

use crate::{build::Profile, duration, paths, process, setup};

#[derive(clap::Args)]
pub struct Arguments {
    /// What to fuzz
    #[arg(value_enum)]
    target: Target,
    /// For how long
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration::read)]
    time: Duration,
    /// The seed of the inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try one input again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["time", "seed"])]
    input: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// The kernel program, on frames
    Packet,
    /// The parser of lists of addresses
    List,
    /// Our HTTP/1, held against hyper's
    Http,
}

/// The verb itself.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Verb::Build)?;
    process::run(process::cargo().args(["build", "--package", "fuzz"]))?;
    let mut command = std::process::Command::new(Profile::Dev.folder().join("fuzz"));
    command.arg(match arguments.target {
        Target::Packet => "packet",
        Target::List => "list",
        Target::Http => "http",
    });
    command.arg("--folder").arg(paths::target().join("fuzz"));
    match &arguments.input {
        Some(file) => command.arg("--input").arg(file),
        None => command
            .args(["--seconds", &arguments.time.as_secs().to_string()])
            .args(["--seed", &arguments.seed.to_string()]),
    };
    process::run(&mut command)
}
