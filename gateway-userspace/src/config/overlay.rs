//! The files on the disk, with texts laid over some of them: what a change would make of the configuration, before it
//! is written.
//!
//! A file is known by its real path, symbolic links followed, so that one file has one name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Texts by real path; `None` stands for a file that is gone.
#[derive(Debug, Clone, Default)]
pub struct Overlay(BTreeMap<PathBuf, Option<Arc<str>>>);

impl Overlay {
    /// Lays a text, or nothing, in place of a file.
    pub fn lay(&mut self, path: &Path, text: Option<&str>) {
        self.0.insert(real(path), text.map(Arc::from));
    }

    /// The text of a file. The error says what is wrong with it, in words that follow its name.
    pub fn read(&self, path: &Path) -> Result<Arc<str>, String> {
        if !self.0.is_empty()
            && let Some(laid) = self.0.get(&real(path))
        {
            return laid.clone().ok_or_else(|| "it is to be removed".into());
        }
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if metadata.is_dir() {
            return Err("it is a folder".into());
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err("it is larger than 64 MiB".into());
        }
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes)
            .map_err(|error| format!("it is not UTF-8 (byte {})", error.utf8_error().valid_up_to()))?;
        Ok(text.into())
    }

    /// The files of a path whose last part may hold one `*`, sorted; a path without `*` is itself.
    pub fn glob(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let name = pattern.file_name().and_then(|name| name.to_str()).ok_or("it has no file name")?;
        let folder = pattern.parent().unwrap_or(Path::new(""));
        if folder.to_string_lossy().contains('*') {
            return Err("`*` stands only in the last part of a path".into());
        }
        let Some((before, after)) = name.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
        if after.contains('*') {
            return Err("only one `*` is possible".into());
        }
        let matches = |name: &str| {
            let long_enough = name.len() >= before.len() + after.len();
            long_enough && name.starts_with(before) && name.ends_with(after) && !name.starts_with('.')
        };
        let mut paths = Vec::new();
        let listed = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let (laid, gone) = self.laid_in(folder);
        match listed {
            Ok(entries) => {
                let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
                paths.extend(names.filter(|name| matches(name) && !gone.contains(name)));
            }
            Err(error) if laid.is_empty() => return Err(error.to_string()),
            Err(_) => {}
        }
        paths.extend(laid.into_iter().filter(|name| matches(name)));
        paths.sort();
        paths.dedup();
        Ok(paths.into_iter().map(|name| folder.join(name)).collect())
    }

    /// Names of the files of a folder that are laid over it, and of those that are gone.
    fn laid_in(&self, folder: &Path) -> (Vec<String>, Vec<String>) {
        let (mut laid, mut gone) = (Vec::new(), Vec::new());
        if self.0.is_empty() {
            return (laid, gone);
        }
        let folder = real(folder);
        for (path, text) in &self.0 {
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|_| path.parent() == Some(&folder)) {
                if text.is_some() { &mut laid } else { &mut gone }.push(name.to_owned());
            }
        }
        (laid, gone)
    }
}

/// The path with symbolic links followed, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match (std::fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_laid_over_a_folder_is_found_by_patterns_and_what_is_gone_is_not() {
        let folder = std::env::temp_dir().join(format!("portcullis-overlay-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("conf.d")).unwrap();
        for name in ["a.toml", "b.toml"] {
            std::fs::write(folder.join("conf.d").join(name), "disk").unwrap();
        }
        std::os::unix::fs::symlink(folder.join("conf.d"), folder.join("link")).unwrap();
        let mut overlay = Overlay::default();
        let pattern = folder.join("conf.d/*.toml");
        let names = |overlay: &Overlay, pattern: &Path| -> Vec<String> {
            let paths = overlay.glob(pattern).unwrap();
            paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&overlay, &pattern), ["a.toml", "b.toml"]);

        overlay.lay(&folder.join("link/a.toml"), None);
        overlay.lay(&folder.join("conf.d/b.toml"), Some("laid"));
        overlay.lay(&folder.join("conf.d/c.toml"), Some("new"));
        overlay.lay(&folder.join("none/d.toml"), Some("new"));
        assert_eq!(names(&overlay, &pattern), ["b.toml", "c.toml"]);
        assert_eq!(names(&overlay, &folder.join("none/*.toml")), ["d.toml"]);
        assert!(overlay.glob(&folder.join("nowhere/*.toml")).is_err());
        assert!(overlay.read(&folder.join("conf.d/a.toml")).is_err());
        assert_eq!(overlay.read(&folder.join("link/b.toml")).as_deref(), Ok("laid"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
