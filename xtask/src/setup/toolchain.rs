//! The compiler of the kernel program: one that can build `core` for `bpfel-unknown-none`.
//!
//! Two are good: a rustup nightly that has the `rust-src` component, and Debian's `rustc-web`, a stable compiler
//! packaged together with its own library source, asked by `RUSTC_BOOTSTRAP=1` to allow `-Z build-std`. The first is
//! preferred because whoever has it chose it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::needs::{Remedy, State, packages_or_by_hand};
use crate::{paths, process};

/// The target of the kernel program.
pub const TARGET: &str = "bpfel-unknown-none";
/// Debian's packages for [`Toolchain::Debian`].
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// The oldest stable release whose compiler builds aya-ebpf in edition 2024.
const DEBIAN_RUSTC_MIN: (u32, u32) = (1, 87);

/// A compiler that can build the kernel program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// A rustup toolchain of this name.
    Nightly(String),
    /// Debian's own compiler under `/usr`.
    Debian,
}

impl Toolchain {
    /// The toolchain that will build the kernel program, if there is one.
    pub fn find() -> Option<Self> {
        nightly().or_else(debian)
    }

    /// `cargo SUBCOMMAND` of this toolchain, free of every setting that another toolchain left in the environment.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Nightly(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo", subcommand]);
                command
            }
            // Cargo would look for its subcommands in ~/.cargo/bin first and find those of rustup there.
            Self::Debian if subcommand == "clippy" => {
                let mut command = Command::new(format!("{DEBIAN_CARGO}-clippy"));
                command.arg("clippy");
                command
            }
            Self::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.arg(subcommand);
                command
            }
        };
        process::scrub(&mut command);
        for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
            if names_another_toolchain(&name) {
                command.env_remove(name);
            }
        }
        if *self == Self::Debian {
            command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC).env("CARGO", DEBIAN_CARGO);
        }
        command.env("PATH", path_with_tools()).current_dir(paths::ebpf_crate());
        command
    }

    /// The major version of the LLVM inside the compiler: the linker must not be older.
    pub fn llvm(&self) -> Result<u32> {
        let mut command = match self {
            Self::Nightly(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "rustc"]);
                command
            }
            Self::Debian => Command::new(DEBIAN_RUSTC),
        };
        process::scrub(&mut command);
        let text = process::capture(command.arg("-vV"))?;
        llvm_major(&text).with_context(|| format!("`{}` names no LLVM version", process::line(&command)))
    }

    fn describe(&self) -> String {
        match self {
            Self::Nightly(name) => format!("rustup {name} with rust-src"),
            Self::Debian => format!("{DEBIAN_RUSTC} with rust-web-src"),
        }
    }
}

/// For `setup`: whether there is a compiler.
pub fn look() -> State {
    if let Some(toolchain) = Toolchain::find() {
        return State::Present(toolchain.describe());
    }
    let reason = "no rustup nightly with rust-src and no Debian rustc-web".to_owned();
    let remedy = match (paths::executable("apt-get"), paths::executable("rustup")) {
        (Some(_), _) => Remedy::Packages(PACKAGES.to_vec()),
        (None, Some(_)) => Remedy::Steps(install_nightly),
        (None, None) => Remedy::ByHand("install rustup, then run this again".into()),
    };
    State::Missing { reason, remedy }
}

/// For `setup`: clippy of the same toolchain.
pub fn look_for_clippy() -> State {
    match Toolchain::find() {
        Some(Toolchain::Nightly(name)) if toolchain_folder(&name).join("bin/cargo-clippy").exists() => {
            State::Present(format!("rustup {name}"))
        }
        Some(Toolchain::Nightly(name)) => State::Missing {
            reason: format!("rustup {name} has no clippy"),
            remedy: Remedy::ByHand(format!("run `rustup component add clippy --toolchain {name}`")),
        },
        _ if Path::new("/usr/bin/cargo-clippy").exists() => State::Present("/usr/bin/cargo-clippy".into()),
        _ => State::Missing {
            reason: "not installed".into(),
            remedy: packages_or_by_hand(vec!["rust-web-clippy"], || {
                "install clippy of the eBPF compiler".into()
            }),
        },
    }
}

fn install_nightly() -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    command.args(["--component", "rust-src", "--component", "clippy"]);
    process::run(&mut command)
}

fn nightly() -> Option<Toolchain> {
    let folders = fs::read_dir(rustup_home().join("toolchains")).ok()?;
    let names = folders.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // Dated nightlies sort before `nightly-x86_64-…`, so the moving one is taken first.
    let usable = |name: &String| name.starts_with("nightly-") && has_source(&toolchain_folder(name));
    names.filter(usable).max().map(Toolchain::Nightly)
}

fn debian() -> Option<Toolchain> {
    if !Path::new(DEBIAN_CARGO).exists() || !has_source(Path::new("/usr")) {
        return None;
    }
    let mut command = Command::new(DEBIAN_RUSTC);
    process::scrub(&mut command);
    let version = process::capture(command.arg("--version")).ok()?;
    (release(&version)? >= DEBIAN_RUSTC_MIN).then_some(Toolchain::Debian)
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists()
}

fn toolchain_folder(name: &str) -> PathBuf {
    rustup_home().join("toolchains").join(name)
}

fn rustup_home() -> PathBuf {
    let default = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".rustup");
    env::var_os("RUSTUP_HOME").map_or_else(default, PathBuf::from)
}

fn names_another_toolchain(name: &str) -> bool {
    const EXACT: [&str; 6] = [
        "RUSTUP_TOOLCHAIN",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
        "RUST_SRC",
    ];
    EXACT.contains(&name)
        || name.starts_with("RUSTC")
        || name.starts_with("RUSTDOC")
        || name.starts_with("CARGO_BUILD_")
}

fn path_with_tools() -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(paths::tools_bin()).chain(env::split_paths(&path));
    // A folder with a colon in its name cannot be on PATH at all; then the linker is not found and cargo says so.
    env::join_paths(folders).unwrap_or(path)
}

/// `LLVM version: 22.1.8` in the answer of `rustc -vV`.
fn llvm_major(text: &str) -> Option<u32> {
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// `rustc 1.96.0 (…)` as (1, 96).
fn release(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(1)?.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_version_is_read_from_the_verbose_version() {
        assert_eq!(llvm_major("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }

    #[test]
    fn releases_compare_as_numbers() {
        assert_eq!(release("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some((1, 96)));
        assert_eq!(release("rustc 1.98.0-nightly (abc 2026-09-01)"), Some((1, 98)));
        assert!(release("rustc 1.63.0 (Debian)").unwrap() < DEBIAN_RUSTC_MIN);
        assert_eq!(release("garbage"), None);
    }

    #[test]
    fn settings_of_another_toolchain_are_dropped_and_settings_of_the_network_kept() {
        for name in
            ["RUSTC", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"]
        {
            assert!(names_another_toolchain(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "PATH"] {
            assert!(!names_another_toolchain(name), "{name}");
        }
    }

    #[test]
    fn debians_clippy_is_not_looked_up_where_rustup_keeps_its_own() {
        let command = Toolchain::Debian.cargo("clippy");
        assert_eq!(command.get_program(), "/usr/bin/cargo-clippy");
        assert!(command.get_envs().any(|(name, value)| name == "RUSTC" && value.is_some()));
        assert!(Toolchain::Debian.cargo("build").get_program() == DEBIAN_CARGO);
    }
}
