//! Kernels to boot: Debian's images for virtual machines, unpacked into `.tools/kernels/SERIES`.
//!
//! Kept of each are the image and the modules that a virtual machine with a disk and a veth pair needs, in the order in
//! which they are loaded. What is fetched stays until [`SET`] changes: a newer version of the same series is not looked
//! for, so that a run does not depend on the day.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    needs::{Remedy, State},
    unpacked,
};
use crate::paths;

/// The packages, oldest kernel first. What an archive does not have is left out, but one must be there.
const PACKAGES: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"];
/// What must work in the virtual machine; what a kernel has built in is no module.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "ext4", "veth"];
/// A change here fetches anew everywhere.
const SET: &str = "1";

/// For `setup`: the kernels that were fetched. See [`qemu::look`](super::qemu::look) for where they cannot be had.
pub fn look() -> State {
    if fs::read_to_string(folder().join("set")).is_ok_and(|set| set == SET) {
        let mut found: Vec<_> = releases().collect();
        found.sort();
        if !found.is_empty() {
            return State::Present(found.join(", "));
        }
    }
    if !unpacked::possible() {
        return State::Present(unpacked::NOT_HERE.into());
    }
    State::Missing { reason: "not fetched yet".into(), remedy: Remedy::Steps(fetch) }
}

fn folder() -> PathBuf {
    paths::tools().join("kernels")
}

fn releases() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path().join("release")).ok())
}

fn fetch() -> Result<()> {
    // The first one tells whether the lists are there at all.
    let first = unpacked::with_fresh_lists(|| unpacked::first_dependency(PACKAGES[0]))?;
    fetch_one(&first).with_context(|| format!("fetching {first}"))?;
    // Only what apt says for certain that it does not have may be missing under the mark, which ends the fetching.
    for package in &PACKAGES[1..] {
        if unpacked::is_listed(package)? {
            let package = unpacked::with_fresh_lists(|| unpacked::first_dependency(package))?;
            fetch_one(&package).with_context(|| format!("fetching {package}"))?;
        } else {
            println!("    this archive has no {package}; its kernel is not booted");
        }
    }
    fs::write(folder().join("set"), SET).context("cannot write the mark that all are there")
}

fn fetch_one(package: &str) -> Result<()> {
    let release = package.strip_prefix("linux-image-").context("no package of a kernel")?;
    let series: Vec<_> = release.split(['.', '-']).take(2).collect();
    let place = folder().join(series.join("."));
    let fresh = folder().join("fresh");
    unpacked::with_fresh_lists(|| {
        let task = format!("downloading {package}, not to be installed");
        unpacked::unpack(&[package.to_owned()], &fresh, &task)
    })?;
    drop(fs::remove_dir_all(&place));
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    fs::rename(fresh.join("boot").join(format!("vmlinuz-{release}")), place.join("vmlinuz"))
        .context("the package has no image of that name")?;
    let modules = [fresh.join("lib/modules"), fresh.join("usr/lib/modules")];
    let modules = modules.map(|folder| folder.join(release)).into_iter().find(|folder| folder.exists());
    keep_modules(&modules.context("the package has no modules")?, &place)?;
    fs::remove_dir_all(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
    // The last file: with it the folder counts.
    fs::write(place.join("release"), release).context("cannot write the release")
}

/// Copies [`MODULES`] and what they need to `place/modules/NN-NAME.ko`, plain, what is needed first.
fn keep_modules(tree: &Path, place: &Path) -> Result<()> {
    let built_in = fs::read_to_string(tree.join("modules.builtin")).context("no list of what is built in")?;
    let built_in: Vec<_> = built_in.lines().map(module_name).collect();
    let listed = fs::read_to_string(tree.join("modules.order")).context("no list of modules")?;
    let mut kept: Vec<String> = Vec::new();
    fs::create_dir_all(place.join("modules"))?;
    for wanted in MODULES {
        keep(wanted, &mut kept, &|name| {
            if built_in.iter().any(|known| known == name) {
                return Ok(None);
            }
            let line = listed.lines().find(|line| module_name(line) == name);
            let line = line.with_context(|| format!("this kernel has no module {name}"))?;
            plain(&tree.join(line)).map(Some)
        })?
        .into_iter()
        .try_for_each(|(number, name, bytes)| {
            fs::write(place.join("modules").join(format!("{number:02}-{name}.ko")), bytes)
        })?;
    }
    Ok(())
}

/// A module's number, name and bytes.
type Kept = (usize, String, Vec<u8>);

/// `name` and what it depends on, depth first, without what is in `kept` already.
fn keep(
    name: &str,
    kept: &mut Vec<String>,
    read: &dyn Fn(&str) -> Result<Option<Vec<u8>>>,
) -> Result<Vec<Kept>> {
    if kept.iter().any(|known| known == name) {
        return Ok(Vec::new());
    }
    let Some(bytes) = read(name)? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for needed in dependencies(&bytes) {
        all.extend(keep(&needed, kept, read)?);
    }
    kept.push(name.to_owned());
    all.push((kept.len(), name.to_owned(), bytes));
    Ok(all)
}

/// The module's bytes; the list names it without the ending of its compression.
fn plain(path: &Path) -> Result<Vec<u8>> {
    if path.exists() {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let compressed = path.with_extension("ko.xz");
    let output = Command::new("xz").arg("-dc").arg(&compressed).output().context("cannot start `xz`")?;
    if !output.status.success() {
        bail!("`xz` cannot read {}", compressed.display());
    }
    Ok(output.stdout)
}

/// `kernel/drivers/net/veth.ko` → `veth`. A module's file may have a hyphen where its name has an underscore.
fn module_name(line: &str) -> String {
    let file = line.rsplit('/').next().unwrap_or(line);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// The modules that the module says it needs (`depends=a,b` in its section `.modinfo`).
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"depends=";
    let mut entries = module.split(|byte| *byte == 0);
    let Some(value) = entries.find_map(|entry| entry.strip_prefix(KEY)) else { return Vec::new() };
    let names = value.split(|byte| *byte == b',').filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8_lossy(name).replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it_and_only_once() {
        let read = |name: &str| {
            let needs = match name {
                "disk" => "bus,ring",
                "bus" => "ring",
                "builtin" => return Ok(None),
                _ => "builtin",
            };
            Ok(Some(format!("\u{7f}ELF\0license=GPL\0depends={needs}\0name={name}\0").into_bytes()))
        };
        let mut kept = Vec::new();
        let first = keep("disk", &mut kept, &read).unwrap();
        let names: Vec<_> = first.iter().map(|(number, name, _)| (*number, name.as_str())).collect();
        assert_eq!(names, [(1, "ring"), (2, "bus"), (3, "disk")]);
        assert!(keep("bus", &mut kept, &read).unwrap().is_empty());
        assert_eq!(keep("veth", &mut kept, &read).unwrap()[0].0, 4);
    }

    #[test]
    fn a_module_is_named_by_its_file_whatever_its_compression() {
        assert_eq!(module_name("kernel/drivers/net/veth.ko"), "veth");
        assert_eq!(module_name("kernel/arch/x86/crypto/crc32c-intel.ko.xz"), "crc32c_intel");
        assert_eq!(dependencies(b"\0depends=\0"), [""; 0]);
        assert_eq!(dependencies(b"\0depends=a-b,c\0"), ["a_b", "c"]);
    }
}
