//! What was told of each list, in `lists/NAME.list` of the state folder: a text list that any tool can read.
//!
//! A file is replaced as a whole, by a rename. Where no state is kept it is in memory, for renewals and exports.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::feeds::parse::{Item, parse};
use crate::feeds::{Export, Format, write};

/// Bytes of a file: as much as the most entries that a list may have, each as long as it gets.
const BYTES_MAX: u64 = 1 << 30;

/// Where lists are kept.
pub enum Kept {
    /// In files of this folder.
    Folder(PathBuf),
    /// In memory only.
    Memory(RefCell<HashMap<Box<str>, Vec<IpNet>>>),
}

impl Kept {
    /// In the folder of the state, if state is kept.
    pub fn new(state: Option<PathBuf>) -> Kept {
        state.map_or_else(|| Kept::Memory(RefCell::default()), |state| Kept::Folder(state.join("lists")))
    }

    /// What was told of a list last.
    pub fn read(&self, name: &str) -> io::Result<Vec<IpNet>> {
        match self {
            Kept::Folder(folder) => {
                let file = open(&path(folder, name), OpenOptions::new().read(true))?;
                let mut list = Vec::new();
                file.take(BYTES_MAX + 1).read_to_end(&mut list)?;
                // The rest of a line that was cut would be another network.
                if list.len() as u64 > BYTES_MAX || list.last().is_some_and(|last| *last != b'\n') {
                    return Err(io::Error::other("it was not written by this gateway, or is cut off"));
                }
                let mut prefixes = Vec::new();
                parse(&list, Format::Text, &mut |item| prefixes.push(item.prefix));
                Ok(prefixes)
            }
            Kept::Memory(lists) => lists.borrow().get(name).cloned().ok_or(io::ErrorKind::NotFound.into()),
        }
    }

    /// Replaces what was told of a list.
    pub fn write(&self, name: &str, prefixes: &[IpNet]) -> io::Result<()> {
        match self {
            Kept::Folder(folder) => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                // No list is called so: what lists are kept in ends otherwise.
                let fresh = folder.join(format!("{name}.new"));
                absent(fs::remove_file(&fresh))?;
                let file = open(&fresh, OpenOptions::new().write(true).create_new(true).mode(0o600))?;
                let item = |prefix: &IpNet| Item { prefix: *prefix, lasts: None, gone: false };
                let items: Vec<Item> = prefixes.iter().map(item).collect();
                let mut out = BufWriter::new(&file);
                write::write(&items, Export::Text, &mut out)?;
                out.flush()?;
                drop(out);
                file.sync_all()?;
                fs::rename(&fresh, path(folder, name))?;
                File::open(folder)?.sync_all()
            }
            Kept::Memory(lists) => {
                lists.borrow_mut().insert(name.into(), prefixes.into());
                Ok(())
            }
        }
    }

    /// Forgets a list.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self {
            Kept::Folder(folder) => absent(fs::remove_file(path(folder, name))),
            Kept::Memory(lists) => {
                lists.borrow_mut().remove(name);
                Ok(())
            }
        }
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.list"))
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32).open(path)
}

/// What is not there need not be removed.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_kept_comes_back_and_is_for_nobody_else_to_read() {
        let state = std::env::temp_dir().join(format!("portcullis-kept-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        for kept in [Kept::new(Some(state.clone())), Kept::new(None)] {
            assert_eq!(kept.read("drop").unwrap_err().kind(), io::ErrorKind::NotFound);
            kept.remove("drop").unwrap();
            let list = nets(&["10.0.0.0/8", "203.0.113.9/32", "2001:db8::/32"]);
            kept.write("drop", &nets(&["192.0.2.1/32"])).unwrap();
            kept.write("drop", &list).unwrap();
            kept.write("empty", &[]).unwrap();
            assert_eq!((kept.read("drop").unwrap(), kept.read("empty").unwrap()), (list, vec![]));
            if let Kept::Folder(folder) = &kept {
                let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
                assert_eq!((mode(&path(folder, "drop")), mode(folder)), (0o600, 0o700));
                assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
            }
            kept.remove("drop").unwrap();
            assert_eq!(kept.read("drop").unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn a_link_in_the_folder_leads_nowhere() {
        let state = std::env::temp_dir().join(format!("portcullis-kept-link-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        let kept = Kept::new(Some(state.clone()));
        kept.write("drop", &nets(&["192.0.2.1/32"])).unwrap();
        let elsewhere = state.join("elsewhere");
        fs::write(&elsewhere, "untouched").unwrap();
        std::os::unix::fs::symlink(&elsewhere, state.join("lists/drop.new")).unwrap();
        kept.write("drop", &nets(&["192.0.2.2/32"])).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
        fs::write(state.join("lists/drop.list"), "192.0.2.1\n192.0.2.0/2").unwrap();
        assert!(kept.read("drop").unwrap_err().to_string().contains("cut off"));
        fs::remove_file(state.join("lists/drop.list")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, state.join("lists/drop.list")).unwrap();
        assert!(kept.read("drop").is_err());
        fs::remove_dir_all(&state).unwrap();
    }
}
