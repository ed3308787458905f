//! CrowdSec, whose decisions a test follows, and its firewall bouncer, which `bench reaction` measures: those of the
//! machine, else Debian's, unpacked into
//! `.tools/crowdsec`. Installing the package would start a service and register the machine with a central one.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{
    needs::{Remedy, State},
    unpacked,
};
use crate::paths;

const PACKAGES: [&str; 2] = ["crowdsec", "crowdsec-firewall-bouncer"];

/// For `setup`: an engine that starts. Where it cannot be had nothing is missing: the test is skipped, and its row is left out of the bench.
pub fn look() -> State {
    match version() {
        Ok(version) => State::Present(version),
        // An archive that cannot be asked may have them.
        Err(_) if unpacked::possible() && unpacked::is_listed(PACKAGES[1]).unwrap_or(true) => {
            State::Missing { reason: "not here".into(), remedy: Remedy::Steps(fetch) }
        }
        Err(_) => State::Present("not to be had here: left out".into()),
    }
}

fn version() -> Result<String> {
    let unpacked = folder().join("usr/bin/crowdsec");
    let program = match paths::executable("crowdsec") {
        Some(installed) if !unpacked.exists() => installed,
        _ => unpacked,
    };
    // It tells on standard error.
    let output = Command::new(&program).arg("-version").output();
    let output = output.with_context(|| format!("{} does not start", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = said.lines().find_map(|line| line.split_once("version: "));
    Ok(version.context("it tells no version")?.1.chars().take(60).collect())
}

fn folder() -> PathBuf {
    paths::tools().join("crowdsec")
}

fn fetch() -> Result<()> {
    unpacked::with_fresh_lists(|| {
        let task = "downloading CrowdSec and its bouncer, not to be installed";
        unpacked::unpack(&PACKAGES.map(str::to_owned), &folder(), task)
    })?;
    version().map(drop).context("the unpacked CrowdSec does not start")
}
