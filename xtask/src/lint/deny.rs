//! Licences, sources, duplicates and advisories of all dependencies, by cargo-deny under the rules of `deny.toml`.
//!
//! The advisories come from a database on the network. Offline, that one check is left out, and said to be.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    paths, process,
    setup::needs::{Remedy, State},
};

/// The release that is built; a change here builds it anew everywhere.
const VERSION: &str = "0.20.2";

/// For `setup`: a cargo-deny of the right version.
pub fn look() -> State {
    let path = program();
    let version = process::capture(Command::new(&path).arg("--version"));
    match version {
        Ok(version) if version.split_whitespace().any(|word| word == VERSION) => {
            State::Present(format!("{VERSION} in {}", paths::short(&path)))
        }
        _ => State::Missing { reason: format!("{VERSION} is not built yet"), remedy: Remedy::Steps(build) },
    }
}

/// Checks both lock files.
pub fn check() -> Result<()> {
    let manifests = [paths::root().join("Cargo.toml"), paths::ebpf_crate().join("Cargo.toml")];
    for manifest in &manifests {
        process::run(deny(manifest).args(["bans", "licenses", "sources"]))?;
    }
    manifests.iter().try_for_each(|manifest| advisories(manifest))
}

fn advisories(manifest: &Path) -> Result<()> {
    let output = deny(manifest).arg("advisories").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    if no_database(&text) {
        println!("    SKIPPED advisories of {}: their database cannot be fetched", paths::short(manifest));
        return Ok(());
    }
    eprint!("{text}");
    bail!("there are advisories for {}", paths::short(manifest))
}

fn deny(manifest: &Path) -> Command {
    let mut command = Command::new(program());
    process::scrub(&mut command);
    command.current_dir(paths::root()).arg("--manifest-path").arg(manifest);
    command.arg("--config").arg(paths::root().join("deny.toml"));
    command.args(["--log-level", "warn", "--all-features", "check", "--hide-inclusion-graph"]);
    command
}

/// Whether cargo-deny failed for want of its database and not because of what is in it.
fn no_database(text: &str) -> bool {
    text.contains("failed to fetch advisory database") || text.contains("failed to load advisory database")
}

fn program() -> std::path::PathBuf {
    paths::tools_bin().join("cargo-deny")
}

fn build() -> Result<()> {
    let mut command = process::cargo();
    command
        .args(["install", "cargo-deny", "--version", VERSION, "--locked", "--force", "--root"])
        .arg(paths::tools());
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    let task = format!("building cargo-deny {VERSION} (about 3 min, once)");
    process::run_logged(&mut command, &task, &paths::tools().join("cargo-deny.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_database_is_told_from_an_advisory() {
        assert!(no_database("ERROR failed to fetch advisory database https://example.org/db"));
        assert!(!no_database("error[vulnerability]: a crate has a hole"));
    }
}
