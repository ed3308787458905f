//! `cargo xtask setup`: a doctor that then fixes.
//!
//! It lists each need with its state, how it will be fixed and about how long that takes, then installs. Needs are
//! kept apart by verb, so `run` installs no test servers. When all is there it takes a few milliseconds, which is
//! why every other verb can call [`ensure`] first. It never starts a service that a package brings, never removes a
//! package, and leaves what it built in the repository's own `.tools` folder.

mod crowdsec;
mod kernels;
mod linker;
pub mod needs;
mod node;
mod packages;
mod python;
mod qemu;
pub mod toolchain;
mod unpacked;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::needs::{Need, Remedy, State};
use crate::process;

#[derive(clap::Args)]
pub struct Arguments {
    /// Only report; exit code 1 if something is missing
    #[arg(long)]
    check: bool,
    /// Only what these verbs need [default: all]
    #[arg(value_enum)]
    verbs: Vec<Verb>,
}

/// What somebody wants to do. Each includes what it builds on: to run one must build first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    Build,
    Run,
    Test,
    /// The tests that boot other kernels, apart from the rest: it is the largest download
    Boot,
    Bench,
    Lint,
}

/// The verb itself: the table of all needs, then the repairs.
pub fn main(arguments: &Arguments) -> Result<()> {
    let verbs = if arguments.verbs.is_empty() { Verb::value_variants() } else { &arguments.verbs };
    let needs = needs::list(verbs);
    print(&needs);
    let missing: Vec<_> = needs.iter().filter(|need| need.is_missing()).collect();
    match (missing.len(), arguments.check) {
        (0, _) => println!("\nNothing to do."),
        (count, true) => bail!("{count} of {} needs missing; `cargo xtask setup` installs them", needs.len()),
        (_, false) => fix(&missing)?,
    }
    Ok(())
}

/// Installs what `verb` lacks; silent when nothing is missing.
pub fn ensure(verb: Verb) -> Result<()> {
    let needs = needs::list(&[verb]);
    let missing: Vec<_> = needs.iter().filter(|need| need.is_missing()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    process::announce("setup: this machine lacks");
    print_rows(missing.iter().copied());
    fix(&missing)
}

/// Repairs in the order that the repairs depend on each other: packages first, then what is compiled with them.
/// Looks again at the end, because an installer's exit code is no proof.
fn fix(missing: &[&Need]) -> Result<()> {
    let started = Instant::now();
    process::announce("setup: installing");
    let mut names: Vec<&str> = Vec::new();
    for need in missing {
        if let State::Missing { remedy: Remedy::Packages(wanted), .. } = &need.state {
            names.extend(wanted.iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        }
    }
    if !names.is_empty() {
        packages::install(&names)?;
    }
    for need in missing {
        match &need.state {
            State::Missing { remedy: Remedy::Steps(steps), .. } => steps()?,
            State::Missing { remedy: Remedy::ByHand(how), reason } => bail!("{}: {reason}. {how}", need.name),
            State::Missing { remedy: Remedy::Packages(_), .. } | State::Present(_) => {}
        }
    }
    if let Some((need, reason)) = missing.iter().find_map(|need| Some((need, need.still_missing()?))) {
        bail!("{} is still missing after its installation: {reason}", need.name);
    }
    println!("    setup finished in {}", process::elapsed(started));
    Ok(())
}

fn print(needs: &[Need]) {
    println!("{:<8} {:<26} STATE", "", "NEED");
    print_rows(needs.iter());
}

fn print_rows<'a>(needs: impl Iterator<Item = &'a Need>) {
    for need in needs {
        match &need.state {
            State::Present(version) => println!("{:<8} {:<26} {version}", "ok", need.name),
            State::Missing { reason, remedy } => {
                println!("{:<8} {:<26} {reason}; {}, {}", "MISSING", need.name, remedy, need.duration);
            }
        }
    }
}
