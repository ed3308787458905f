//! `cargo xtask build-ebpf`: compiles the kernel program and reports what came out.
//!
//! The objects land in `target/ebpf/NAME.bpf.o`, one per binary of the crate `gateway-ebpf`; the gateway embeds
//! `portcullis.bpf.o`. An object is only rewritten when its bytes changed, so that an unchanged kernel program does
//! not make cargo rebuild the gateway. With `--verify` the kernel's verifier judges each program, and its log is
//! shown when it refuses.

mod report;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use self::report::Report;
use crate::{
    paths, process,
    setup::{self, toolchain},
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Load each program into the kernel (as root or through sudo) and show the verifier's log if it refuses
    #[arg(long)]
    verify: bool,
    /// Only load these objects; what `--verify` runs as root
    #[arg(long, hide = true, num_args = 1..)]
    load: Vec<PathBuf>,
}

/// The verb itself.
pub fn main(arguments: &Arguments) -> Result<()> {
    if !arguments.load.is_empty() {
        return arguments.load.iter().try_for_each(|object| verify::load(object));
    }
    setup::ensure(setup::Verb::Build)?;
    let objects = build()?;
    for object in &objects {
        let bytes = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
        let report =
            Report::read(&bytes).with_context(|| format!("{} is no eBPF object", object.display()))?;
        println!("\n{} ({} bytes)\n{report}", paths::short(object), bytes.len());
    }
    if arguments.verify {
        verify::as_root(&objects)?;
    }
    Ok(())
}

/// Compiles the kernel program and returns its objects in `target/ebpf`. The needs of `setup` must be met.
pub fn build() -> Result<Vec<PathBuf>> {
    let Some(compiler) = toolchain::Toolchain::find() else {
        bail!("there is no compiler for the kernel program; `cargo xtask setup build` installs one");
    };
    if !paths::ebpf_crate().join("Cargo.toml").exists() {
        bail!("{} has no Cargo.toml: the kernel program's source is missing", paths::ebpf_crate().display());
    }
    let mut command = compiler.cargo("build");
    command.args(["--release", "--target", toolchain::TARGET, "-Z", "build-std=core"]);
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let child = process::spawn(&mut command)?;
    let output =
        child.wait_with_output().with_context(|| format!("waiting for `{}`", process::line(&command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {} in gateway-ebpf", process::line(&command), output.status);
    }
    let built = executables(&String::from_utf8_lossy(&output.stdout));
    if built.is_empty() {
        bail!("`{}` built no program", process::line(&command));
    }
    built.iter().map(|program| publish(program)).collect()
}

/// The executables named in cargo's messages (one JSON object per line).
fn executables(messages: &str) -> Vec<PathBuf> {
    let values = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    values.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?))).collect()
}

/// Copies `program` to its place in `target/ebpf`, by rename, so that no reader ever sees half of it.
fn publish(program: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("cargo named an executable without a file name")?;
    let folder = paths::ebpf_objects();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let place = folder.join(name).with_extension("bpf.o");
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    if fs::read(&place).is_ok_and(|old| old == bytes) {
        return Ok(place);
    }
    let fresh = place.with_extension(format!("o.{}", std::process::id()));
    fs::write(&fresh, bytes).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, &place).with_context(|| format!("cannot write {}", place.display()))?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_messages_and_other_lines_passed_over() {
        let messages = r#"{"reason":"compiler-artifact","executable":null}
not json at all
{"reason":"compiler-artifact","executable":"/t/release/portcullis"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages), [PathBuf::from("/t/release/portcullis")]);
    }
}
