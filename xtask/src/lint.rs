//! `cargo xtask lint`: formatting, clippy with warnings as errors for both targets, dependencies, tidy.
//!
//! Every check runs even when an earlier one failed.

pub mod deny;

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{
    build_ebpf, paths, process,
    setup::{self, toolchain},
    tidy,
};

/// A check with the name that the report uses.
type Check = (&'static str, fn() -> Result<()>);

/// The checks in their order.
const CHECKS: &[Check] = &[
    ("format", format),
    ("tidy", tidy::main),
    ("clippy: workspace", clippy_workspace),
    ("clippy: kernel program", clippy_kernel_program),
    ("dependencies", deny::check),
];

/// The verb itself.
pub fn main() -> Result<()> {
    setup::ensure(setup::Verb::Lint)?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        process::announce(&format!("lint: {name}"));
        let started = Instant::now();
        match check() {
            Ok(()) => println!("    {name}: clean in {}", process::elapsed(started)),
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                failed.push(*name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("{} of {} checks failed: {}", failed.len(), CHECKS.len(), failed.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    let hint = "`cargo fmt --all` mends it, in gateway-ebpf too";
    process::run(process::cargo().args(["fmt", "--all", "--check"])).context(hint)?;
    let manifest = paths::ebpf_crate().join("Cargo.toml");
    process::run(process::cargo().args(["fmt", "--check", "--manifest-path"]).arg(manifest)).context(hint)
}

fn clippy_workspace() -> Result<()> {
    // The gateway embeds the kernel program, so clippy cannot expand it without one.
    build_ebpf::build()?;
    process::run(process::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

fn clippy_kernel_program() -> Result<()> {
    let Some(compiler) = toolchain::Toolchain::find() else {
        bail!("there is no compiler for the kernel program")
    };
    let mut command = compiler.cargo("clippy");
    command.args([
        "--release",
        "--target",
        toolchain::TARGET,
        "-Z",
        "build-std=core",
        "--",
        "--deny",
        "warnings",
    ]);
    process::run(&mut command)
}
