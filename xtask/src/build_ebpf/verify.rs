//! Lets the running kernel's verifier judge the programs, without attaching them anywhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use aya::{EbpfLoader, VerifierLogLevel, programs::Program, programs::ProgramError};

use crate::{privilege::Privilege, process};

/// Loads `objects` in a child that is root.
pub fn as_root(objects: &[PathBuf]) -> Result<()> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let Some(mut command) = Privilege::current().command(this, &[]) else {
        bail!("loading a program into the kernel needs root, and there is no sudo");
    };
    process::run(command.arg("build-ebpf").arg("--load").args(objects))
        .context("the kernel refused the program")
}

/// Loads every program of `object` into this kernel. The maps are pinned, where the object asks for that, in a folder
/// of this process alone, so that a running gateway is not touched.
pub fn load(object: &Path) -> Result<()> {
    let pins = Pins::make()?;
    let mut loader = EbpfLoader::new();
    loader
        .default_map_pin_directory(&pins.0)
        .verifier_log_level(VerifierLogLevel::VERBOSE | VerifierLogLevel::STATS);
    let loaded = loader.load_file(object);
    let mut loaded = loaded.map_err(|error| anyhow!("{}: {error}", object.display()))?;
    for (name, program) in loaded.programs_mut() {
        let Program::Xdp(xdp) = program else {
            println!("  {name}: not an XDP program, not loaded");
            continue;
        };
        match xdp.load() {
            Ok(()) => {
                let steps = xdp.info().ok().and_then(|info| info.verified_instruction_count());
                println!(
                    "  {name}: accepted, the verifier walked {} instructions",
                    steps.unwrap_or_default()
                );
            }
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                eprintln!("{verifier_log}");
                bail!("{name}: {io_error}; the verifier's log is above");
            }
            Err(error) => bail!("{name}: {error}"),
        }
    }
    Ok(())
}

/// A folder in the BPF file system that goes away with this value.
struct Pins(PathBuf);

impl Pins {
    fn make() -> Result<Self> {
        let folder = PathBuf::from(format!("/sys/fs/bpf/portcullis-verify-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // What cannot be removed here is left for the operator to see in /sys/fs/bpf.
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            drop(fs::remove_file(entry.path()));
        }
        drop(fs::remove_dir(&self.0));
    }
}
