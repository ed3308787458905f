//! The sinks of the access log, each with a thread and a bounded queue of its own, so that a slow one holds up neither
//! requests nor the others.
//!
//! [`Writer`] lives as long as the process. A reload gives it another list of sinks: those that stay go on undisturbed
//! with what waits in them, a receiver in the network also when only its settings change.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::collector::{self, Settings};
use super::queue::{CHUNKS_MAX, Pool, Queue, Tally};
use super::stream::{self, Output};
use super::{Format, Log, syslog};

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, made if it is not there (readable by owner and group), appended to.
    File(PathBuf),
    /// Syslog. That nobody receives it is found out with the first lines, and costs those.
    Syslog(syslog::Receiver),
    /// A receiver that takes batches over HTTP. What waits for one that is away is kept within a bound.
    Collector(Arc<Settings>),
}

/// One of the sinks that lines are to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What metrics call it; one sink for each name.
    pub name: Arc<str>,
    /// What its lines look like.
    pub format: Format,
    /// Where they go.
    pub sink: Sink,
}

/// Why the log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be opened.
    #[error("cannot open the access log `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread can be started.
    #[error("cannot start the thread of the access log")]
    Thread(#[source] io::Error),
}

/// All sinks of the process.
pub struct Writer {
    targets: Mutex<Vec<(Target, Arc<Outlet>)>>,
    pool: Arc<Pool>,
    /// By name, those of sinks that are gone too: a count never falls.
    tallies: Mutex<BTreeMap<Arc<str>, Arc<Tally>>>,
    /// By when threads must be done, once that is known.
    end: watch::Sender<Option<Instant>>,
    /// Each thread holds one while it runs.
    running: Arc<()>,
}

/// Sinks that were opened and wait to be put in use.
pub struct Prepared(Vec<(Target, Arc<Outlet>)>);

impl Default for Writer {
    fn default() -> Writer {
        Writer {
            targets: Mutex::default(),
            pool: Arc::default(),
            tallies: Mutex::default(),
            end: watch::Sender::new(None),
            running: Arc::default(),
        }
    }
}

impl Writer {
    /// Opens what is not open yet; nothing in use changes. `None` if these are the sinks in use.
    pub fn prepare(&self, targets: Vec<Target>) -> Result<Option<Prepared>, StartError> {
        let current = lock(&self.targets);
        if current.iter().map(|(target, _)| target).eq(&targets) {
            return Ok(None);
        }
        let opened = targets.into_iter().map(|target| {
            let known = current.iter().find(|(known, _)| {
                known.name == target.name
                    && match (&known.sink, &target.sink) {
                        (Sink::Collector(_), Sink::Collector(_)) => true,
                        (known, wanted) => known == wanted,
                    }
            });
            let outlet = match known {
                Some((_, outlet)) => outlet.clone(),
                None => Arc::new(self.open(&target)?),
            };
            Ok((target, outlet))
        });
        opened.collect::<Result<_, StartError>>().map(|opened| Some(Prepared(opened)))
    }

    /// Puts prepared sinks in use; those that are no longer wanted end by themselves when the workers have let go of
    /// them and what waits is written. Workers need other logs now.
    pub fn adopt(&self, Prepared(opened): Prepared) {
        for (target, outlet) in &opened {
            if let (Sink::Collector(settings), Some(current)) = (&target.sink, &outlet.settings) {
                current.send_if_modified(|current| {
                    let differs = current != settings;
                    current.clone_from(settings);
                    differs
                });
            }
        }
        *lock(&self.targets) = opened;
    }

    /// A log for one worker; none if there are no sinks.
    pub fn log(&self) -> Option<Log> {
        let targets = lock(&self.targets);
        let mut lanes: Vec<(Format, Vec<Queue>)> = Vec::new();
        for (target, outlet) in targets.iter() {
            let queue = outlet.queue.clone();
            match lanes.iter_mut().find(|(format, _)| *format == target.format) {
                Some((_, queues)) => queues.push(queue),
                None => lanes.push((target.format.clone(), vec![queue])),
            }
        }
        (!lanes.is_empty()).then(|| Log::new(lanes, self.pool.clone()))
    }

    /// Asks for files to be opened anew, after they were rotated away; where that fails, the old one stays in use. A
    /// receiver of syslog messages is connected to anew, its name resolved again.
    pub fn reopen(&self) {
        for (_, outlet) in lock(&self.targets).iter() {
            outlet.reopen.store(true, Ordering::Release);
            outlet.queue.wake();
        }
    }

    /// What became of the lines of each sink that there is or was.
    pub fn tallies(&self) -> Vec<(Arc<str>, Arc<Tally>)> {
        lock(&self.tallies).iter().map(|(name, tally)| (name.clone(), tally.clone())).collect()
    }

    /// Lets go of all sinks: each writes what it was handed, and gives up at `by`. Logs should be dropped before.
    pub fn end(&self, by: Instant) {
        self.end.send_replace(Some(by));
        lock(&self.targets).clear();
    }

    /// Whether all threads have ended.
    pub fn ended(&self) -> bool {
        Arc::strong_count(&self.running) == 1
    }

    fn open(&self, target: &Target) -> Result<Outlet, StartError> {
        let (chunks, received) = mpsc::channel(CHUNKS_MAX);
        let tally = lock(&self.tallies).entry(target.name.clone()).or_default().clone();
        let queue = Queue { chunks, tally: tally.clone() };
        let reopen = Arc::new(AtomicBool::new(false));
        let (pool, running) = (self.pool.clone(), self.running.clone());
        let output = match &target.sink {
            Sink::Stdout => Output::stdout(),
            Sink::Stderr => Output::stderr(),
            Sink::File(path) => Output::file(path.clone())
                .map_err(|source| StartError::Open { path: path.clone(), source })?,
            Sink::Syslog(receiver) => Output::syslog(receiver.clone()),
            Sink::Collector(settings) => {
                let (settings, watched) = watch::channel(settings.clone());
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(StartError::Thread)?;
                let parts = collector::Parts {
                    name: target.name.clone(),
                    received,
                    settings: watched,
                    end: self.end.subscribe(),
                    pool,
                    tally,
                };
                start(move || {
                    runtime.block_on(collector::run(parts));
                    // A look-up of a name that still goes on must not hold up the end.
                    runtime.shutdown_background();
                    drop(running);
                })?;
                return Ok(Outlet { queue, reopen, settings: Some(settings) });
            }
        };
        let asked = reopen.clone();
        start(move || {
            stream::run(output, received, &pool, &tally, &asked);
            drop(running);
        })?;
        Ok(Outlet { queue, reopen, settings: None })
    }
}

/// A sink in use. Its thread ends when this and every log that writes to it are gone.
struct Outlet {
    queue: Queue,
    reopen: Arc<AtomicBool>,
    /// Of a receiver in the network.
    settings: Option<watch::Sender<Arc<Settings>>>,
}

fn start(run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    let thread = std::thread::Builder::new().name(String::from("access-log"));
    thread.spawn(run).map(drop).map_err(StartError::Thread)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
