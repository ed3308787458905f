//! Which tests are wanted, and the words of libtest for what became of them, which `cargo xtask test` reads.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

/// What became of one test: its name, and why it failed, if it did.
pub struct Verdict {
    /// With the kernel's prefix.
    pub test: String,
    /// `None` if it passed.
    pub failure: Option<String>,
}

/// The tests of this run.
pub struct Plan {
    /// What is still waited for.
    open: Vec<String>,
    filtered_out: usize,
    passed: usize,
    failures: BTreeMap<String, String>,
    started: Instant,
}

impl Plan {
    /// The tests among `names` that the arguments ask for: those that contain one of the words, or all. With `--list`
    /// prints them and returns none; other options of libtest change nothing.
    pub fn from_arguments(names: Vec<String>) -> Option<Plan> {
        let (options, words): (Vec<_>, Vec<_>) =
            std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
        let all = names.len();
        let wanted = |name: &String| words.is_empty() || words.iter().any(|word| name.contains(word));
        let open: Vec<_> = names.into_iter().filter(wanted).collect();
        if options.iter().any(|option| option == "--list") {
            open.iter().for_each(|name| println!("{name}: test"));
            return None;
        }
        println!("\nrunning {} tests", open.len());
        let filtered_out = all - open.len();
        let (passed, failures, started) = (0, BTreeMap::new(), Instant::now());
        Some(Plan { open, filtered_out, passed, failures, started })
    }

    /// Whether a test whose name begins so is wanted.
    pub fn wants(&self, prefix: &str) -> bool {
        self.open.iter().any(|name| name.starts_with(prefix))
    }

    /// The names of those.
    pub fn wanted_of(&self, prefix: &str) -> Vec<String> {
        self.open.iter().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// Takes and prints one verdict. One that was not waited for is passed over.
    pub fn take(&mut self, Verdict { test, failure }: Verdict) {
        let Some(at) = self.open.iter().position(|name| *name == test) else { return };
        self.open.swap_remove(at);
        println!("test {test} ... {}", if failure.is_none() { "ok" } else { "FAILED" });
        match failure {
            None => self.passed += 1,
            Some(failure) => drop(self.failures.insert(test, failure)),
        }
    }

    /// Prints the failures and the numbers.
    pub fn conclude(mut self) -> ExitCode {
        for test in std::mem::take(&mut self.open) {
            self.open.push(test.clone());
            self.take(Verdict { test, failure: Some("nothing was heard of it".into()) });
        }
        if !self.failures.is_empty() {
            println!("\nfailures:\n");
            for (test, failure) in &self.failures {
                println!("---- {test} stdout ----\n{failure}\n");
            }
            println!("\nfailures:");
            self.failures.keys().for_each(|test| println!("    {test}"));
        }
        let (passed, failed) = (self.passed, self.failures.len());
        println!(
            "\ntest result: {}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
            if failed == 0 { "ok" } else { "FAILED" },
            self.filtered_out,
            self.started.elapsed().as_secs_f64()
        );
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
