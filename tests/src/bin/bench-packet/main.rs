//! What one packet costs: the kernel program beside a bare drop and beside Debian's `xdp-filter`.
//!
//! Every subject runs by `BPF_PROG_TEST_RUN` on a real-time thread, timed by the CPU clock of that thread,
//! in turns, so that a slow minute of the machine hits all alike. Two kinds of cases: the same frame again
//! and again (everything in the first-level cache), and frames whose source changes each time, written by a
//! generator program that then jumps to the subject; the generator's own cost, measured with the bare drop
//! behind it, is taken off.
//!
//! The SYN budget is configured in both rows with a budget. It is calm in one, which is how the gateway runs while
//! nothing presses: SYNs are packets like others. In the other it is armed.
//!
//! Besides, how fast a list comes into the kernel ([`lists`]).
//!
//! Usage: `bench-packet [--calls N] [--entries N,N,…] [--lists N] [--json FILE] [--check]`. With `--check` it fails when
//! a row costs more than it may ([`bars`]), and names it. Without entries, or with a list of 0, that part is left out.
//! Needs root, the object files below `target/ebpf`, and for the peer the package `xdp-tools`; without the peer its rows
//! are left out.
//!
//! Limits: a test run is not a network card. It shows what the program adds to a packet, and the order of
//! programs, not packets per second. Read `best` as the cost and `median` as the noise of the machine.

mod bars;
mod lists;
mod measure;
mod peers;
mod table;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use gateway_common::bench::Plan;
use gateway_userspace::dataplane::{Budgets, Dataplane, DenyEntry, Options};
use ipnet::IpNet;
use tests::packet::{ACK, Packet};

use crate::{
    measure::{Samples, on_realtime_thread},
    peers::{Generator, Peer, XdpFilter},
    table::Report,
};

/// Packets of one call: long enough for the call itself not to count.
const PACKETS: u32 = 50_000;
/// First number of the sources that are never listed. Entries count from 0.
const CLEAN: u32 = 1 << 31;
/// Not over any budget, whatever the test run does in a second: the same instructions as a real budget.
const LOOSE: Budgets = Budgets {
    packets_per_second: 1_000_000_000,
    packet_burst: 1_000_000_000_000,
    syns_per_second: 1_000_000_000,
    syn_burst: 1_000_000_000_000,
};

struct Arguments {
    calls: u32,
    entries: Vec<u32>,
    /// Length of the list that is told.
    lists: u32,
    json: Option<PathBuf>,
    check: bool,
}

fn main() -> Result<()> {
    let arguments = parse(std::env::args().skip(1))?;
    let mut report = Report::new();
    if arguments.lists > 0 {
        lists::run(arguments.lists, &mut report)?;
    }
    on_realtime_thread(move || {
        for &entries in &arguments.entries {
            Round::prepare(entries)?.run(arguments.calls, &mut report)?;
        }
        report.print();
        if let Some(path) = &arguments.json {
            report.write_json(path)?;
        }
        let missed = if arguments.check { bars::missed(&report) } else { Vec::new() };
        if !missed.is_empty() {
            bail!("too slow:\n{}", missed.join("\n"));
        }
        Ok(())
    })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut parsed = Arguments {
        calls: 60,
        entries: vec![1, 1_000, 100_000, 1_000_000],
        lists: 1_000_000,
        json: None,
        check: false,
    };
    while let Some(option) = arguments.next() {
        if option == "--check" {
            parsed.check = true;
            continue;
        }
        let value = arguments.next().with_context(|| format!("{option} wants a value"))?;
        match option.as_str() {
            "--calls" => parsed.calls = value.parse().context("--calls wants a number")?,
            "--lists" => parsed.lists = value.parse().context("--lists wants a number")?,
            "--json" => parsed.json = Some(value.into()),
            "--entries" => {
                parsed.entries = value
                    .split(',')
                    .filter(|number| !number.is_empty())
                    .map(|number| number.parse().context("--entries wants numbers"))
                    .collect::<Result<_>>()?;
            }
            _ => bail!("unknown option {option}; there are --calls, --entries, --lists, --json and --check"),
        }
    }
    Ok(parsed)
}

/// All subjects with lists of one length.
struct Round {
    entries: u32,
    ours: Ours,
    generator: Generator,
    filter: Option<XdpFilter>,
}

/// The program under test, with pins of its own that go with it.
struct Ours {
    dataplane: Dataplane,
}

impl Ours {
    fn load(entries: u32) -> Result<Self> {
        let options = Options {
            pin_root: format!("/sys/fs/bpf/portcullis-bench-{}", std::process::id()).into(),
            deny_capacity: entries.saturating_mul(2).max(1024),
            ..Options::default()
        };
        Ok(Self { dataplane: Dataplane::open(&options)? })
    }

