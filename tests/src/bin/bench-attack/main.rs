//! `cargo xtask bench attack`: what one packet of a flood costs the core that it hits, behind several defences, and what
//! a refused request costs beside it.
//!
//! The flood: SYNs from 1024 listed sources, as many as one core can make, over a veth pair between two network
//! namespaces. The victim's end is polled by a kernel thread (threaded NAPI) that has a core of its own, so the run time
//! of that thread over the packets received is what a packet costs, whoever drops it. Both it and the generator have
//! real-time priority. The defences take turns.
//!
//! Limits: a veth pair is no network card, and both cores are the same machine's. Where a defence is faster than the
//! generator the thread also sleeps and wakes, so the cost of the cheapest ones is an upper bound.

mod defence;
mod flood;
mod napi;
mod refusals;
mod report;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;
use tests::figures;
use tests::interrupt;
use tests::namespace::Pair;
use tests::request_bench::processors;
use tests::stop::Stop;

use crate::defence::{Defence, Subject};
use crate::flood::Flood;
use crate::napi::Received;
use crate::report::{Report, Series};

/// Before each sample, unmeasured: queues and caches fill, and each ban logs its first drop.
const WARM_UP: Duration = Duration::from_millis(400);
/// Where the flood goes; somebody listens there.
const PORT: u16 = 8080;

/// What one packet of a flood and one refused request cost.
#[derive(clap::Parser)]
struct Arguments {
    /// Seconds of one sample
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Samples of each defence
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Two samples of half a second: whether it works, not what it costs
    #[arg(long)]
    quick: bool,
    /// Fail if a bar is missed
    #[arg(long)]
    check: bool,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (time, rounds) = match arguments.quick {
        true => (Duration::from_millis(500), 2),
        false => (Duration::try_from_secs_f64(arguments.seconds)?, arguments.rounds),
    };
    ensure!(rounds > 0 && !time.is_zero(), "nothing to measure: at least one sample that takes time");
    interrupt::watch()?;
    let on = Cores::choose()?;
    let machine = figures::machine();
    let mut missing = Vec::new();
    let mut subjects = Subject::ALL.to_vec();
    if !defence::has_nft() {
        println!("nft is not installed (package nftables): its rows are left out");
        missing.extend(subjects.extract_if(.., |subject| subject.needs_nft()).map(Subject::name));
    }
    let packets = flood_all(&subjects, on, time, rounds)?;
    let requests = refusals::measure(on, time, rounds, &mut missing)?;
    let report = Report { machine, packets, requests, missing, sample: time };
    print!("{}", report.table());
    if let Some(file) = &arguments.json {
        std::fs::write(file, format!("{:#}\n", report.json()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let over = report.bars().iter().filter(|bar| !bar.is_met()).count();
    if arguments.check && over > 0 {
        bail!("{over} bars are missed");
    }
    Ok(())
}

/// Which core does what.
#[derive(Clone, Copy)]
struct Cores {
    /// Receives the flood; has the proxies that refuse.
    victim: usize,
    /// Makes the flood and the requests.
    attacker: usize,
}

impl Cores {
    /// The first two that this process may use.
    fn choose() -> Result<Cores> {
        use rustix::thread::{CpuSet, sched_getaffinity};
        let allowed = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        match (usable.next(), usable.next()) {
            (Some(victim), Some(attacker)) => Ok(Cores { victim, attacker }),
            _ => bail!("an attack needs two processors"),
        }
    }
}

/// All defences against the flood, in turns.
fn flood_all(subjects: &[Subject], on: Cores, time: Duration, rounds: usize) -> Result<Vec<Series>> {
    let pair = Pair::make()?;
    let mut flood = pair.attacker.run(|| Flood::prepare(&pair, PORT))?;
    pair.victim.run(|| napi::join_packets(&pair.victim))?;
    // Both are polled now, the one for its program, the other for what it joins.
    napi::thread_polling(&pair.victim)?;
    napi::thread_polling(&pair.attacker)?;
    napi::pin(&pair.attacker, on.attacker)?;
    let stop = AtomicBool::new(false);
    let mut all: Vec<Series> = subjects.iter().map(|&subject| Series::new(subject)).collect();
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let (attacker, stop) = (&pair.attacker, &stop);
        let sender = scope.spawn(move || {
            attacker.run(|| {
                processors::pin(on.attacker)?;
                napi::become_realtime(0)?;
                flood.send(stop)
            })
        });
        let measured = pair.victim.run(|| {
            let _listener = std::net::TcpListener::bind(("0.0.0.0", PORT)).context("nobody listens")?;
            for round in 1..=rounds {
                eprintln!("round {round} of {rounds}: {} s for each defence", time.as_secs_f64());
                for series in &mut all {
                    let sample = sample(series.subject, &pair, on, time)
                        .with_context(|| format!("with {}", series.subject.name()))?;
                    ensure!(!sender.is_finished(), "the flood has ended");
                    series.push(sample);
                }
            }
            Ok(())
        });
        drop(stopping);
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the flood panicked"))?;
        // Why there was no flood explains whatever went wrong with the measuring.
        sent.and(measured)
    })?;
    Ok(all)
}

/// One defence for a while; what each packet cost, and how many there were in a second.
fn sample(subject: Subject, pair: &Pair, on: Cores, time: Duration) -> Result<Sample> {
    let mut defence = Defence::put_up(subject, &pair.victim)?;
    // A thread of this device's polling may have been made just now.
    let thread = napi::pin(&pair.victim, on.victim)?;
    interrupt::sleep(WARM_UP)?;
    defence.drain();
    let (before, spent_before) = (Received::by(&pair.victim.interface)?, napi::run_time(thread)?);
    interrupt::sleep(time)?;
    let (after, spent_after) = (Received::by(&pair.victim.interface)?, napi::run_time(thread)?);
    let packets = (after.packets - before.packets) as f64;
    ensure!(packets > 1000.0, "hardly a packet arrived ({packets})");
    // A defence that lets packets through would be measured without its work.
    let passed = (after.segments - before.segments) as f64 / packets;
    ensure!(
        if subject == Subject::Nothing { passed > 0.9 } else { passed < 0.001 },
        "of all packets {:.2} % reached TCP",
        passed * 100.0
    );
    let spent = (spent_after - spent_before).as_secs_f64();
    let seconds = time.as_secs_f64();
    Ok(Sample { ns: spent * 1e9 / packets, rate: packets / seconds, busy: spent / seconds })
}

/// What one sample said.
struct Sample {
    /// Nanoseconds of the victim's core per packet.
    ns: f64,
    /// Packets received per second.
    rate: f64,
    /// Share of the core's time, 0 to 1. Well below 1 the thread had nothing to do at times, and was woken again.
    busy: f64,
}
