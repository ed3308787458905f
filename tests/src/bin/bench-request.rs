//! `cargo xtask bench request`: CPU microseconds per proxied request and requests per second, against Debian's nginx
//! and haproxy in the same run.
//!
//! Each subject has one processor; load and upstream share another. Samples are short and taken in turns, so that what
//! the machine does besides hits all subjects alike; medians, and ratios of figures that stand next to each other in
//! time, are what counts. The gateway is the binary that `PORTCULLIS_BIN` names. Who is not there is not measured.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser as _;
use serde_json::json;

use tests::load::{Load, Settings};
use tests::origin::{BODY_BYTES, Origin};
use tests::request_bench::case::Case;
use tests::request_bench::processors::{self, Processors};
use tests::request_bench::proxy::Proxy;
use tests::request_bench::report::{self, Series};
use tests::request_bench::secrets::Secrets;
use tests::request_bench::subject::Subject;

/// Connections of the load, each with one request under way.
const CONNECTIONS: usize = 64;
/// Before each sample, unmeasured: caches of the processor fill, connections to the upstream open.
const WARM_UP: Duration = Duration::from_millis(300);
/// Most requests of one sample, whatever the time.
const REQUESTS_MAX: u64 = 2_000_000;

/// CPU and throughput of proxying, against nginx and haproxy.
#[derive(clap::Parser)]
struct Arguments {
    /// Seconds of one sample
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Samples of each subject in each case
    #[arg(long, default_value_t = 7)]
    samples: usize,
    /// Two samples of one second: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Only these cases [default: all]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Case::ALL.map(Case::slug)))]
    case: Vec<String>,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (time, rounds) = match arguments.quick {
        true => (Duration::from_secs(1), 2),
        false => (Duration::try_from_secs_f64(arguments.seconds)?, arguments.samples),
    };
    if rounds == 0 || time.is_zero() {
        bail!("nothing to measure: at least one sample that takes time");
    }
    let on = Processors::choose()?;
    if on.proxy == on.load {
        eprintln!("warning: one processor only, so the proxy and its load compete");
    }
    processors::pin(on.load)?;
    let (present, missing): (Vec<_>, Vec<_>) =
        Subject::ALL.into_iter().partition(|subject| subject.version().is_some());
    for subject in &missing {
        println!("{}: not measured, there is no binary", subject.name());
    }
    let secrets = Secrets::make()?;
    let origin = Origin::start(move || {
        if let Err(error) = processors::pin(on.load) {
            eprintln!("warning: the upstream is not pinned: {error:#}");
        }
    })?;

    let mut all = Vec::new();
    for case in Case::ALL {
        if !arguments.case.is_empty() && !arguments.case.iter().any(|slug| slug == case.slug()) {
            continue;
        }
        eprintln!("{}: {rounds} samples of {} s for each subject", case.name(), time.as_secs_f64());
        all.extend(measure(case, &present, &origin, &secrets, on, time, rounds)?);
    }
    let rows = report::rows(&all);
    print!("{}", report::table(&rows, &report::bars(&rows)));
    if let Some(file) = &arguments.json {
        let document = report::json(&rows, machine(&present, on, time, rounds), &missing);
        std::fs::write(file, format!("{document:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// All subjects in one case, in turns.
fn measure(
    case: Case,
    subjects: &[Subject],
    origin: &Origin,
    secrets: &Secrets,
    on: Processors,
    time: Duration,
    rounds: usize,
) -> Result<Vec<Series>> {
    let mut running = Vec::new();
    for &subject in subjects {
        let started = subject.start(case, origin.address, secrets, on);
        let proxy = started.with_context(|| format!("cannot start {}", subject.name()))?;
        std::thread::sleep(WARM_UP);
        let memory_mib = processors::memory_of(proxy.id())? as f64 / f64::from(1 << 20);
        if subject.verifies_tokens() {
            refuses_forgeries(case, &proxy, secrets)
                .with_context(|| format!("{} does not verify tokens", subject.name()))?;
        }
        let series = Series { subject, case, cost: Vec::new(), rate: Vec::new(), memory_mib };
        running.push((proxy, series));
    }
    for _round in 0..rounds {
        for (proxy, series) in &mut running {
            let (cost, rate) = sample(case, proxy, secrets, time)
                .with_context(|| format!("{} in the case {}", series.subject.name(), case.name()))?;
            series.cost.push(cost);
            series.rate.push(rate);
        }
    }
    Ok(running.into_iter().map(|(_proxy, series)| series).collect())
}

/// A subject that lets a forged token pass would be measured without its work.
fn refuses_forgeries(case: Case, proxy: &Proxy, secrets: &Secrets) -> Result<()> {
    let Some(request) = case.forged_request(secrets) else { return Ok(()) };
    let settings = Settings { address: proxy.address, connections: 1, request, status: 200, tls: None };
    let mut load = Load::open(&settings)?;
    match load.run(WARM_UP, 1) {
        Ok(_outcome) => bail!("it forwarded a request with a forged signature"),
        Err(refused) if refused.to_string().contains(" 401 ") => Ok(()),
        Err(error) => Err(error),
    }
}

/// Microseconds per request, and requests per second.
fn sample(case: Case, proxy: &Proxy, secrets: &Secrets, time: Duration) -> Result<(f64, f64)> {
    let tls = (case == Case::Tls).then(|| (secrets.client.clone(), "bench.test"));
    let request = case.request(secrets);
    let settings = Settings { address: proxy.address, connections: CONNECTIONS, request, status: 200, tls };
    let mut load = Load::open(&settings)?;
    load.run(WARM_UP, REQUESTS_MAX)?;
    let before = processors::time_of(proxy.id())?;
    let outcome = load.run(time, REQUESTS_MAX)?;
    let spent = processors::time_of(proxy.id())? - before;
    let requests = outcome.requests as f64;
    Ok((spent.as_secs_f64() * 1e6 / requests, requests / outcome.elapsed.as_secs_f64()))
}

fn machine(subjects: &[Subject], on: Processors, time: Duration, rounds: usize) -> serde_json::Value {
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let versions: serde_json::Map<String, serde_json::Value> = subjects
        .iter()
        .filter_map(|subject| Some((subject.name().to_owned(), json!(subject.version()?))))
        .collect();
    json!({
        "processor": processor,
        "processors": on.count,
        "kernel": kernel,
        "subjects": versions,
        "connections": CONNECTIONS,
        "body_bytes": BODY_BYTES,
        "sample_s": time.as_secs_f64(),
        "samples": rounds,
    })
}
