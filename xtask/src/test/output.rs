//! Reads what `cargo test -- --show-output` writes: sums, failed names, skipped tests.
//!
//! libtest knows no skipped tests. A test of ours that cannot run prints `SKIPPED reason` and returns, so libtest
//! counts it as passed; [`Watcher`] moves it to the skipped ones. `SKIPPED-ON-KERNEL reason` says the same of a test that
//! this host's kernel refuses to anybody, and `SKIPPED-UNAVAILABLE reason` of one whose peer is not to be had on this
//! machine: these must not fail a run that forbids skips. The output of tests that passed is asked for only
//! to see those lines and is not shown.

/// The sums of one or more test binaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    /// One line for each skipped test: its name and the reason.
    pub skips: Vec<String>,
    /// How many of those nobody could run on this host.
    pub excused: usize,
    /// The names of the failed tests.
    pub failures: Vec<String>,
}

impl Tally {
    /// How many tests there were.
    pub fn all(&self) -> usize {
        self.passed + self.failed + self.skips.len()
    }

    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skips.extend(other.skips.iter().cloned());
        self.excused += other.excused;
        self.failures.extend(other.failures.iter().cloned());
    }

    /// `3 passed, 0 failed, 1 skipped`
    pub fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.len())
    }
}

/// Follows the output line by line.
#[derive(Debug, Default)]
pub struct Watcher {
    total: Tally,
    block: Block,
    /// The test whose captured output the lines belong to.
    test: Option<String>,
    /// The skips of the binary that is running now.
    skips: Vec<String>,
}

/// Where in libtest's output a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    /// The list of tests, or cargo's own lines.
    #[default]
    Running,
    /// The captured output of tests that passed.
    Successes,
    /// The captured output and then the names of tests that failed.
    Failures,
}

