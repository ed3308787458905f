//! The configurations in README and docs: each fenced block marked `toml complete` must be good as it stands.

use std::path::{Path, PathBuf};

use crate::config::{Environment, load_text};
use crate::diagnostic::render;

/// What a block with a whole configuration begins with.
const COMPLETE: &str = "```toml complete";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README and every page under `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The blocks of a page that begin with `fence`.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == fence) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

#[test]
fn every_whole_configuration_in_the_documentation_is_good_and_without_warnings() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text, COMPLETE) {
            count += 1;
            let report = match load_text(&page, &block, &Environment::by_name(&|_| None)) {
                Ok((_, report)) | Err(report) => report,
            };
            assert!(report.problems.is_empty(), "{}:\n{}", page.display(), render::human(&report, false));
        }
    }
    assert!(count >= 9, "{count} blocks: README, a page for each policy, and more");
}

#[test]
fn blocks_are_found_by_their_whole_fence() {
    let page = "a\n```toml complete\nx = 1\ny = 2\n```\n```toml\nz = 3\n```\n```toml complete\n```\n";
    assert_eq!(blocks(page, COMPLETE), ["x = 1\ny = 2", ""]);
}
