//! The steps of a test run, in order: cheap ones first.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::Tier;
use crate::{paths, privilege, privilege::Privilege, process};

/// One call of `cargo test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    tier: Tier,
    package: &'static str,
}

/// All steps. Unit tests run by package, so the table says where something broke.
const STEPS: &[Step] = &[
    Step { name: "unit: gateway-common", tier: Tier::Unit, package: "gateway-common" },
    Step { name: "unit: gateway", tier: Tier::Unit, package: "gateway-userspace" },
    Step { name: "unit: xtask", tier: Tier::Unit, package: "xtask" },
    Step { name: "unit: harness", tier: Tier::Unit, package: "tests" },
    Step { name: "unit: fuzzers", tier: Tier::Unit, package: "fuzz" },
    Step { name: "behaviour", tier: Tier::Behaviour, package: "tests" },
    Step { name: "verdict", tier: Tier::Verdict, package: "tests" },
    Step { name: "network", tier: Tier::Network, package: "tests" },
    Step { name: "boot", tier: Tier::Boot, package: "tests" },
];

/// The variables the tests read; sudo must not drop them.
const BINARY: &str = "PORTCULLIS_BIN";
const REQUIRE_KERNEL: &str = "PORTCULLIS_REQUIRE_KERNEL";
const VERDICT_TESTS: &str = "PORTCULLIS_VERDICT_TESTS";
const KEEP: [&str; 5] = [BINARY, REQUIRE_KERNEL, "RUST_BACKTRACE", "RUST_LOG", "CARGO_MANIFEST_DIR"];

/// The steps of `tier`, or all.
pub fn plan(tier: Option<Tier>) -> Vec<Step> {
    STEPS.iter().filter(|step| tier.is_none_or(|tier| step.tier == tier)).copied().collect()
}

impl Step {
    /// The `cargo test` of this step. Each test's output is asked for, because a skipped test looks like a passed one.
    pub fn command(&self, binary: &Path, require_kernel: bool, filter: Option<&str>) -> Result<Command> {
        let mut command = process::cargo();
        command.args(["test", "--package", self.package, "--no-fail-fast"]);
        match self.target() {
            Some(target) => {
                let folder = paths::root().join("tests/tests");
                let there = [format!("{target}.rs"), format!("{target}/main.rs")];
                if !there.iter().any(|file| folder.join(file).exists()) {
                    super::unknown_target(target)?;
                }
                command.args(["--test", target]);
            }
            None if self.package == "tests" => {
                command.arg("--lib");
            }
            None => {}
        }
        command.args(["--", "--show-output"]).args(filter);
        command.env(BINARY, binary);
        if require_kernel {
            command.env(REQUIRE_KERNEL, "1");
        }
        if self.tier == Tier::Boot {
            command.env(VERDICT_TESTS, built_tests("verdict")?);
        }
        if self.needs_root() && Privilege::current() == Privilege::Sudo {
            let options = privilege::sudo_options(&KEEP).join(" ");
            command.env(RUNNER, format!("sudo {options} --"));
        }
        Ok(command)
    }

    /// Whether the step starts the built gateway, and so cannot run when that did not build.
    pub fn needs_gateway(&self) -> bool {
        self.tier != Tier::Unit
    }

    /// A tier without a single test is a mistake; a small crate without unit tests is not.
    pub fn must_have_tests(&self) -> bool {
        self.tier != Tier::Unit
    }

    fn needs_root(&self) -> bool {
        matches!(self.tier, Tier::Verdict | Tier::Network)
    }

    fn target(&self) -> Option<&'static str> {
        match self.tier {
            Tier::Unit => None,
            Tier::Behaviour => Some("behaviour"),
            Tier::Verdict => Some("verdict"),
            Tier::Network => Some("network"),
            Tier::Boot => Some("boot"),
        }
    }
}

/// Builds the test target `target` of the package `tests` and returns its program.
fn built_tests(target: &str) -> Result<PathBuf> {
    let mut command = process::cargo();
    command.args(["test", "--package", "tests", "--test", target, "--no-run", "--quiet"]);
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let messages = process::capture(&mut command)?;
    let program = messages.lines().find_map(|line| program_of(line, target));
    program.with_context(|| format!("cargo built no tests `{target}`"))
}

/// The program that a message of cargo's (one JSON object) tells was built of the test target `target`.
fn program_of(message: &str, target: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let built = &message["target"];
    let wanted = built["name"] == target && built["kind"][0] == "test";
    wanted.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
}

/// How cargo is told to start a test through another program.
const RUNNER: &str = if cfg!(target_arch = "aarch64") {
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER"
} else {
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_selects_its_steps_and_no_tier_selects_all() {
        assert_eq!(plan(None).len(), STEPS.len());
        assert_eq!(plan(Some(Tier::Verdict)).iter().map(|step| step.name).collect::<Vec<_>>(), ["verdict"]);
        assert!(plan(Some(Tier::Unit)).len() > 1);
    }

    #[test]
    fn the_program_of_a_test_target_is_found_among_other_messages() {
        let message = |name: &str, kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["{kind}"]}},"executable":"/t/{name}-1"}}"#
            )
        };
        assert_eq!(program_of(&message("verdict", "test"), "verdict"), Some(PathBuf::from("/t/verdict-1")));
        assert_eq!(program_of(&message("verdict", "bin"), "verdict"), None);
        assert_eq!(program_of(&message("boot-guest", "bin"), "verdict"), None);
        assert_eq!(program_of(r#"{"reason":"build-finished","success":true}"#, "verdict"), None);
    }

    #[test]
    fn the_filter_and_the_environment_reach_cargo() {
        let step = plan(Some(Tier::Unit))[0];
        let command = step.command(Path::new("/x/portcullis"), true, Some("filter")).unwrap();
        assert!(process::line(&command).ends_with("-- --show-output filter"));
        let value =
            |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
        assert_eq!(value(BINARY).unwrap(), "/x/portcullis");
        assert_eq!(value(REQUIRE_KERNEL).unwrap(), "1");
    }
}
