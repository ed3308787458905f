//! Debian packages that are unpacked into `.tools` instead of being installed.
//!
//! For what must not become part of the machine: kernels, which its boot loader would offer, and QEMU, whose packages
//! may exclude some that are installed. Root is needed only when apt's lists of packages are stale or were never read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{paths, privilege::Privilege, process};

/// What `setup` says where [`possible`] is false.
pub const NOT_HERE: &str = "not to be had here: the tier `boot` is skipped";

/// Whether this machine has Debian's archive, and the processor that the packages asked for here are made for.
pub fn possible() -> bool {
    let tools = ["apt-get", "apt-cache", "dpkg-deb"];
    cfg!(target_arch = "x86_64") && tools.iter().all(|tool| paths::executable(tool).is_some())
}

/// Does `work`; when it fails, reads apt's lists anew and does it once more.
pub fn with_fresh_lists<T>(work: impl Fn() -> Result<T>) -> Result<T> {
    work().or_else(|_| {
        let Some(mut update) = Privilege::current().command("apt-get", &[]) else { return work() };
        let log = paths::tools().join("apt-update.log");
        process::run_logged(update.args(["update", "-q"]), "reading apt's lists of packages", &log)?;
        work()
    })
}

/// Whether apt's lists have a package of this name. Empty lists are an error, for they tell nothing.
pub fn is_listed(package: &str) -> Result<bool> {
    let listed = process::capture(apt("apt-cache").args(["pkgnames", package]))?;
    if listed.lines().any(|name| name == package) {
        return Ok(true);
    }
    // Whatever else the archive has, it has this one.
    let said = process::capture(apt("apt-cache").args(["madison", "dpkg"]))?;
    if said.trim().is_empty() {
        bail!("apt's lists of packages are empty");
    }
    Ok(false)
}

/// What a package depends on first, as the newest version that apt knows says: for a kernel's package without a
/// version, the one with the version.
pub fn first_dependency(package: &str) -> Result<String> {
    let said = process::capture(apt("apt-cache").args(["depends", package]))?;
    let found = said.lines().find_map(|line| line.trim_start().strip_prefix("Depends: "));
    found
        .map(str::to_owned)
        .with_context(|| format!("apt knows no package {package} that depends on another"))
}

/// The packages that apt would install to get `package` here, itself included, if none whose name begins with `family`
/// were installed yet.
pub fn closure(package: &str, family: &str) -> Result<Vec<String>> {
    let status = fs::read_to_string(DPKG_STATUS).with_context(|| format!("cannot read {DPKG_STATUS}"))?;
    let file = paths::tools().join(format!("{package}.status"));
    fs::create_dir_all(paths::tools())?;
    fs::write(&file, without(&status, family)).with_context(|| format!("cannot write {}", file.display()))?;
    let mut simulate = apt("apt-get");
    simulate.args(["install", "--simulate", "--no-install-recommends"]);
    // The cache that apt keeps belongs to the true status.
    simulate.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
    simulate.arg("-o").arg(format!("Dir::State::status={}", file.display())).arg(package);
    let said = process::capture(&mut simulate);
    // It has served.
    drop(fs::remove_file(&file));
    let packages = to_install(&said?);
    if packages.is_empty() {
        bail!("apt would install nothing for {package}");
    }
    Ok(packages)
}

/// Downloads `packages` and unpacks them into `folder`, which is made anew.
pub fn unpack(packages: &[String], folder: &Path, task: &str) -> Result<()> {
    let debs = paths::tools().join("debs");
    for made in [folder, &debs] {
        // One that an interrupted run has left.
        drop(fs::remove_dir_all(made));
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let mut download = apt("apt-get");
    download.arg("download").args(packages).current_dir(&debs);
    process::run_logged(&mut download, task, &paths::tools().join("download.log"))?;
    for deb in files(&debs)? {
        process::capture(Command::new("dpkg-deb").arg("-x").arg(deb).arg(folder))?;
    }
    fs::remove_dir_all(&debs).with_context(|| format!("cannot remove {}", debs.display()))
}

const DPKG_STATUS: &str = "/var/lib/dpkg/status";

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// A program of apt's, speaking English.
fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

/// dpkg's records less those of a family of packages.
fn without(status: &str, family: &str) -> String {
    let of_family =
        |record: &&str| record.strip_prefix("Package: ").is_some_and(|name| name.starts_with(family));
    let mut kept: Vec<_> = status.split("\n\n").filter(|record| !of_family(record)).collect();
    // The file ends with an empty line, also when the last record is gone.
    kept.retain(|record| !record.trim().is_empty());
    kept.join("\n\n") + "\n\n"
}

/// `Inst NAME (VERSION …` or `Inst NAME [OLD VERSION] (VERSION …`
fn to_install(said: &str) -> Vec<String> {
    let names = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_packages_is_left_out_of_the_records() {
        let status = "Package: bash\nStatus: x\n\nPackage: qemu-utils\nBreaks: y\n\nPackage: zlib\nA: b\n";
        assert_eq!(without(status, "qemu"), "Package: bash\nStatus: x\n\nPackage: zlib\nA: b\n\n\n");
        assert!(!without(status, "z").contains("zlib"));
    }

    #[test]
    fn what_apt_would_install_is_read_from_its_simulation() {
        let said = "Reading…\nRemv old [1]\nInst seabios (1.16 Debian:12 [all])\nInst qemu [1] (2 x [amd64])\n\
                    Conf seabios (1.16 …)\n";
        assert_eq!(to_install(said), ["seabios", "qemu"]);
    }
}
