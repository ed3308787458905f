//! `portcullis completions`: a completion script for a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub fn run(output: &Output, arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "portcullis", &mut script);
    output.raw(&String::from_utf8_lossy(&script));
    Exit::Done
}
