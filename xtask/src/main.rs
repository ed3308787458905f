//! `cargo xtask`: every command that builds, runs, tests or measures the project.
//!
//! Each verb is one module. `build`, `run`, `test`, `bench` and `lint` call `setup` for what they need, so that a
//! fresh clone needs no other step. Exit codes: 0 all went well, 1 something failed (the reason is on standard
//! error), 2 the arguments are wrong; `run` ends with the exit code of the gateway itself.

mod bench;
mod build;
mod build_ebpf;
mod duration;
mod fuzz;
mod lint;
mod paths;
mod privilege;
mod process;
mod run;
mod setup;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds, runs, tests and measures Portcullis"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List what this machine lacks, then install it
    Setup(setup::Arguments),
    /// Build the kernel program and the gateway
    Build(build::Arguments),
    /// Build the kernel program alone and report its size, instructions and maps
    BuildEbpf(build_ebpf::Arguments),
    /// Build, then start the demo, or the gateway with `-- --config FILE`
    Run(run::Arguments),
    /// Run every test and print one summary
    Test(test::Arguments),
    /// Measure packets and requests against other programs on this machine
    Bench(bench::Arguments),
    /// Try inputs on what parses bytes of strangers, until one is wrong
    Fuzz(fuzz::Arguments),
    /// Treat a gateway badly for a while, and see whether its lists still agree
    Soak(soak::Arguments),
    /// Formatting, clippy for both targets, dependencies, tidy
    Lint,
    /// Check the rules of the source tree that the compiler does not know
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Setup(arguments) => setup::main(&arguments),
        Verb::Build(arguments) => build::main(&arguments),
        Verb::BuildEbpf(arguments) => build_ebpf::main(&arguments),
        Verb::Run(arguments) => run::main(&arguments),
        Verb::Test(arguments) => test::main(&arguments),
        Verb::Bench(arguments) => bench::main(&arguments),
        Verb::Fuzz(arguments) => fuzz::main(&arguments),
        Verb::Soak(arguments) => soak::main(&arguments),
        Verb::Lint => lint::main(),
        Verb::Tidy => tidy::main(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
