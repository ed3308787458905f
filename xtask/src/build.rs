//! `cargo xtask build`: the kernel program, then the gateway that embeds it.

use std::path::PathBuf;

use anyhow::Result;

use crate::{build_ebpf, paths, process, setup};

#[derive(clap::Args)]
pub struct Arguments {
    /// Optimise fully, as for an installation (slower to build)
    #[arg(long)]
    release: bool,
}

/// How much the compiler optimises; the names are cargo profiles of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For tests: debug assertions and overflow checks on.
    Dev,
    /// For a first look: optimised, without link-time optimisation, so that it builds in a fraction of the time.
    Quick,
    /// For installing and measuring.
    Release,
}

impl Profile {
    /// The name that `cargo --profile` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Quick => "quick",
            Self::Release => "release",
        }
    }

    /// The folder with the products, under cargo's target folder.
    pub fn folder(self) -> PathBuf {
        let name = if self == Self::Dev { "debug" } else { self.name() };
        paths::target().join(name)
    }
}

/// The verb itself.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Verb::Build)?;
    let binary = gateway(if arguments.release { Profile::Release } else { Profile::Dev })?;
    println!("{}", paths::short(&binary));
    Ok(())
}

/// Builds the kernel program and the gateway, and returns the path of the gateway.
pub fn gateway(profile: Profile) -> Result<PathBuf> {
    process::announce("build: kernel program");
    build_ebpf::build()?;
    process::announce(&format!("build: gateway ({})", profile.name()));
    let mut command = process::cargo();
    command.args([
        "build",
        "--package",
        "gateway-userspace",
        "--bin",
        "portcullis",
        "--profile",
        profile.name(),
    ]);
    process::run(&mut command)?;
    Ok(profile.folder().join("portcullis"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_one_that_cargo_knows() {
        let manifest = std::fs::read_to_string(paths::root().join("Cargo.toml")).unwrap();
        for profile in [Profile::Quick, Profile::Release] {
            assert!(manifest.contains(&format!("[profile.{}]", profile.name())), "{}", profile.name());
        }
        assert!(Profile::Dev.folder().ends_with("debug"));
    }
}