    fn filled(entries: u32) -> Result<Self> {
        let mut this = Self::load(entries)?;
        let list: Vec<(IpNet, DenyEntry)> = (0..entries)
            .map(|number| IpAddr::from(Ipv4Addr::from(gateway_common::bench::scatter(number))))
            .map(|address| (address.into(), DenyEntry::forever(1)))
            .collect();
        let start = Instant::now();
        this.dataplane.deny_many(&list)?;
        eprintln!("denied {entries} addresses in {:.0?}", start.elapsed());
        Ok(this)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Err(error) = self.dataplane.detach(true) {
            eprintln!("the pins of the bench are left behind: {error}");
        }
    }
}

/// A subject of a case, in the order in which they take turns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Drop,
    XdpFilter,
    Filter,
    Budget,
    Armed,
}

const SUBJECTS: [Subject; 5] =
    [Subject::Drop, Subject::XdpFilter, Subject::Filter, Subject::Budget, Subject::Armed];

impl Subject {
    const fn name(self) -> &'static str {
        match self {
            Self::Drop => "return XDP_DROP",
            Self::XdpFilter => "xdp-filter",
            Self::Filter => "portcullis, no budget",
            Self::Budget => "packets budget",
            Self::Armed => "packets + SYNs armed",
        }
    }
}

impl Round {
    fn prepare(entries: u32) -> Result<Self> {
        eprintln!("filling lists with {entries} entries");
        let filter = XdpFilter::load(entries)?;
        if filter.is_none() {
            eprintln!("xdp-filter is not installed (package xdp-tools): its rows are left out");
        }
        Ok(Self { entries, ours: Ours::filled(entries)?, generator: Generator::load()?, filter })
    }

    fn run(mut self, calls: u32, report: &mut Report) -> Result<()> {
        let fixed = self.measure(calls, None)?;
        let floor = fixed[&Subject::Drop].best();
        self.add(report, "one clean source", fixed, 0.0);
        let listed = self.entries.next_power_of_two() / if self.entries.is_power_of_two() { 1 } else { 2 };
        for (case, first, pool) in [
            ("4096 clean sources", CLEAN, 4096),
            ("1M clean sources", CLEAN, 1 << 20),
            ("listed sources", 0, listed),
        ] {
            let plan = Plan { first, mask: pool - 1, next: 0, is_v6: 0 };
            let samples = self.measure(calls, Some(plan))?;
            let generator = samples[&Subject::Drop].best() - floor;
            self.add(report, case, samples, generator);
        }
        Ok(())
    }

    fn add(&self, report: &mut Report, case: &str, samples: BTreeMap<Subject, Samples>, generator: f64) {
        let case = format!("{} entries, {case}", self.entries);
        let peers: Vec<(&str, f64)> = [Subject::Drop, Subject::XdpFilter]
            .into_iter()
            .filter_map(|peer| Some((peer.name(), samples.get(&peer)?.best() - generator)))
            .collect();
        for (subject, samples) in &samples {
            report.add(
                &case,
                subject.name(),
                samples.best() - generator,
                samples.median() - generator,
                &peers,
            );
        }
    }

    /// One call of each subject in turn, `calls` times; the first turn warms the caches and is not counted.
    fn measure(&mut self, calls: u32, plan: Option<Plan>) -> Result<BTreeMap<Subject, Samples>> {
        let frame = Packet::from("203.0.113.1").tcp(443, ACK).build();
        let mut samples: BTreeMap<Subject, Samples> = BTreeMap::new();
        for call in 0..=calls {
            for subject in SUBJECTS {
                match subject {
                    Subject::Budget => {
                        self.ours.dataplane.set_budgets(&LOOSE)?;
                        self.ours.dataplane.calm(Duration::MAX)?;
                    }
                    Subject::Armed => {
                        self.ours.dataplane.set_budgets(&LOOSE)?;
                        self.ours.dataplane.arm()?;
                    }
                    Subject::Filter => self.ours.dataplane.set_budgets(&Budgets::default())?,
                    Subject::XdpFilter if self.filter.is_none() => continue,
                    Subject::XdpFilter | Subject::Drop => {}
                }
                let ns = self.call(subject, plan, &frame)?;
                if call > 0 {
                    samples.entry(subject).or_default().push(ns / f64::from(PACKETS));
                }
            }
        }
        Ok(samples)
    }

    fn call(&mut self, subject: Subject, plan: Option<Plan>, frame: &[u8]) -> Result<f64> {
        if let Some(plan) = plan {
            let program = match (subject, &self.filter) {
                (Subject::Drop, _) => self.generator.floor_fd()?,
                (Subject::XdpFilter, Some(filter)) => filter.fd()?,
                _ => peers::fd(self.ours.dataplane.program_fd()),
            };
            return self.generator.call(plan, program, frame, PACKETS);
        }
        match (subject, &self.filter) {
            (Subject::Drop, _) => self.generator.call_floor(frame, PACKETS),
            (Subject::XdpFilter, Some(filter)) => filter.call(frame, PACKETS),
            _ => measure::cpu_ns(|| {
                self.ours.dataplane.test_run(frame, PACKETS)?;
                Ok(())
            }),
        }
    }
}
