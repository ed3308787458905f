//! `cargo xtask soak`: a gateway and its kernel stage for as long as one likes, see [`tests::soak`].

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use tests::soak::{Limit, Soak};

/// The first of its two networks.
const NET: u8 = 50;
/// How often it says how it goes.
const TOLD_EVERY: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Arguments {
    /// For how many seconds
    #[arg(long)]
    seconds: u64,
    /// The seed of what happens
    #[arg(long)]
    seed: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut soak = Soak::start(NET, arguments.seed)?;
    let started = Instant::now();
    let mut told = started;
    let limit = Limit { steps: None, time: Some(Duration::from_secs(arguments.seconds)) };
    let report = soak
        .run(limit, |report| {
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                let steps: u64 = report.steps.values().sum();
                println!(
                    "{:>4} s: {steps} steps, {} comparisons",
                    started.elapsed().as_secs(),
                    report.compared
                );
            }
        })
        .with_context(|| format!("seed {}", arguments.seed))?;
    for (name, count) in &report.steps {
        println!("{count:>6} × {name}");
    }
    if let Some(why) = &report.without_maps {
        println!("SKIPPED soak: {why}");
    }
    let Some(mean) = report.bans.checked_div(report.compared as usize) else { return Ok(()) };
    println!(
        "{} comparisons of {mean} bans on average and {} at most: ledger, kernel and state file agreed in each; seed {}",
        report.compared, report.most, arguments.seed
    );
    Ok(())
}
