//! The admin socket in the file system: made so that nobody can slip in, and that two gateways cannot share it.
//!
//! A lock file beside it (`admin.sock.lock`, held as long as the process lives) decides who has the socket, whatever a
//! crash left behind. The socket is made in a folder that only we can enter, gets its mode there, and is then renamed to
//! its place, so there is no moment at which it can be reached with the wrong mode, and a link planted at its place is
//! never followed. Anything there that is not a socket is left alone, and is an error.

mod place;

pub use place::{find, place};

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// `sockaddr_un` takes 108 bytes with the zero at the end.
const PATH_BYTES_MAX: usize = 107;

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another gateway has it.
    #[error("another gateway is running: {path} is in use")]
    InUse { path: PathBuf },
    /// Something else is there.
    #[error("{path} is there and is not a socket; remove it, or set another admin.socket")]
    Occupied { path: PathBuf },
    /// Others could replace the socket by their own.
    #[error(
        "the folder of {path} can be written by others (uid {uid}, mode {mode:o}); use one that is only root's or the gateway's"
    )]
    Insecure { path: PathBuf, uid: u32, mode: u32 },
    /// The kernel does not take it.
    #[error(
        "{path} is too long for a socket: {length} bytes with the temporary name, at most {PATH_BYTES_MAX}"
    )]
    TooLong { path: PathBuf, length: usize },
    /// The system.
    #[error("cannot {what} {path}")]
    System { what: &'static str, path: PathBuf, source: io::Error },
}

/// The socket's name in the file system. Dropping it removes it, if it is still ours.
#[derive(Debug)]
pub struct Name {
    path: PathBuf,
    inode: (u64, u64),
    _lock: File,
}

/// Makes the socket with mode 0660, or 0666 where others than root and the gateway's own user are admitted: then the
/// peer's credentials alone decide.
pub fn listen(path: &Path, admits_others: bool) -> Result<(UnixListener, Name), Error> {
    let failed = |what| move |source| Error::System { what, path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed("create the folder of"))?;
    check_folder(folder, path)?;
    let lock = lock(path)?;
    check_place(path)?;

    let private = private_folder(folder).map_err(failed("make a folder for"))?;
    let made = make(&private, path, admits_others);
    // Whatever is left in it must not stay behind.
    let _ = fs::remove_dir_all(&private);
    let listener = made?;
    let metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
    let name = Name { path: path.into(), inode: (metadata.dev(), metadata.ino()), _lock: lock };
    Ok((listener, name))
}

/// Nobody but root and us may write to the folder, unless it is sticky like `/tmp`.
fn check_folder(folder: &Path, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::System { what: "look at the folder of", path: path.into(), source };
    let metadata = fs::metadata(folder).map_err(failed)?;
    let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let foreign = uid != 0 && uid != rustix::process::geteuid().as_raw();
    let open = mode & 0o002 != 0 && mode & 0o1000 == 0;
    if foreign || open { Err(Error::Insecure { path: path.into(), uid, mode }) } else { Ok(()) }
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |what| move |source| Error::System { what, path: path.to_owned(), source };
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
    let file = options.open(&lock_path).map_err(failed("open the lock of"))?;
    match crate::lock::take(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(Error::InUse { path: path.into() }),
        Err(error) => Err(failed("lock")(error)),
    }
}

/// Free, or a socket at whose other end is nobody.
fn check_place(path: &Path) -> Result<(), Error> {
    let failed = |what| move |source| Error::System { what, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(Error::Occupied { path: path.into() }),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(Error::InUse { path: path.into() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("see whether somebody answers at")(error)),
        },
    }
}

/// A new folder with mode 0700. Names that a crash left behind are passed over.
fn private_folder(folder: &Path) -> io::Result<PathBuf> {
    let mut attempt = 0u32;
    loop {
        let path = folder.join(format!(".a{}-{attempt}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 64 => attempt += 1,
            result => return result.map(|()| path),
        }
    }
}

fn make(private: &Path, path: &Path, admits_others: bool) -> Result<UnixListener, Error> {
    let failed = |what| move |source| Error::System { what, path: path.to_owned(), source };
    let temporary = private.join("s");
    let length = temporary.as_os_str().len().max(path.as_os_str().len());
    if length > PATH_BYTES_MAX {
        return Err(Error::TooLong { path: path.into(), length });
    }
    let listener = UnixListener::bind(&temporary).map_err(failed("listen on"))?;
    set_mode(&temporary, admits_others).map_err(failed("set the mode of"))?;
    listener.set_nonblocking(true).map_err(failed("listen on"))?;
    fs::rename(&temporary, path).map_err(failed("put in place"))?;
    Ok(listener)
}

fn set_mode(path: &Path, admits_others: bool) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(if admits_others { 0o666 } else { 0o660 }))
}

impl Name {
    /// After a reload that changed who is admitted.
    pub fn admit_others(&self, admits_others: bool) -> io::Result<()> {
        if self.is_ours() { set_mode(&self.path, admits_others) } else { Ok(()) }
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
