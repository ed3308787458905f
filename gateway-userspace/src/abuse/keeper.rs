//! The one thread that decides about bans.
//!
//! It owns scores, ledger, exemptions, evidence, state file and the enforcer, so none of them needs a lock. It sleeps
//! on one channel, through which signals, clients that were served and operators' questions come, and wakes for nothing else but the next ban's
//! end and once a second for the housekeeping. From the denial that meets a rule to the entry in the kernel there is
//! one wake-up of this thread and one map update.

mod lists;
mod operator;
mod overflow;
mod owner;
mod parole;
mod promote;
mod refusal;
mod report;
mod restore;
mod shadow;
mod suppression;
#[cfg(test)]
mod tests;
mod verdict;
mod verify;
mod widening;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::oneshot;

use super::ban::By;
use super::counters::Counters;
use super::enforcer::Enforcer;
use super::exempt::Because;
use super::reporter::{InFlight, Reporter, Seen};
use super::signal::Signal;
use super::{deny, score, state};
use crate::admin::api;

pub use lists::{Changed, Known, Settled};
pub use owner::Owner;
pub use refusal::Refusal;

/// How often the housekeeping runs: sweeping, drift, flushing the state file.
const TICK: Duration = Duration::from_secs(1);

/// What a reload may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// When a source is banned; none: never by rule. At most [`score::RULES_MAX`].
    pub rules: Vec<score::Rule>,
    /// Whether bans drop; otherwise they are counted only.
    pub enforce: bool,
    /// How often the client of a ban by rule is let through in its last third; none: never.
    pub parole: Option<Duration>,
    /// Most bans in the kernel; as many again hold at layer 7.
    pub capacity: usize,
    /// How many good clients a ban by rule may cut beside the one that it is meant for.
    pub collateral: u32,
    /// Who is never banned: `never`, trusted proxies, upstream targets. Loopback and the surroundings come by themselves.
    pub exempt: Vec<(IpNet, Because)>,
}

/// What a keeper needs to begin.
#[derive(Debug)]
pub struct Options {
    /// What a reload may change later.
    pub settings: Settings,
    /// Folder of the state file; none: nothing is kept.
    pub state: Option<PathBuf>,
}

/// What the keeper's channel carries.
pub enum Message {
    /// A refusal.
    Signal(InFlight<Signal>),
    /// The client of a ban was let through on parole, and behaved.
    Behaved(InFlight<u32>),
    /// A client that was served.
    Seen(InFlight<Seen>),
    /// A question or a command, which answers through what it captured.
    Ask(Box<dyn FnOnce(&mut Owner) + Send>),
    /// The end: write everything down and go.
    Stop,
}

/// The way to the keeper. Cheap to clone; the thread ends when every handle and reporter is gone, or with [`Keeper::stop`].
#[derive(Clone)]
pub struct Handle {
    sender: mpsc::Sender<Message>,
    counters: Arc<Counters>,
    deny: Arc<deny::Shared>,
    /// Whether ledger, kernel and file are being compared.
    verifying: Arc<AtomicBool>,
    /// Whoever sums shadow bans up.
    reporting: Arc<tokio::sync::Mutex<()>>,
}

/// The running thread.
pub struct Keeper {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// The keeper has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the abuse loop has stopped")]
pub struct Stopped;

impl Keeper {
    /// Reads the state file, brings it and the kernel to agree, and starts the thread.
    ///
    /// Bans are in force when this returns. The thread is in the caller's network namespace.
    pub fn spawn(options: Options, enforcer: Box<dyn Enforcer>) -> Result<Keeper, state::Error> {
        let owner = Owner::open(options, enforcer)?;
        let (sender, receiver) = mpsc::channel();
        let (counters, deny) = (owner.counters.clone(), owner.deny.clone());
        let handle = Handle { sender, counters, deny, verifying: Arc::default(), reporting: Arc::default() };
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || run(owner, &receiver))
            .expect("the system has room for one more thread at the start");
        Ok(Keeper { handle, thread })
    }

    /// The way to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes everything down and ends the thread. Bans stay in force in the kernel.
    pub fn stop(self) {
        // Either fails only if the thread is gone already.
        let _ = self.handle.sender.send(Message::Stop);
        let _ = self.thread.join();
    }
}

fn run(mut owner: Owner, receiver: &mpsc::Receiver<Message>) {
    let mut next_tick = Instant::now() + TICK;
    loop {
        let wake = owner.next_end().map_or(next_tick, |end| end.min(next_tick));
        match receiver.recv_timeout(wake.saturating_duration_since(Instant::now())) {
            Ok(Message::Signal(in_flight)) => guarded(&mut owner, |owner| owner.signal(in_flight.arrive())),
            Ok(Message::Behaved(ban)) => guarded(&mut owner, |owner| owner.behaved(ban.arrive())),
            Ok(Message::Seen(in_flight)) => guarded(&mut owner, |owner| owner.seen(&in_flight.arrive())),
            Ok(Message::Ask(question)) => guarded(&mut owner, question),
            Ok(Message::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => guarded(&mut owner, Owner::expire),
        }
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + TICK;
            guarded(&mut owner, Owner::tick);
        }
    }
    owner.close();
}

