//! `fuzz packet|list|http`: runs a fuzzer, in a process of its own that may die of what it finds.
//!
//! Exit codes: 0 nothing was wrong; 1 something was, and it is told with the seed and the file of the input; 2 the
//! arguments are wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use fuzz::http::Http;
use fuzz::list::Lists;
use fuzz::packet::Packets;
use fuzz::record::Record;
use fuzz::run::{self, Failure, HANG, Limit, TRIED, Target};

#[derive(Parser, Debug)]
#[command(name = "fuzz", about = "Fuzzes what parses bytes of strangers")]
struct Arguments {
    /// What to fuzz
    #[arg(value_enum)]
    target: Name,
    /// For how many seconds [default: 60, unless --inputs is given]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// With how many inputs
    #[arg(long, value_name = "COUNT")]
    inputs: Option<u64>,
    /// The seed of the run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try this input alone
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "inputs"])]
    input: Option<PathBuf>,
    /// Where an input is left that went wrong
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// Note each input in this file and die of it
    #[arg(long, hide = true)]
    record: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// The kernel program on frames
    Packet,
    /// The parser and the writers of lists
    List,
    /// Our HTTP/1 and hyper's
    Http,
}

impl Name {
    fn target(self) -> Result<Box<dyn Target>> {
        Ok(match self {
            Name::Packet => Box::new(Packets::new()?),
            Name::List => Box::new(Lists),
            Name::Http => Box::new(Http::new()?),
        })
    }

    fn text(self) -> &'static str {
        match self {
            Name::Packet => "packet",
            Name::List => "list",
            Name::Http => "http",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.record {
        Some(record) => fuzz(&arguments, record),
        None => supervise(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the process that fuzzes; whether nothing was wrong.
fn supervise(arguments: &Arguments) -> Result<bool> {
    std::fs::create_dir_all(&arguments.folder)?;
    let name = arguments.target.text();
    let record = arguments.folder.join(format!("{name}-{}.record", std::process::id()));
    let mut command = Command::new(std::env::current_exe()?);
    let status = command.args(std::env::args_os().skip(1)).arg("--record").arg(&record).status();
    let status = status.context("cannot start the process that fuzzes")?;
    let dead = status.code().is_none();
    if dead {
        let input = Record::last(&record).context("no input is known that it died of")?;
        let failure = Failure { input, what: format!("the process died of it: {status}") };
        report(arguments, &failure)?;
    }
    std::fs::remove_file(&record)?;
    Ok(!dead && status.success())
}

/// Fuzzes in this process.
fn fuzz(arguments: &Arguments, record: &Path) -> Result<bool> {
    let mut target = arguments.target.target()?;
    let record = Record::create(record)?;
    // A panic is told with its input below.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(file) = &arguments.input {
        let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        return match run::try_one(&mut *target, &input, Some(&record)) {
            Ok(_) => {
                println!("{}: nothing is wrong with {}", arguments.target.text(), file.display());
                Ok(true)
            }
            Err(failure) => {
                println!("{}: {}", arguments.target.text(), failure.what);
                Ok(false)
            }
        };
    }
    std::thread::spawn(watch);
    let seconds = arguments.seconds.or(arguments.inputs.is_none().then_some(60));
    let limit = Limit { inputs: arguments.inputs, time: seconds.map(Duration::from_secs) };
    let started = Instant::now();
    match run::run(&mut *target, arguments.seed, limit, Some(&record)) {
        Ok(tally) => {
            let (name, seed) = (arguments.target.text(), arguments.seed);
            let (inputs, ways, time) = (tally.inputs, tally.ways, started.elapsed().as_secs_f64());
            println!(
                "{name}: {inputs} inputs went {ways} ways, and none was wrong; seed {seed}, {time:.1} s"
            );
            if ways < WAYS_MIN {
                bail!("{ways} ways are too few: the inputs do not reach what is fuzzed");
            }
            Ok(true)
        }
        Err(failure) => {
            report(arguments, &failure)?;
            Ok(false)
        }
    }
}

/// Ways that the seeds alone go.
const WAYS_MIN: usize = 20;

/// Ends the process, as a fault would, when an input hangs.
fn watch() {
    let (mut tried, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = TRIED.load(Relaxed);
        if now != tried {
            (tried, since) = (now, Instant::now());
        } else if since.elapsed() > HANG {
            eprintln!("an input hangs for {} s", HANG.as_secs());
            std::process::abort();
        }
    }
}

/// Says what was wrong, and leaves the input in a file.
fn report(arguments: &Arguments, failure: &Failure) -> Result<()> {
    let name = arguments.target.text();
    let file = arguments.folder.join(format!("{name}-seed-{}.input", arguments.seed));
    std::fs::write(&file, &failure.input).with_context(|| format!("cannot write {}", file.display()))?;
    println!("{name}: {}", failure.what);
    println!("seed {}; the input, of {} bytes: {}", arguments.seed, failure.input.len(), file.display());
    let hex: Vec<String> = failure.input.iter().take(256).map(|byte| format!("{byte:02x}")).collect();
    println!("{}{}", hex.join(" "), if failure.input.len() > 256 { " …" } else { "" });
    println!("once more: cargo xtask fuzz {name} --input {}", file.display());
    Ok(())
}
