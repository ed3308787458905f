//! `cargo xtask tidy`: rules of the source tree that neither the compiler nor clippy knows.
//!
//! [`direction`] holds which part of the gateway may import which, [`lines`] what may not be written anywhere,
//! [`files`] how files are named and begin. Each rule is a row of a table, and each finding names the place, the rule
//! and what to do instead: `path:line: error: X is banned, use Y`.

mod direction;
mod files;
mod lines;
mod source;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use self::source::Source;
use crate::paths;

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: error: {}", self.path, self.line, self.message)
    }
}

/// The verb itself.
pub fn main() -> Result<()> {
    let root = paths::root();
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    let mut findings = Vec::new();
    for file in &files {
        // What is not UTF-8 is no text of ours.
        let Ok(text) = fs::read_to_string(file) else { continue };
        findings.extend(check(&paths::short(file), &text));
    }
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings in {} files", findings.len(), files.len());
    }
    println!("tidy: {} files are clean", files.len());
    Ok(())
}

/// All findings of one file, given its path from the root.
fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(lines::check_text(path, text));
    if path.ends_with(".rs") {
        let source = Source::new(path, text);
        findings.extend(files::check(path, text));
        findings.extend(lines::check_code(&source));
        findings.extend(direction::check(&source));
    }
    findings
}

/// All text files of the repository, without what is built or fetched.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    const KINDS: [&str; 8] = ["rs", "toml", "md", "sh", "yml", "yaml", "json", "service"];
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_symlink() || matches!(name.as_str(), "target" | ".tools" | ".git") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.starts_with(paths::root().join(".ci"))
            || path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_like_a_compiler_error() {
        let finding = Finding { path: "a/b.rs".into(), line: 7, message: "`x` is banned, use `y`".into() };
        assert_eq!(finding.to_string(), "a/b.rs:7: error: `x` is banned, use `y`");
    }

    #[test]
    fn a_clean_file_has_no_findings_and_a_foul_one_has_all_of_its_own() {
        assert_eq!(check("gateway-common/src/source.rs", "//! Addresses.\npub struct Source;\n"), []);
        let foul =
            check("gateway-userspace/src/route/utils.rs", "use crate::cache::Key;\nfn f() { todo!() }\n");
        assert_eq!(foul.len(), 4, "{foul:?}");
    }
}