/// One step that may not take the thread with it: without the thread nobody is banned any more, and no ban can be lifted.
///
/// A broken invariant costs the step in which it shows. What it leaves behind is at worst one ban that is in one list
/// and not in another; its lease ends it everywhere.
fn guarded(owner: &mut Owner, step: impl FnOnce(&mut Owner)) {
    let step = std::panic::AssertUnwindSafe(|| step(&mut *owner));
    if std::panic::catch_unwind(step).is_err() {
        owner.counters.panics.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::error!(
            "a step of the abuse loop panicked and was given up; this is a bug, please report it"
        );
    }
}

impl Handle {
    /// A worker's way to report refusals.
    pub fn reporter(&self) -> Reporter {
        Reporter::new(self.sender.clone(), self.counters.clone())
    }

    /// A worker's view of who is banned.
    pub fn deny(&self) -> deny::Reader {
        self.deny.reader()
    }

    /// What the abuse loop counts.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Runs a question on the keeper's thread and brings back the answer.
    pub async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Owner) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        self.post(question)?.await.map_err(|_| Stopped)
    }

    /// The same for threads without a runtime; it must not be called on one.
    pub fn ask_blocking<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Owner) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        self.post(question)?.blocking_recv().map_err(|_| Stopped)
    }

    fn post<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Owner) -> R + Send + 'static,
    ) -> Result<oneshot::Receiver<R>, Stopped> {
        let (answer, receiver) = oneshot::channel();
        // Whoever asked may have gone away; then nobody misses the answer.
        let ask = move |owner: &mut Owner| drop(answer.send(question(owner)));
        self.sender.send(Message::Ask(Box::new(ask))).map_err(|_| Stopped)?;
        Ok(receiver)
    }

    /// Takes over what a reload changed.
    pub async fn configure(&self, settings: Settings) -> Result<(), Stopped> {
        self.ask(move |owner| owner.configure(settings)).await
    }

    /// `portcullis bans`
    pub async fn bans(&self, request: api::ListBans) -> Result<api::Bans, Refusal> {
        self.ask(move |owner| owner.list(&request)).await?
    }

    /// `portcullis ban`
    pub async fn ban(&self, request: api::BanPrefix, by: By) -> Result<api::Changed, Refusal> {
        self.ask(move |owner| owner.ban(&request, by)).await?
    }

    /// `portcullis promote`
    pub async fn promote(&self, request: api::Promote) -> Result<api::Changed, Refusal> {
        self.ask(move |owner| owner.promote(&request)).await?
    }

    /// Whether a rule that observes may be armed, and what it would have done.
    pub async fn may_arm(&self, rule: String, force: bool) -> Result<String, Refusal> {
        self.ask(move |owner| owner.may_arm(&rule, force)).await?
    }

    /// Arms the shadow bans of a rule, and says which.
    pub async fn arm(&self, rule: String, force: bool) -> Result<Vec<String>, Refusal> {
        Ok(self.ask(move |owner| owner.arm(&rule, force)).await?)
    }

    /// `portcullis unban`
    pub async fn unban(&self, request: api::Unban) -> Result<api::Changed, Refusal> {
        self.ask(move |owner| owner.unban(&request)).await?
    }

    /// `portcullis suppress --list`
    pub async fn suppressions(&self) -> Result<api::Suppressions, Refusal> {
        Ok(self.ask(Owner::suppressions).await?)
    }

    /// `portcullis suppress --remove`
    pub async fn unsuppress(&self, request: api::Unsuppress) -> Result<api::Changed, Refusal> {
        self.ask(move |owner| owner.unsuppress(&request)).await?
    }

    /// `portcullis offender`
    pub async fn offender(&self, request: api::GetOffender) -> Result<api::Offender, Refusal> {
        self.ask(move |owner| owner.offender(&request)).await?
    }

    /// `portcullis allow`
    pub async fn allow(&self, request: api::AllowPrefix) -> Result<api::Changed, Refusal> {
        self.ask(move |owner| owner.allow(&request)).await?
    }

    /// `portcullis allow --list`
    pub async fn allowed(&self) -> Result<api::Allowed, Refusal> {
        Ok(self.ask(|owner| owner.allowed()).await?)
    }

    /// `portcullis deny list`
    pub async fn lists(&self) -> Result<api::DenyLists, Refusal> {
        Ok(self.ask(Owner::lists).await?)
    }

    /// The kernel stage's state, for `portcullis status` and the metrics.
    pub async fn kernel_status(&self) -> Result<api::KernelStatus, Stopped> {
        self.ask(|owner| owner.enforcer.status()).await
    }

    /// The busiest sources, for `portcullis top`.
    pub async fn sources(&self, count: usize) -> Result<Vec<api::SourceTop>, Stopped> {
        self.ask(move |owner| owner.sources(count)).await
    }

    /// The sources over a packet budget, for `portcullis top`.
    pub async fn shed(&self, count: usize) -> Result<Vec<api::ShedSource>, Stopped> {
        self.ask(move |owner| owner.enforcer.shed(count)).await
    }

    /// CPU time that bans have saved, for `portcullis status`.
    pub async fn saved(&self) -> Result<Vec<api::Saved>, Stopped> {
        self.ask(Owner::saved).await
    }

    /// What is known about one address, for `portcullis explain`: the ban that covers it, else why it is never banned.
    pub async fn explain(&self, address: std::net::IpAddr) -> Result<String, Stopped> {
        self.ask(move |owner| owner.explain(address)).await
    }
}
