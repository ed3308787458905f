//! A receiver in the network that takes batches of lines over HTTP: a generic endpoint, Splunk, or OTLP.
//!
//! One thread for each. It takes what workers hand over into a bounded [`backlog`], cuts it into batches by bytes,
//! lines and age, and sends one after another. What the receiver cannot take now is sent again, with growing pauses or
//! when it says, until it is too old; what it does not want is dropped. Every line that is lost is counted. A batch whose
//! answer was lost may arrive twice.

mod answer;
mod backlog;
mod connection;
mod encode;
mod otlp;
mod retry;
mod settings;
mod splunk;

use std::cell::RefCell;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, watch};

pub use settings::{BatchLimits, Framing, Protocol, Settings};

use self::answer::Outcome;
use self::backlog::{Backlog, Batch, Due};
use self::connection::Connection;
use super::queue::{Chunk, Pool, Reason, Tally};
use crate::observe::random;

/// How long a sink that the configuration no longer names may go on sending what it was handed.
const LEAVE_TIME: Duration = Duration::from_secs(30);

/// What a collector's thread is made from.
pub struct Parts {
    pub name: Arc<str>,
    pub received: mpsc::Receiver<Chunk>,
    pub settings: watch::Receiver<Arc<Settings>>,
    /// By when to be done, once the process ends.
    pub end: watch::Receiver<Option<Instant>>,
    pub pool: Arc<Pool>,
    pub tally: Arc<Tally>,
}

/// Sends what comes until nobody can hand over any more and all of it is sent, or the time for that is over.
pub async fn run(parts: Parts) {
    let Parts { name, mut received, settings, end, pool, tally } = parts;
    let shared = Shared { name, pool, tally, backlog: RefCell::default(), more: Notify::new() };
    let up = time_is_up(settings.clone(), end.clone());
    let mut sender =
        Sender { shared: &shared, settings: settings.clone(), end, connection: None, failing: false };
    let all = async {
        tokio::join!(shared.take_in(&mut received, &settings), sender.send_all());
    };
    tokio::select! {
        biased;
        () = all => {}
        () = up => {}
    }
    let lost = shared.backlog.borrow().lines();
    if lost > 0 {
        shared.tally.lost(Reason::Ended, lost);
        tracing::warn!(sink = %shared.name, lines = lost, "the end came before the access log was sent");
    }
    shared.tally.waits(0);
}

/// Ready when the process's end is due, or some time after the sink was given up.
async fn time_is_up(mut settings: watch::Receiver<Arc<Settings>>, mut end: watch::Receiver<Option<Instant>>) {
    let ends = async {
        let by = match end.wait_for(Option::is_some).await {
            Ok(by) => *by,
            Err(_) => None,
        };
        match by {
            Some(by) => tokio::time::sleep_until(by.into()).await,
            None => pending().await,
        }
    };
    let left = async {
        while settings.changed().await.is_ok() {}
        tokio::time::sleep(LEAVE_TIME).await;
    };
    tokio::select! {
        () = ends => {}
        () = left => {}
    }
}

/// What taking in and sending have in common.
struct Shared {
    name: Arc<str>,
    pool: Arc<Pool>,
    tally: Arc<Tally>,
    backlog: RefCell<Backlog>,
    /// Something was added to the backlog, or nothing will be any more.
    more: Notify,
}

impl Shared {
    async fn take_in(&self, received: &mut mpsc::Receiver<Chunk>, settings: &watch::Receiver<Arc<Settings>>) {
        while let Some(chunk) = received.recv().await {
            if chunk.lines == 0 {
                continue;
            }
            let limits = settings.borrow().clone();
            let mut backlog = self.backlog.borrow_mut();
            let lost = backlog.add(&chunk.bytes, &limits, Instant::now());
            self.tally.waits(backlog.bytes());
            if lost > 0 && !self.tally.lost(Reason::Full, lost) {
                tracing::warn!(sink = %self.name, "too much of the access log waits; lines are dropped and counted");
            }
            self.pool.give_back(chunk.bytes);
            self.more.notify_one();
        }
        self.backlog.borrow_mut().close();
        self.more.notify_one();
    }

