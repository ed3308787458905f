//! bpf-linker, built once from source into the repository's `.tools` folder.
//!
//! It links LLVM itself, and that LLVM must be at least as new as the one that wrote the bitcode, so the version
//! follows the eBPF compiler ([`Toolchain::llvm`]). Versions of LLVM that bpf-linker 0.13 knows: 21 to 23.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    needs::{Remedy, State, packages_or_by_hand},
    toolchain::Toolchain,
};
use crate::{paths, process};

/// The release that is built; a change here builds it anew everywhere.
const VERSION: &str = "0.13.0";
/// What Debian's own eBPF compiler brings, and what is assumed before one is installed.
const LLVM_OF_DEBIAN: u32 = 22;
const LLVM_MAX: u32 = 23;

/// For `setup`: the LLVM to build the linker with. Not needed any more once the linker stands.
pub fn look_for_llvm() -> State {
    if let State::Present(_) = look() {
        return State::Present("inside bpf-linker".into());
    }
    match llvm_prefix() {
        Some((_, prefix)) => State::Present(prefix.display().to_string()),
        None => {
            let major = wanted_llvm();
            let reason = format!("no LLVM {major} to build bpf-linker with");
            State::Missing { reason, remedy: packages_or_by_hand(packages(major), || by_hand(major)) }
        }
    }
}

/// For `setup`: a linker of the right version that starts.
pub fn look() -> State {
    let missing = |reason| State::Missing { reason, remedy: Remedy::Steps(build) };
    let path = paths::tools_bin().join("bpf-linker");
    if !path.exists() {
        return missing("not built yet".to_owned());
    }
    match process::capture(Command::new(&path).arg("--version")) {
        Ok(version) if version.split_whitespace().any(|word| word == VERSION) => match built_with_llvm() {
            Some(llvm) if llvm < wanted_llvm() => {
                missing(format!("has LLVM {llvm}, older than that of the eBPF compiler ({})", wanted_llvm()))
            }
            _ => State::Present(format!("{VERSION} in {}", paths::short(&path))),
        },
        Ok(version) => missing(format!("is {}, not {VERSION}", version.trim())),
        Err(error) => missing(format!("does not start: {error:#}")),
    }
}

fn build() -> Result<()> {
    let Some((major, prefix)) = llvm_prefix() else { bail!("{}", by_hand(wanted_llvm())) };
    let mut command = process::cargo();
    command.args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"]);
    command.args(["--no-default-features", "--features", &format!("llvm-{major}")]);
    command.arg("--root").arg(paths::tools());
    command.env("LLVM_PREFIX", &prefix).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    let task = format!("building bpf-linker {VERSION} with LLVM {major} (about 2 min, once)");
    process::run_logged(&mut command, &task, &paths::tools().join("bpf-linker.log"))?;
    let linker = paths::tools_bin().join("bpf-linker");
    process::capture(Command::new(&linker).arg("--version")).context("the new bpf-linker does not start")?;
    Ok(())
}

/// The version of LLVM that the eBPF compiler speaks.
fn wanted_llvm() -> u32 {
    Toolchain::find().and_then(|toolchain| toolchain.llvm().ok()).unwrap_or(LLVM_OF_DEBIAN)
}

/// The LLVM that the linker was built with, by the record that `cargo install` keeps; none for a linker that
/// somebody put there by hand.
fn built_with_llvm() -> Option<u32> {
    llvm_in_record(&fs::read_to_string(paths::tools().join(".crates2.json")).ok()?)
}

fn llvm_in_record(record: &str) -> Option<u32> {
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    let installs = record.get("installs")?.as_object()?;
    let (_, linker) = installs.iter().find(|(name, _)| name.starts_with("bpf-linker "))?;
    let features = linker.get("features")?.as_array()?;
    features.iter().find_map(|feature| feature.as_str()?.strip_prefix("llvm-")?.parse().ok())
}

/// The oldest installed LLVM that is new enough, with its headers and library.
fn llvm_prefix() -> Option<(u32, PathBuf)> {
    let known = wanted_llvm()..=LLVM_MAX;
    known.clone().find_map(|major| Some((major, PathBuf::from(debian_prefix(major)?)))).or_else(|| {
        let version = process::capture(Command::new("llvm-config").arg("--version")).ok()?;
        let major = version.split('.').next()?.parse().ok()?;
        let prefix = process::capture(Command::new("llvm-config").arg("--prefix")).ok()?;
        known.contains(&major).then(|| (major, PathBuf::from(prefix.trim())))
    })
}

fn debian_prefix(major: u32) -> Option<String> {
    let prefix = format!("/usr/lib/llvm-{major}");
    // The headers and Polly come in packages of their own; without either the build fails late.
    let parts = ["include/llvm-c/Core.h", "lib/libLLVM.so", "lib/libPolly.a"];
    parts.iter().all(|part| Path::new(&prefix).join(part).exists()).then_some(prefix)
}

fn packages(major: u32) -> Vec<&'static str> {
    let mut names = match major {
        21 => vec!["llvm-21-dev", "libpolly-21-dev"],
        23 => vec!["llvm-23-dev", "libpolly-23-dev"],
        _ => vec!["llvm-22-dev", "libpolly-22-dev"],
    };
    names.extend(["zlib1g-dev", "libzstd-dev", "libxml2-dev", "g++"]);
    names
}

fn by_hand(major: u32) -> String {
    format!(
        "install the development files of LLVM {major} (llvm-config must be on PATH), or put a released bpf-linker \
         {VERSION} into .tools/bin"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_carry_the_version_of_the_compilers_llvm() {
        assert!(packages(22).contains(&"llvm-22-dev") && packages(23).contains(&"libpolly-23-dev"));
    }

    #[test]
    fn the_record_of_cargo_install_tells_the_llvm() {
        let record =
            r#"{"installs":{"bpf-linker 0.13.0 (registry+x)":{"features":["llvm-22"]},"y 1.0.0 (z)":{}}}"#;
        assert_eq!(llvm_in_record(record), Some(22));
        assert_eq!(llvm_in_record("{}"), None);
    }

    #[test]
    fn a_folder_without_headers_is_no_llvm() {
        assert_eq!(debian_prefix(9999), None);
    }
}
