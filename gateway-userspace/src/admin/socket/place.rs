//! Where the socket is made when nobody has said where and this user may not make it in its usual place.
//!
//! So a first configuration of a few lines runs as any user. A path that the configuration names is never replaced.
//! Where a client looks is another question: who may use the socket of root's gateway cannot make one in its place.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The path that is taken if the configuration names none.
pub const USUAL: &str = "/run/portcullis/admin.sock";

/// Where the gateway makes it: the configured path; in place of the usual one, if its folder cannot be made or written by
/// this user, one that is the user's own: `$XDG_RUNTIME_DIR/portcullis/admin.sock`, else
/// `/tmp/portcullis-UID/admin.sock`.
pub fn place(configured: PathBuf) -> PathBuf {
    if configured != Path::new(USUAL) || is_writable(&configured) {
        return configured;
    }
    let uid = rustix::process::geteuid().as_raw();
    match runtime().filter(|folder| access(folder, Access::WRITE_OK).is_ok()) {
        Some(folder) => of_runtime(&folder),
        None => {
            let own = of_user(uid);
            // Whoever made its folder before us could answer in the gateway's place.
            let foreign = own.parent().is_none_or(|folder| {
                std::fs::symlink_metadata(folder).is_ok_and(|data| !data.is_dir() || data.uid() != uid)
            });
            if foreign { configured } else { own }
        }
    }
}

/// Where a client finds it: the configured path; in place of the usual one a user's own, if this very user has made a
/// socket there.
pub fn find(configured: PathBuf) -> PathBuf {
    if configured != Path::new(USUAL) {
        return configured;
    }
    let uid = rustix::process::geteuid().as_raw();
    let mut own = runtime().map(|folder| of_runtime(&folder)).into_iter().chain([of_user(uid)]);
    own.find(|path| is_socket_of(path, uid)).unwrap_or(configured)
}

fn runtime() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute())
}

fn of_runtime(folder: &Path) -> PathBuf {
    folder.join("portcullis/admin.sock")
}

fn of_user(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/portcullis-{uid}/admin.sock"))
}

/// Whether there is a socket that this user made, in a folder of this user, neither of them a link.
fn is_socket_of(path: &Path, uid: u32) -> bool {
    let data = |path: &Path| std::fs::symlink_metadata(path).ok().filter(|data| data.uid() == uid);
    let folder = path.parent().and_then(data);
    folder.is_some_and(|data| data.is_dir()) && data(path).is_some_and(|data| data.file_type().is_socket())
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

    #[test]
    fn a_client_believes_only_in_a_socket_that_its_own_user_has_made() {
        let uid = rustix::process::geteuid().as_raw();
        let folder = std::env::temp_dir().join(format!("portcullis-find-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (socket, link, file) = (folder.join("a.sock"), folder.join("link"), folder.join("file"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        std::fs::write(&file, "").unwrap();
        let found = [&socket, &link, &file, &folder.join("none")].map(|path| is_socket_of(path, uid));
        let foreign = is_socket_of(&socket, uid + 1);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((found, foreign), ([true, false, false, false], false));
        assert_eq!(find(PathBuf::from("/named.sock")), Path::new("/named.sock"));
    }
}
