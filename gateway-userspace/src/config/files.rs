//! The files of a configuration as they were read together, and what tells one content from another.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Report, located::Sources};

use super::overlay::Overlay;
use super::read;

/// The SHA-256 of a content, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of these bytes.
    pub fn of(content: &[u8]) -> Fingerprint {
        Fingerprint::finish(digest::digest(&digest::SHA256, content))
    }

    /// As somebody gave it back; whatever it is, it equals only what it was made as.
    pub fn given(text: &str) -> Fingerprint {
        Fingerprint(text.to_ascii_lowercase())
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    fn finish(digest: digest::Digest) -> Fingerprint {
        Fingerprint(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, relative to the main file's folder if it lies under it.
    pub path: PathBuf,
    /// Its content.
    pub text: Arc<str>,
}

/// All files of a configuration, the main file first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(Vec<File>);

impl Files {
    /// What is on the disk now, whether it is a valid configuration or not; what cannot be read is left out.
    pub fn read(main: &Path, overlay: &Overlay) -> Files {
        let mut report = Report::default();
        read::read_texts(main, overlay, &mut report);
        Files::of(main, &report.sources)
    }

    /// What [`read::read`] or [`read::read_texts`] has read, if nothing else was added to the sources yet.
    pub fn of(main: &Path, sources: &Sources) -> Files {
        let folder = folder(main);
        let relative = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
        Files(sources.iter().map(|(path, text)| File { path: relative(path), text: text.clone() }).collect())
    }

    /// Made of files that came from somewhere else.
    pub fn new(files: Vec<File>) -> Files {
        Files(files)
    }

    /// The files, the main file first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &File> {
        self.0.iter()
    }

    /// What tells these files from others: their names and their contents.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        for (index, File { path, text }) in self.0.iter().enumerate() {
            // The main file may have another name on another machine.
            let name = if index == 0 { &[][..] } else { path.as_os_str().as_encoded_bytes() };
            for part in [name, text.as_bytes()] {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part);
            }
        }
        Fingerprint::finish(context.finish())
    }

    /// Bytes of all texts.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|file| file.text.len()).sum()
    }
}

/// The folder of the main file, to which the paths of [`File`] are relative.
pub fn folder(main: &Path) -> &Path {
    main.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(of: &[(&str, &str)]) -> Files {
        Files::new(of.iter().map(|(path, text)| File { path: path.into(), text: (*text).into() }).collect())
    }

    #[test]
    fn the_fingerprint_tells_names_and_texts_apart_and_not_the_name_of_the_main_file() {
        let one = files(&[("gateway.toml", "a"), ("conf.d/x.toml", "b")]);
        assert_eq!(one.fingerprint(), files(&[("other.toml", "a"), ("conf.d/x.toml", "b")]).fingerprint());
        for other in [
            files(&[("gateway.toml", "a"), ("conf.d/y.toml", "b")]),
            files(&[("gateway.toml", "ab"), ("conf.d/x.toml", "")]),
            files(&[("gateway.toml", "a")]),
            files(&[]),
        ] {
            assert_ne!(one.fingerprint(), other.fingerprint(), "{other:?}");
        }
        assert_eq!(one.fingerprint().to_string().len(), 64);
        assert_eq!(Fingerprint::given(&one.fingerprint().to_string().to_uppercase()), one.fingerprint());
    }
}
