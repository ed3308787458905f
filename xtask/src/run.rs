//! `cargo xtask run`: from a fresh clone to a running gateway.
//!
//! Without `--config` it starts `portcullis demo`, with it `portcullis run`. Only the gateway becomes root, never
//! cargo. This process is replaced by the gateway, so signals and the exit code are the gateway's own.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::{
    build::{self, Profile},
    privilege::Privilege,
    process, setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// For the gateway: `--once` ends the demo after its last step, `--config FILE` serves for real
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Variables that the gateway understands and sudo would drop.
const KEEP: [&str; 4] = ["RUST_LOG", "RUST_BACKTRACE", "NO_COLOR", "SSH_CONNECTION"];

/// The verb itself; returns only if the gateway could not be started.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Verb::Run)?;
    let binary = build::gateway(Profile::Quick)?;
    // Without any way to root it starts as it is: it serves without its kernel stage, or says itself what it lacks.
    let mut command = Privilege::current().command(&binary, &KEEP).unwrap_or_else(|| Command::new(&binary));
    command.args(gateway_arguments(&arguments.arguments));
    process::scrub(&mut command);
    process::announce(&process::line(&command));
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::line(&command)))
}

/// The arguments with the verb of the gateway that they are meant for in front.
fn gateway_arguments(arguments: &[String]) -> Vec<String> {
    let names_config = |argument: &String| {
        argument == "--config"
            || argument.starts_with("--config=")
            || argument == "-c"
            || argument.starts_with("-c=")
    };
    let verb = if arguments.iter().any(names_config) { "run" } else { "demo" };
    std::iter::once(verb.to_owned()).chain(arguments.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Vec<String> {
        gateway_arguments(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_config_the_demo_starts_and_gets_its_flags() {
        assert_eq!(given(&[]), ["demo"]);
        assert_eq!(given(&["--once"]), ["demo", "--once"]);
    }

    #[test]
    fn with_a_config_the_gateway_starts_for_real() {
        assert_eq!(given(&["--config", "x.toml"]), ["run", "--config", "x.toml"]);
        assert_eq!(given(&["--config=x.toml"]), ["run", "--config=x.toml"]);
        assert_eq!(given(&["-c", "x.toml"]), ["run", "-c", "x.toml"]);
    }
}
