//! The npm packages of the tests' peers, installed into `.tools/node` exactly as their lock file says.
//!
//! Scripts of packages are not run: none of them needs any, and a test peer has no business running code at its
//! installation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::needs::{Remedy, State, packages_or_by_hand};
use crate::{paths, process};

/// What the peers are written for; their packages say the same.
const NODE_MIN: u32 = 20;
/// Committed beside the scripts that use the packages.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// For `setup`: a Node.js that is new enough.
pub fn look() -> State {
    let reason = match process::capture(Command::new("node").arg("--version")) {
        Err(_) => "not installed".to_owned(),
        Ok(version) if major(&version) >= Some(NODE_MIN) => return State::Present(version.trim().to_owned()),
        Ok(version) => {
            let reason = format!("is {}, older than {NODE_MIN}", version.trim());
            let by_hand = format!("install Node.js {NODE_MIN} or newer");
            return State::Missing { reason, remedy: Remedy::ByHand(by_hand) };
        }
    };
    let remedy = packages_or_by_hand(vec!["nodejs"], || format!("install Node.js {NODE_MIN} or newer"));
    State::Missing { reason, remedy }
}

/// For `setup`: the packages, of the versions in the committed lock file.
pub fn look_for_packages() -> State {
    let missing = |reason: &str| State::Missing { reason: reason.into(), remedy: Remedy::Steps(install) };
    if !folder().join("node_modules/.package-lock.json").exists() {
        return missing("not installed yet");
    }
    match FILES.iter().all(|file| is_same(&source().join(file), &folder().join(file))) {
        true => State::Present(format!("in {}", paths::short(&folder()))),
        false => missing("installed by another lock file"),
    }
}

/// Copies the lock file last, so that a broken installation is not taken for a good one.
fn install() -> Result<()> {
    let folder = folder();
    let _ = fs::remove_dir_all(folder.join("node_modules"));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for file in FILES {
        fs::copy(source().join(file), folder.join(file)).with_context(|| format!("copying {file}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    let installed = process::run_logged(&mut npm, "installing the npm packages of the tests", &log());
    if installed.is_err() {
        let _ = fs::remove_dir_all(folder.join("node_modules"));
    }
    installed
}

fn source() -> PathBuf {
    paths::root().join("tests/peers")
}

fn folder() -> PathBuf {
    paths::tools().join("node")
}

fn log() -> PathBuf {
    paths::tools().join("npm.log")
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

/// `v20.20.2` as 20.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_node_is_compared_as_a_number() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert!(major("v9.0.0") < Some(NODE_MIN));
        assert_eq!(major("20.0.0"), None);
    }

    #[test]
    fn every_locked_package_is_pinned_by_its_digest_and_names_no_registry() {
        let lock = fs::read_to_string(source().join("package-lock.json")).unwrap();
        let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
        for (name, package) in lock["packages"].as_object().unwrap() {
            assert!(name.is_empty() || package["integrity"].is_string(), "{name}");
            assert!(package["resolved"].is_null(), "{name}");
        }
    }
}
