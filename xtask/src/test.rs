//! `cargo xtask test`: everything that can be tested on this machine, one summary, one line of numbers.
//!
//! Steps go on after a failed one, so that one run reports all there is to mend. A test that cannot run prints a line
//! that begins with `SKIPPED` and passes; here it is counted as skipped and shown again at the end, and with
//! `--require-kernel` it makes the run fail, unless the line begins with `SKIPPED-ON-KERNEL`: what this host's kernel
//! refuses to anybody is tested on the kernels of the tier `boot`; or with `SKIPPED-UNAVAILABLE`: a peer that is not to be had
//! here, which `cargo xtask setup` has looked for. The last line is always `N passed, N failed, N skipped`.

mod output;
mod steps;

use std::{
    io::{BufRead, BufReader, IsTerminal},
    path::Path,
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use self::{
    output::{Tally, Watcher},
    steps::Step,
};
use crate::{
    build::{self, Profile},
    process, setup,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// Fail when a test is skipped for want of root, of a kernel with BPF, or of a program
    #[arg(long)]
    require_kernel: bool,
    /// Only this tier
    #[arg(long, value_enum)]
    tier: Option<Tier>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// The tests by what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    /// The code alone
    Unit,
    /// The real binary and real peers, no root
    Behaviour,
    /// Tables of packets against the kernel program (`BPF_PROG_TEST_RUN`)
    Verdict,
    /// Network namespaces and veth pairs
    Network,
    /// Virtual machines that boot other kernels, and are reset
    Boot,
}

/// What became of one step.
struct Outcome {
    step: Step,
    tally: Tally,
    /// Why the step failed apart from its tests, such as code that does not compile.
    trouble: Option<String>,
    time: String,
}

/// The verb itself.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(setup::Verb::Test)?;
    if arguments.tier.is_none_or(|tier| tier == Tier::Boot)
        && let Err(error) = setup::ensure(setup::Verb::Boot)
    {
        eprintln!("error: {error:#}\nThe tier `boot` is skipped for that reason.");
    }
    let binary = build::gateway(Profile::Dev);
    let (binary, build_trouble) = match binary {
        Ok(binary) => (binary, None),
        Err(error) => (Profile::Dev.folder().join("portcullis"), Some(format!("{error:#}"))),
    };
    let mut outcomes = Vec::new();
    for step in steps::plan(arguments.tier) {
        process::announce(&format!("test: {}", step.name));
        let started = Instant::now();
        let (tally, trouble) = match (&build_trouble, step.needs_gateway()) {
            (Some(trouble), true) => (Tally::default(), Some(trouble.clone())),
            _ => match carry_out(&step, &binary, arguments) {
                Ok((tally, trouble)) => (tally, trouble),
                Err(error) => (Tally::default(), Some(format!("{error:#}"))),
            },
        };
        let time = process::elapsed(started);
        if let Some(trouble) = &trouble {
            eprintln!("error: {trouble}");
        }
        println!("    {}: {} in {time}", step.name, tally.line());
        outcomes.push(Outcome { step, tally, trouble, time });
    }
    conclude(&outcomes, arguments)
}

/// Runs one step and reads its output as it comes.
fn carry_out(step: &Step, binary: &Path, arguments: &Arguments) -> Result<(Tally, Option<String>)> {
    let mut command = step.command(binary, arguments.require_kernel, arguments.filter.as_deref())?;
    let mut child = process::spawn(command.stdout(Stdio::piped()))?;
    let stdout = child.stdout.take().context("the child's standard output was piped")?;
    let mut watcher = Watcher::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some(line) = watcher.take(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().with_context(|| format!("waiting for `{}`", process::line(&command)))?;
    let tally = watcher.finish();
    let explained = status.success() || tally.failed > 0;
    let trouble = (!explained).then(|| format!("`{}` ended with {status}", process::line(&command)));
    let empty = tally.all() == 0 && arguments.filter.is_none() && step.must_have_tests();
    Ok((tally, trouble.or_else(|| empty.then(|| format!("{} ran no test at all", step.name)))))
}

/// Prints the table, the skips and the numbers; fails if anything did.
fn conclude(outcomes: &[Outcome], arguments: &Arguments) -> Result<()> {
    process::announce("test: summary");
    println!("{:<22} {:>8} {:>8} {:>8} {:>14}", "STEP", "PASSED", "FAILED", "SKIPPED", "TIME");
    let mut total = Tally::default();
    for Outcome { step, tally, trouble, time } in outcomes {
        // A step that broke down counts as one failure, or the numbers would look clean.
        let failed = tally.failed + usize::from(trouble.is_some());
        println!("{:<22} {:>8} {failed:>8} {:>8} {time:>14}", step.name, tally.passed, tally.skips.len());
        total.add(tally);
        total.failed += usize::from(trouble.is_some());
    }
    for Outcome { step, trouble, .. } in outcomes {
        if let Some(trouble) = trouble {
            println!("{}: {trouble}", step.name);
        }
    }
    for name in &total.failures {
        println!("FAILED  {name}");
    }
    let (loud, plain) = if std::io::stdout().is_terminal() { ("\x1b[1;33m", "\x1b[0m") } else { ("", "") };
    for skip in &total.skips {
        println!("{loud}SKIPPED{plain} {skip}");
    }
    if arguments.filter.is_some() && total.all() == 0 && total.failed == 0 {
        println!("no test has a name that contains the filter");
    }
    let skip_fails = arguments.require_kernel && total.skips.len() > total.excused;
    if skip_fails {
        eprintln!("error: --require-kernel was given, so a skipped test is a failure");
    }
    println!("{}", total.line());
    if total.failed > 0 || skip_fails || total.all() == 0 {
        // The last line is the numbers, alone; the exit code says the rest.
        std::process::exit(1);
    }
    Ok(())
}

/// Refuses what no tier can do.
fn unknown_target(tier: &str) -> Result<()> {
    bail!(
        "the package `tests` has no test target `{tier}` (tests/tests/{tier}.rs or tests/tests/{tier}/main.rs)"
    )
}
