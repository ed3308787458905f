//! The task that keeps issuers' keys fresh, on a thread and runtime of its own.
//!
//! Each issuer has one task: it fetches at once, then a little before `refresh` is over, after a failure with growing
//! pauses, and whenever a request asks. What came last and was good stays in force whatever happens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::discovery::{self, DiscoveryError};
use super::document::{Author, Change, DocumentError, KeySet, Skipped};
use super::issuer::{Issuer, Origin};
use super::key::KeyError;
use super::transfer::{self, TransferError};
use crate::observe::random;

/// Longest that one fetch may take: discovery, redirects and keys together.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// First pause after a failure; doubles up to [`PAUSE_MAX`].
pub const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause after failures.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);

/// An issuer and how to fetch its keys.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose keys.
    pub issuer: Arc<Issuer>,
    /// How old keys may get before they are fetched again.
    pub refresh: Duration,
    /// CA certificates beside the system's.
    pub ca: Option<PathBuf>,
}

/// Why a fetch brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The document could not be read.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// Discovery led nowhere.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// What came is no set of keys.
    #[error("the key document is of no use: {0}")]
    Document(#[from] DocumentError),
    /// It took longer than it may.
    #[error("the issuer took too long to answer")]
    Timeout,
}

/// The running tasks. Dropping it ends them.
pub struct Fetcher {
    jobs: mpsc::UnboundedSender<Vec<Job>>,
}

impl Fetcher {
    /// Starts the thread; it has nothing to do until [`Fetcher::keep`].
    pub fn start() -> std::io::Result<Fetcher> {
        let (jobs, received) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name(String::from("keys"))
            .spawn(move || runtime.block_on(supervise(received)))?;
        Ok(Fetcher { jobs })
    }

    /// Replaces the list of issuers that are kept fresh: new ones are fetched at once, known ones go on undisturbed,
    /// others are given up. Called with each configuration that comes into force.
    pub fn keep(&self, jobs: Vec<Job>) {
        // The thread ends only when this sender is dropped.
        let _ = self.jobs.send(jobs);
    }
}

async fn supervise(mut received: mpsc::UnboundedReceiver<Vec<Job>>) {
    let mut running: HashMap<*const Issuer, (Job, AbortHandle)> = HashMap::new();
    while let Some(jobs) = received.recv().await {
        let mut next = HashMap::new();
        for job in jobs.into_iter().filter(|job| job.issuer.origin().is_some()) {
            let id = Arc::as_ptr(&job.issuer);
            match running.remove(&id) {
                Some((known, task)) if known.refresh == job.refresh && known.ca == job.ca => {
                    next.insert(id, (known, task));
                }
                replaced => {
                    if let Some((_, task)) = replaced {
                        task.abort();
                    }
                    let task = tokio::spawn(keep_fresh(job.clone())).abort_handle();
                    next.insert(id, (job, task));
                }
            }
        }
        for (_, task) in std::mem::replace(&mut running, next).into_values() {
            task.abort();
        }
    }
}

/// Fetches the keys of one issuer for ever.
async fn keep_fresh(job: Job) {
    let Some(origin) = job.issuer.origin().cloned() else { return };
    let (Origin::Url(url) | Origin::Discovery(url)) = &origin;
    if !transfer::is_protected(url) {
        tracing::warn!(auth = %job.issuer.name(), %url, "keys come without TLS: whoever is on the way can sign tokens");
    }
    let mut failures = 0;
    loop {
        let attempt = job.issuer.begin();
        match fetch(&origin, job.ca.as_deref(), TIMEOUT).await {
            Ok((keys, skipped)) => {
                failures = 0;
                let change = attempt.succeed(keys, Instant::now());
                report(job.issuer.name(), change, &skipped);
            }
            Err(error) => {
                failures += 1;
                let reason = chain(&error);
                if attempt.fail(&reason, Instant::now()) {
                    tracing::warn!(auth = %job.issuer.name(), %reason, "the issuer's keys could not be fetched");
                }
            }
        }
        let pause = pause(failures, job.refresh, random::fraction());
        tokio::select! {
            // First, so that a wish that comes together with the end of the pause is not granted twice.
            biased;
            () = job.issuer.wanted() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn fetch(
    origin: &Origin,
    ca: Option<&Path>,
    timeout: Duration,
) -> Result<(KeySet, Vec<Skipped>), FetchError> {
    let document = match tokio::time::timeout(timeout, document(origin, ca)).await {
        Ok(document) => document?,
        Err(_) => return Err(FetchError::Timeout),
    };
    Ok(KeySet::parse(&document, Author::Issuer)?)
}

async fn document(origin: &Origin, ca: Option<&Path>) -> Result<Bytes, FetchError> {
    match origin {
        Origin::Url(url) => Ok(transfer::get(url, ca).await?),
        Origin::Discovery(issuer) => {
            let document = transfer::get(&discovery::location(issuer), ca).await?;
            let url = discovery::keys_url(issuer, &document)?;
            Ok(transfer::get(&url, ca).await?)
        }
    }
}

/// How long to pause after `failures` failures in a row; `fraction` (0 to 1) spreads many gateways over time.
fn pause(failures: u32, refresh: Duration, fraction: f64) -> Duration {
    match failures {
        // Ahead of time, so that a slow issuer does not make keys older than asked for.
        0 => refresh.mul_f64(0.8 + 0.15 * fraction).max(PAUSE_MIN),
        failures => {
            let pause = PAUSE_MIN.saturating_mul(1 << (failures - 1).min(16)).min(PAUSE_MAX).min(refresh);
            pause.mul_f64(0.5 + 0.5 * fraction).max(PAUSE_MIN / 2)
        }
    }
}

/// Tells of keys that came and went. What is left out is told only then: issuers show the same set for months.
fn report(name: &str, change: Change, skipped: &[Skipped]) {
    if change == (Change { added: 0, withdrawn: 0 }) {
        return;
    }
    tracing::info!(auth = %name, added = change.added, withdrawn = change.withdrawn, "the issuer's keys have changed");
    for key in skipped {
        if key.reason == KeyError::NotForSignatures {
            tracing::debug!(auth = %name, index = key.index, reason = %key.reason, "a key of the issuer is left out");
        } else {
            tracing::warn!(auth = %name, index = key.index, reason = %key.reason, "a key of the issuer is left out");
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