    /// The next batch, when it is due; none when all are sent and no more will come.
    async fn next(&self, settings: &watch::Receiver<Arc<Settings>>) -> Option<Batch> {
        loop {
            let due = self.backlog.borrow().due(&settings.borrow().batch, Instant::now());
            match due {
                Due::Now => return self.backlog.borrow_mut().take(),
                Due::Never => return None,
                Due::WithMore => self.more.notified().await,
                Due::At(time) => {
                    tokio::select! {
                        () = self.more.notified() => {}
                        () = tokio::time::sleep_until(time.into()) => {}
                    }
                }
            }
        }
    }

    /// Lines that need not be kept any more.
    fn settled(&self, bytes: usize, lines: u64) {
        let mut backlog = self.backlog.borrow_mut();
        backlog.settle(bytes, lines);
        self.tally.waits(backlog.bytes());
    }
}

struct Sender<'a> {
    shared: &'a Shared,
    settings: watch::Receiver<Arc<Settings>>,
    end: watch::Receiver<Option<Instant>>,
    connection: Option<Connection>,
    /// Whether the last exchange failed: the first failure and the recovery are told, the rest is only counted.
    failing: bool,
}

impl Sender<'_> {
    async fn send_all(&mut self) {
        while let Some(batch) = self.shared.next(&self.settings).await {
            self.send(batch).await;
        }
    }

    /// Sends a batch, again and again where that makes sense, until each of its lines is accepted or given up.
    async fn send(&mut self, mut batch: Batch) {
        let mut failures = 0;
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let outcome = self.exchange(&settings, &batch).await;
            let tally = &self.shared.tally;
            let (after, problem) = match outcome {
                Outcome::Accepted { refused } => {
                    tally.wrote(batch.lines.saturating_sub(refused));
                    self.refuse(refused, "single lines were refused");
                    self.shared.settled(batch.bytes.len(), batch.lines);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(sink = %self.shared.name, "the access log is accepted again");
                    }
                    return;
                }
                Outcome::Refused(problem) => {
                    self.refuse(batch.lines, &problem);
                    self.shared.settled(batch.bytes.len(), batch.lines);
                    return;
                }
                Outcome::Partly { refused, again } => {
                    tally.wrote((batch.lines - again.lines).saturating_sub(refused));
                    self.refuse(refused, "single lines were refused");
                    self.shared.settled(batch.bytes.len() - again.bytes.len(), batch.lines - again.lines);
                    batch = again;
                    (None, String::from("single lines cannot be taken now"))
                }
                Outcome::NotNow { after, problem } => (after, problem),
            };
            if !std::mem::replace(&mut self.failing, true) {
                tracing::warn!(sink = %self.shared.name, %problem, "the access log cannot be sent; it will be tried again");
            }
            failures += 1;
            if batch.since.elapsed() > settings.retry_for {
                tally.lost(Reason::Expired, batch.lines);
                self.shared.settled(batch.bytes.len(), batch.lines);
                return;
            }
            // A receiver may ask for a longer pause than our own, and not for none.
            let own = retry::pause(failures, random::fraction());
            let pause = after.map_or(own, |asked| asked.max(own));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.news() => {}
            }
        }
    }

    async fn exchange(&mut self, settings: &Settings, batch: &Batch) -> Outcome {
        let body = encode::body(settings, &batch.bytes, SystemTime::now());
        let answer = tokio::time::timeout(
            settings.timeout,
            connection::exchange(&mut self.connection, settings, body),
        );
        match answer.await {
            Ok(Ok(answer)) => answer::outcome(settings, answer, batch, SystemTime::now()),
            Ok(Err(error)) => Outcome::NotNow { after: None, problem: chain(&error) },
            Err(_) => {
                self.connection = None;
                Outcome::NotNow { after: None, problem: String::from("no answer in time") }
            }
        }
    }

    fn refuse(&self, lines: u64, problem: &str) {
        if lines > 0 && !self.shared.tally.lost(Reason::Refused, lines) {
            tracing::warn!(sink = %self.shared.name, %problem, "the receiver refuses the access log; lines are dropped and counted");
        }
    }

    /// What makes another attempt worth while before its time: other settings, or the end, which leaves no later one.
    async fn news(&mut self) {
        let settings = async {
            if self.settings.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        let end = async {
            if self.end.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = settings => {}
            () = end => {}
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
