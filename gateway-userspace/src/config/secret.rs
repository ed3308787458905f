//! Texts that come from somewhere else: `file:/path` and `cred:name`.
//!
//! `cred:name` is a file that systemd hands over (`LoadCredential=`), in the folder that `$CREDENTIALS_DIRECTORY` names.

use std::path::PathBuf;

use crate::diagnostic::{Place, Problem};

use super::codes;
use super::decode::Decoder;

/// Largest file that a setting may be read from.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a text stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Here it is.
    Text(String),
    /// In a file that is not to be read now.
    Unread,
}

/// The path behind `file:` or `cred:`; `None` if the text is neither; the inner error says what is wrong with it.
pub fn reference(d: &Decoder<'_>, text: &str) -> Option<Result<PathBuf, &'static str>> {
    if let Some(path) = text.strip_prefix("file:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Some(match path.is_empty() {
            false => Ok(PathBuf::from(path)),
            true => Err("`file:` needs a path behind it"),
        });
    }
    let name = text.strip_prefix("cred:")?;
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Some(Err("`cred:` needs a name behind it, without slashes"));
    }
    let Some(folder) = d.environment.get("CREDENTIALS_DIRECTORY") else {
        return Some(match d.read_files {
            true => {
                Err("$CREDENTIALS_DIRECTORY is not set: `cred:` works in a systemd unit with LoadCredential=")
            }
            false => Ok(PathBuf::from(name)),
        });
    };
    Some(Ok(PathBuf::from(folder).join(name)))
}

/// The text that a reference leads to. `None` after a problem was reported.
pub fn read(d: &mut Decoder<'_>, path: Result<PathBuf, &'static str>, place: Place) -> Option<Content> {
    let message = match path {
        Err(message) => message.to_owned(),
        Ok(_) if !d.read_files => return Some(Content::Unread),
        Ok(path) => match read_limited(&path) {
            Ok(text) => return Some(Content::Text(text)),
            Err(error) => format!("`{}` cannot be read: {error}", path.display()),
        },
    };
    d.report.push(Problem::error(codes::UNREADABLE, message, place));
    None
}

fn read_limited(path: &std::path::Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err("it is larger than 1 MiB".into());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
