//! `cargo xtask bench reaction`: how soon an abuser is shut out, by us and by what reads logs.
//!
//! The same abuser for all: 20 refused requests over one connection, then a SYN every 2 ms. What counts is the time from
//! the last refusal, as the abuser receives it, to the first SYN that is answered no more. Victim and abuser are network
//! namespaces; each round has a source address of its own, so that nobody meets an earlier ban.
//!
//! Ours refuses and bans by itself. fail2ban (Debian's, its nftables action) and CrowdSec with its firewall bouncer
//! (Debian's, nftables, offline, with a parser and a scenario of the bench's own) read the log of nginx, which refuses.

mod abuser;
mod crowdsec;
mod fail2ban;
mod service;
mod stack;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use serde_json::{Value, json};
use tests::figures::{self, percentile};
use tests::interrupt;
use tests::namespace::Pair;

use crate::stack::{Stack, Subject};

/// Sources of the abuser, all of which it has.
const SOURCES: &str = "10.7.0.0/16";
/// Between the start and the first round.
const SETTLE: Duration = Duration::from_secs(3);

/// How soon an abuser is shut out.
#[derive(clap::Parser)]
struct Arguments {
    /// Rounds of ours, at most 1000
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(..=1000))]
    ours: u16,
    /// Rounds of fail2ban, at most 1000
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(..=1000))]
    fail2ban: u16,
    /// Rounds of CrowdSec, at most 1000
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(..=1000))]
    crowdsec: u16,
    /// Three rounds of ours, one of each other: whether it works
    #[arg(long)]
    quick: bool,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What one of them did.
struct Series {
    subject: Subject,
    version: String,
    /// Milliseconds to the first SYN without an answer, one for each round.
    ms: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    interrupt::watch()?;
    let machine = figures::machine();
    let pair = Pair::make()?;
    pair.attacker.own_all(SOURCES)?;
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for subject in Subject::ALL {
        let rounds = match (subject, arguments.quick) {
            (Subject::Portcullis, true) => 3,
            (_, true) => 1,
            (Subject::Portcullis, false) => arguments.ours,
            (Subject::Fail2ban, false) => arguments.fail2ban,
            (Subject::Crowdsec, false) => arguments.crowdsec,
        };
        let Some(version) = subject.version() else {
            println!("{}: not measured, it is not installed", subject.name());
            missing.push(subject.name());
            continue;
        };
        if rounds == 0 {
            continue;
        }
        eprintln!("{}: {rounds} rounds", subject.name());
        let measured = pair.victim.run(|| measure(subject, &pair, rounds));
        all.push(Series { subject, version, ms: measured.with_context(|| subject.name())? });
    }
    print!("{}", table(&all));
    if let Some(file) = &arguments.json {
        let document = json(&all, machine, &missing);
        std::fs::write(file, format!("{document:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Runs in the victim's namespace, so that what it starts belongs there.
fn measure(subject: Subject, pair: &Pair, rounds: u16) -> Result<Vec<f64>> {
    let stack = Stack::start(subject, &pair.victim)?;
    // What reads a log has said that it is ready before it watches.
    interrupt::sleep(SETTLE)?;
    let mut times = Vec::new();
    // The first round is not counted: with it, some make the set that they ban by.
    for round in 0..=rounds {
        interrupt::sleep(subject.period() * u32::from(round) / u32::from(rounds))?;
        let [high, low] = (round + 1).to_be_bytes();
        // The subjects share nothing but the network, and that has an address for each round of each.
        let source = Ipv4Addr::new(10, 7, high | (subject as u8) << 4, low);
        // SYNs come every 2 ms; shifted in each round, so that the rounds together tell the time between two.
        let phase = abuser::INTERVAL * u32::from(round % 20) / 20;
        let took = pair
            .attacker
            .run(|| abuser::attack(source, stack.address(), phase, subject.patience()))
            .with_context(|| format!("round {}", round + 1))?;
        if round > 0 {
            times.push(took.as_secs_f64() * 1e3);
        }
    }
    Ok(times)
}

fn table(all: &[Series]) -> String {
    let mut text = format!(
        "{:<28} {:>6} {:>12} {:>12} {:>12}   version\n",
        "ms to the first lost SYN", "rounds", "least", "p50", "p99"
    );
    for Series { subject, version, ms } in all {
        text += &format!(
            "{:<28} {:>6} {:>12.2} {:>12.2} {:>12.2}   {version}\n",
            subject.name(),
            ms.len(),
            percentile(ms, 0),
            percentile(ms, 50),
            percentile(ms, 99)
        );
    }
    text
}

fn json(all: &[Series], machine: Value, missing: &[&str]) -> Value {
    let rows: Vec<Value> = all
        .iter()
        .map(|Series { subject, version, ms }| {
            json!({
                "case": "20 refusals, then a SYN every 2 ms", "subject": subject.name(), "version": version,
                "unit": "ms", "rounds": ms.len(),
                "least": percentile(ms, 0), "p50": percentile(ms, 50), "p99": percentile(ms, 99),
            })
        })
        .collect();
    json!({ "bench": "reaction", "machine": machine, "rows": rows, "not_measured": missing })
}
