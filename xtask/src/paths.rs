//! Where things lie: the repository, its own tools, the products of a build.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The top folder of the repository this program was built from.
pub fn root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().expect("xtask lies one folder below the root").to_path_buf()
}

/// The folder of the tools that `setup` builds for this repository alone; not under version control.
pub fn tools() -> PathBuf {
    root().join(".tools")
}

/// The executables in [`tools`].
pub fn tools_bin() -> PathBuf {
    tools().join("bin")
}

/// The folder of the kernel program's crate, which is no member of the workspace.
pub fn ebpf_crate() -> PathBuf {
    root().join("gateway-ebpf")
}

/// The finished kernel objects, which the gateway embeds. Fixed, whatever `CARGO_TARGET_DIR` says, because the
/// gateway's build looks for them here.
pub fn ebpf_objects() -> PathBuf {
    root().join("target/ebpf")
}

/// The folder that cargo builds the workspace into.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// `path` as a person in the repository would write it.
pub fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The executable `name`, searched on `PATH` and in the system folders that are not on every user's `PATH`.
pub fn executable(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn paths_inside_the_repository_are_shown_relative_to_it() {
        assert_eq!(short(&ebpf_objects().join("x.o")), "target/ebpf/x.o");
        assert_eq!(short(Path::new("/etc/hosts")), "/etc/hosts");
    }

    #[test]
    fn a_file_without_the_executable_bit_is_no_executable() {
        assert!(executable("sh").is_some());
        assert!(!is_executable(&root().join("Cargo.toml")));
        assert_eq!(executable("no-such-program-anywhere"), None);
    }
}
