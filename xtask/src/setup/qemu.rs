//! QEMU, which boots the kernels of the tier `boot`: the machine's own, else Debian's, unpacked into `.tools/qemu`.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{
    needs::{Remedy, State},
    unpacked,
};
use crate::{paths, process};

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// For `setup`: an emulator that starts. Where it cannot be had nothing is missing: the tier is skipped, loudly.
pub fn look() -> State {
    let missing = || State::Missing { reason: "not installed".into(), remedy: Remedy::Steps(fetch) };
    match version() {
        Ok(version) => State::Present(version),
        Err(_) if unpacked::possible() => missing(),
        Err(_) => State::Present(unpacked::NOT_HERE.into()),
    }
}

fn version() -> Result<String> {
    let mut command = match paths::executable(PROGRAM) {
        Some(path) => Command::new(path),
        None => {
            let mut command = Command::new(folder().join("usr/bin").join(PROGRAM));
            command.env("LD_LIBRARY_PATH", libraries().context("no path")?);
            command
        }
    };
    let said = process::capture(command.arg("--version"))?;
    Ok(said.lines().next().unwrap_or(PROGRAM).chars().take(60).collect())
}

fn folder() -> PathBuf {
    paths::tools().join("qemu")
}

/// Debian's libraries lie in two folders as long as nothing has merged them.
fn libraries() -> Option<std::ffi::OsString> {
    let folders = ["usr/lib", "lib"].map(|lib| folder().join(lib).join("x86_64-linux-gnu"));
    std::env::join_paths(folders).ok()
}

fn fetch() -> Result<()> {
    unpacked::with_fresh_lists(|| {
        let packages = unpacked::closure(PACKAGE, "qemu")?;
        let task = format!("downloading {} packages for QEMU, not to be installed", packages.len());
        unpacked::unpack(&packages, &folder(), &task)
    })?;
    version().map(drop).context("the unpacked QEMU does not start")
}
