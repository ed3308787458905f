//! Where the socket is made when nobody has said where and this user may not make it in its usual place.
//!
//! So a first configuration of a few lines runs as any user. A path that the configuration names is never replaced.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The path that is taken if the configuration names none.
pub const USUAL: &str = "/run/portcullis/admin.sock";

/// The configured path; in place of the usual one, if its folder cannot be made or written by this user, one that is the
/// user's own: `$XDG_RUNTIME_DIR/portcullis/admin.sock`, else `/tmp/portcullis-UID/admin.sock`. The gateway and the
/// command line of one user find the same place.
pub fn place(configured: PathBuf) -> PathBuf {
    if configured != Path::new(USUAL) || is_writable(&configured) {
        return configured;
    }
    let uid = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|folder| folder.is_absolute() && access(folder, Access::WRITE_OK).is_ok()) {
        Some(folder) => folder.join("portcullis/admin.sock"),
        None => {
            let folder = PathBuf::from(format!("/tmp/portcullis-{uid}"));
            // Whoever made it before us could answer in the gateway's place.
            let foreign =
                std::fs::symlink_metadata(&folder).is_ok_and(|data| !data.is_dir() || data.uid() != uid);
            if foreign { configured } else { folder.join("admin.sock") }
        }
    }
}

/// Whether the nearest folder above that exists can be written.
fn is_writable(path: &Path) -> bool {
    let folders = path.ancestors().skip(1);
    let existing = folders.map(Path::to_path_buf).find(|folder| folder.exists());
    existing.is_some_and(|folder| access(&folder, Access::WRITE_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_named_stays_and_folders_that_can_be_made_count_as_writable() {
        let named = PathBuf::from("/nowhere/at/all.sock");
        assert_eq!(place(named.clone()), named);
        assert!(is_writable(&std::env::temp_dir().join("not/there/yet/x.sock")));
        assert!(!is_writable(Path::new("/proc/portcullis/x.sock")) || rustix::process::geteuid().is_root());
    }
}