impl Watcher {
    /// Takes one line; returns what of it a person should see.
    pub fn take<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.end_of_binary(result);
            return Some(line);
        }
        match line {
            "successes:" => self.block = Block::Successes,
            "failures:" => self.block = Block::Failures,
            _ => {}
        }
        if let Some(name) = captured_output_of(line) {
            self.test = Some(name.to_owned());
        }
        let skip = skip_in(line);
        // A test that failed is a failure, whatever it said before.
        if let Some((why, reason)) = skip.filter(|_| self.block != Block::Failures) {
            self.skip(why, reason);
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.total.failures.push(name.to_owned());
        }
        if let Some(name) = ignored(line) {
            self.skips.push(format!("{name}: marked #[ignore]"));
        }
        let noise = self.block == Block::Successes || line.is_empty();
        (skip.is_some() || !noise).then_some(line)
    }

    /// The sums of all binaries.
    pub fn finish(mut self) -> Tally {
        // A binary that was killed leaves no result line; its skips must not get lost.
        self.total.skips.append(&mut self.skips);
        self.total
    }

    /// A test counts as skipped once, however many lines it prints.
    fn skip(&mut self, why: Why, reason: &str) {
        let line = match &self.test {
            Some(test) => format!("{test}: {reason}"),
            None => reason.to_owned(),
        };
        let same_test =
            |known: &String| self.test.as_ref().is_some_and(|test| known.starts_with(&format!("{test}: ")));
        if !self.skips.iter().any(|known| *known == line || same_test(known)) {
            self.skips.push(line);
            self.total.excused += usize::from(why == Why::Excused);
        }
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`
    fn end_of_binary(&mut self, result: &str) {
        let number = |unit: &str| {
            let mut parts = result.split(['.', ';']).map(str::trim);
            parts.find_map(|part| part.strip_suffix(unit)?.trim().parse::<usize>().ok()).unwrap_or_default()
        };
        let skipped_as_passed = self.skips.len().saturating_sub(number("ignored"));
        self.total.passed += number("passed").saturating_sub(skipped_as_passed);
        self.total.failed += number("failed");
        self.total.skips.append(&mut self.skips);
        self.block = Block::Running;
        self.test = None;
    }
}

/// Why a test was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Something is missing that can be had.
    Missing,
    /// The kernel of this host refuses it to anybody, or its peer is not to be had here.
    Excused,
}

/// What a line says about a skipped test.
fn skip_in(line: &str) -> Option<(Why, &str)> {
    let rest = line.trim_start().strip_prefix("SKIPPED")?;
    let excused = ["-ON-KERNEL", "-UNAVAILABLE"].iter().find_map(|excuse| rest.strip_prefix(excuse));
    let (why, rest) = match excused {
        Some(rest) => (Why::Excused, rest),
        None => (Why::Missing, rest),
    };
    rest.starts_with([' ', ':']).then(|| (why, rest.trim_start_matches([' ', ':'])))
}

/// The test named in `---- module::name stdout ----`.
fn captured_output_of(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" ----")?.strip_suffix(" stdout")
}

/// The test named in `test module::name ... ignored` or `… ignored, reason`.
fn ignored(line: &str) -> Option<&str> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    result.starts_with("ignored").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(output: &str) -> (Tally, String) {
        let mut watcher = Watcher::default();
        let shown: Vec<_> = output.lines().filter_map(|line| watcher.take(line)).collect();
        let shown = shown.join("\n");
        (watcher.finish(), shown)
    }

    const TWO_BINARIES: &str = "
running 3 tests
test a::one ... ok
test a::two ... FAILED
test needs_root ... ok

successes:

---- a::one stdout ----
noise of a test that passed
---- needs_root stdout ----
SKIPPED needs root: this is uid 1000
SKIPPED needs root: said twice


successes:
    a::one
    needs_root

failures:

---- a::two stdout ----
assertion failed: 1 == 2

failures:
    a::two

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s


running 2 tests
test late ... ok
test slow ... ignored, takes a day

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s
";

    #[test]
    fn sums_run_over_all_binaries_and_a_skip_is_not_a_pass() {
        let (tally, _) = watch(TWO_BINARIES);
        assert_eq!((tally.passed, tally.failed, tally.skips.len()), (2, 1, 2));
        assert_eq!(tally.line(), "2 passed, 1 failed, 2 skipped");
        assert_eq!(tally.failures, ["a::two"]);
        assert_eq!(tally.skips, ["needs_root: needs root: this is uid 1000", "slow: marked #[ignore]"]);
    }

    #[test]
    fn failures_and_skips_are_shown_and_the_noise_of_passed_tests_is_not() {
        let (_, shown) = watch(TWO_BINARIES);
        assert!(shown.contains("assertion failed: 1 == 2") && shown.contains("SKIPPED needs root: this is"));
        assert!(!shown.contains("noise of a test that passed"));
    }

    #[test]
    fn the_skips_of_a_killed_binary_are_kept() {
        let (tally, _) = watch("running 1 test\nSKIPPED no kernel\n");
        assert_eq!(tally.line(), "0 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_test_that_fails_after_it_said_skipped_has_failed() {
        let (tally, _) = watch(
            "test a ... FAILED\ntest b ... ok\n\nfailures:\n\n---- a stdout ----\nSKIPPED half of it\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n",
        );
        assert_eq!(tally.line(), "1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_test_that_nobody_can_run_here_is_skipped_and_told_apart() {
        let mut watcher = Watcher::default();
        let mut shown = Vec::new();
        for line in [
            "SKIPPED-ON-KERNEL a: no EXT",
            "SKIPPED b: no root",
            "SKIPPED-UNAVAILABLE c: no CrowdSec",
            "test a ... ok",
            "test b ... ok",
            "test c ... ok",
        ] {
            shown.extend(watcher.take(line));
        }
        watcher.take("test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        let tally = watcher.finish();
        assert_eq!(tally.line(), "1 passed, 0 failed, 3 skipped");
        assert_eq!(
            (tally.skips.as_slice(), tally.excused),
            (&["a: no EXT".into(), "b: no root".into(), "c: no CrowdSec".into()][..], 2)
        );
        assert_eq!(shown[0], "SKIPPED-ON-KERNEL a: no EXT");
        assert_eq!(skip_in("SKIPPED-ON-KERNELS a"), None);
    }

    #[test]
    fn a_word_that_only_begins_like_a_skip_is_none() {
        let (tally, _) = watch("SKIPPEDLY\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n");
        assert_eq!(tally.line(), "1 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn tallies_add_up() {
        let mut total = Tally { passed: 1, ..Tally::default() };
        let (skips, failures) = (vec!["x".into()], vec!["y".into()]);
        total.add(&Tally { passed: 2, failed: 1, skips, excused: 1, failures });
        assert_eq!((total.line().as_str(), total.all()), ("3 passed, 1 failed, 1 skipped", 5));
        assert_eq!(total.excused, 1);
    }
}
