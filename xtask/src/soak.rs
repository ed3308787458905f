//! `cargo xtask soak`: a real gateway with its kernel stage, under bans, reloads and kills of chance, whose lists must
//! agree all the time. A number of steps of the same is in the tier `network`.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    build::{self, Profile},
    duration,
    privilege::Privilege,
    process, setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// For how long
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration::read)]
    time: Duration,
    /// The seed of what happens
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The verb itself.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Verb::Test)?;
    let gateway = build::gateway(Profile::Dev)?;
    process::run(process::cargo().args(["build", "--package", "tests", "--bin", "soak"]))?;
    let Some(mut command) =
        Privilege::current().command(Profile::Dev.folder().join("soak"), &["PORTCULLIS_BIN"])
    else {
        bail!("the soak needs root to make namespaces and load the kernel program, and there is no sudo");
    };
    command.args(["--seconds", &arguments.time.as_secs().to_string()]);
    command.args(["--seed", &arguments.seed.to_string()]).env("PORTCULLIS_BIN", gateway);
    process::run(&mut command)
}
