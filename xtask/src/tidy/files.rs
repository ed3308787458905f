//! How source files are named and how they begin.

use super::Finding;

/// Names that say nothing about what is inside. If a name needs one of these, the concept has no name yet.
const GRAB_BAGS: [&str; 9] =
    ["utils", "util", "helpers", "helper", "common", "types", "manager", "misc", "part2"];

/// All findings of one Rust file.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let finding = |message: String| Finding { path: path.into(), line: 1, message };
    let mut findings = Vec::new();
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    let folders: Vec<_> = inside.split('/').rev().skip(1).collect();
    if let Some(name) = GRAB_BAGS.iter().find(|name| **name == stem || folders.contains(name)) {
        findings.push(finding(format!("the name `{name}` is banned, use the name of the one idea inside")));
    }
    if stem == "mod" {
        let folder = path.trim_end_matches("/mod.rs");
        findings.push(finding(format!("`mod.rs` is banned, use `{folder}.rs` beside the folder")));
    }
    if !text.starts_with("//!") {
        findings.push(finding(
            "a module without `//!` is banned, use the first lines for what, why and limits".into(),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path, the text, and the word that the finding must name, if there must be one.
    const TABLE: &[(&str, &str, Option<&str>)] = &[
        ("gateway-userspace/src/route/host.rs", "//! Hosts.\n", None),
        ("gateway-userspace/src/route/utils.rs", "//! Things.\n", Some("`utils`")),
        ("gateway-userspace/src/misc/host.rs", "//! Hosts.\n", Some("`misc`")),
        ("gateway-common/src/source.rs", "//! Sources.\n", None),
        ("gateway-userspace/src/route/mod.rs", "//! Routes.\n", Some("`gateway-userspace/src/route.rs`")),
        ("gateway-userspace/src/route.rs", "use std::fs;\n", Some("`//!`")),
        ("gateway-userspace/src/route.rs", "", Some("`//!`")),
    ];

    #[test]
    fn names_and_beginnings_are_checked() {
        for (path, text, wanted) in TABLE {
            let findings = check(path, text);
            match wanted {
                None => assert_eq!(findings, [], "{path}"),
                Some(word) => {
                    assert!(findings.len() == 1 && findings[0].message.contains(word), "{path}: {findings:?}")
                }
            }
        }
    }
}
