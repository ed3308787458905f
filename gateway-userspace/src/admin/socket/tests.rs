//! The socket in a real folder, with what an attacker or a crash may have put there.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder of its own for each test, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("portcullis-socket-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o755).create(&path).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_socket_has_its_mode_and_nothing_else_stays_behind() {
    for (admits_others, mode) in [(false, 0o660), (true, 0o666)] {
        let folder = Folder::new();
        let (listener, name) = listen(&folder.socket(), admits_others).unwrap();
        assert_eq!(fs::metadata(folder.socket()).unwrap().mode() & 0o7777, mode);
        assert_eq!(folder.names(), ["admin.sock", "admin.sock.lock"]);
        UnixStream::connect(folder.socket()).unwrap();
        name.admit_others(!admits_others).unwrap();
        assert_eq!(fs::metadata(folder.socket()).unwrap().mode() & 0o7777, 0o660 + 0o666 - mode);
        drop((listener, name));
        assert_eq!(folder.names(), ["admin.sock.lock"]);
    }
}

#[test]
fn a_missing_folder_is_made() {
    let folder = Folder::new();
    let path = folder.0.join("run/portcullis/admin.sock");
    let (_listener, _name) = listen(&path, false).unwrap();
    assert!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o022 == 0);
}

#[test]
fn a_second_gateway_is_told_so_and_the_first_goes_on() {
    let folder = Folder::new();
    let (_listener, _name) = listen(&folder.socket(), false).unwrap();
    let error = listen(&folder.socket(), false).unwrap_err().to_string();
    assert!(error.starts_with("another gateway is running"), "{error}");
    UnixStream::connect(folder.socket()).unwrap();
}

#[test]
fn a_listener_without_our_lock_is_not_pushed_aside() {
    let folder = Folder::new();
    let _other = UnixListener::bind(folder.socket()).unwrap();
    assert!(matches!(listen(&folder.socket(), false), Err(Error::InUse { .. })));
}

#[test]
fn what_a_crash_left_is_replaced() {
    let folder = Folder::new();
    drop(UnixListener::bind(folder.socket()).unwrap());
    fs::create_dir(folder.0.join(format!(".a{}-0", std::process::id()))).unwrap();
    assert!(UnixStream::connect(folder.socket()).is_err());
    let (_listener, _name) = listen(&folder.socket(), false).unwrap();
    UnixStream::connect(folder.socket()).unwrap();
}

#[test]
fn planted_links_and_files_are_refused_and_what_they_name_is_untouched() {
    let folder = Folder::new();
    let victim = folder.0.join("victim");
    fs::write(&victim, b"precious").unwrap();
    fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
    let untouched = || {
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o7777, 0o600);
    };

    symlink(&victim, folder.socket()).unwrap();
    assert!(matches!(listen(&folder.socket(), true), Err(Error::Occupied { .. })));
    untouched();
    fs::remove_file(folder.socket()).unwrap();
    symlink(folder.0.join("nowhere"), folder.socket()).unwrap();
    assert!(
        matches!(listen(&folder.socket(), true), Err(Error::Occupied { .. })),
        "also when it leads nowhere"
    );
    fs::remove_file(folder.socket()).unwrap();

    fs::write(folder.socket(), b"a file").unwrap();
    assert!(matches!(listen(&folder.socket(), false), Err(Error::Occupied { .. })));
    assert_eq!(fs::read(folder.socket()).unwrap(), b"a file");
    fs::remove_file(folder.socket()).unwrap();

    let lock = folder.0.join("admin.sock.lock");
    fs::remove_file(&lock).unwrap();
    symlink(&victim, &lock).unwrap();
    assert!(matches!(listen(&folder.socket(), false), Err(Error::System { what: "open the lock of", .. })));
    untouched();
}

#[test]
fn a_folder_that_others_can_write_is_refused_unless_it_is_sticky() {
    let folder = Folder::new();
    fs::set_permissions(&folder.0, Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(listen(&folder.socket(), false), Err(Error::Insecure { .. })));
    fs::set_permissions(&folder.0, Permissions::from_mode(0o1777)).unwrap();
    listen(&folder.socket(), false).unwrap();
}

#[test]
fn a_path_too_long_for_a_socket_is_said_to_be() {
    let folder = Folder::new();
    let path = folder.0.join("x".repeat(108)).join("admin.sock");
    assert!(matches!(listen(&path, false), Err(Error::TooLong { .. })));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "only the lock");
}

#[test]
fn a_socket_that_is_no_longer_ours_is_left_alone() {
    let folder = Folder::new();
    let (listener, name) = listen(&folder.socket(), false).unwrap();
    fs::remove_file(folder.socket()).unwrap();
    let _other = UnixListener::bind(folder.socket()).unwrap();
    drop((listener, name));
    UnixStream::connect(folder.socket()).unwrap();
}
