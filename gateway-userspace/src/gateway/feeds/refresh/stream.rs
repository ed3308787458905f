//! A list of CrowdSec's local API: everything once, then what is new and what is gone since.
//!
//! The API remembers when each key asked last. So everything is read anew after a start and after whatever went wrong, and
//! besides that when half of the lease is over: that renews it, and mends what may have been missed.

use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::{Failure, Task};
use crate::dial::Url;
use crate::feeds::Format;
use crate::feeds::decisions::{self, Decisions};
use crate::feeds::fetch::{self, Fetched, Version};
use crate::feeds::parse::Outcome;
use crate::gateway::chain;
use crate::gateway::feeds::Fault;
use crate::gateway::feeds::tell::Read;

/// Decisions whose time is over are taken out that often at most: it takes a look at all of them.
const ENDS_EVERY: Duration = Duration::from_secs(5);

/// What stands in such a list.
#[derive(Debug)]
pub struct Stream {
    decisions: Decisions,
    /// What was told of them.
    told: Vec<IpNet>,
    /// Whether the next answer goes on where this one ends; else everything is asked for.
    goes_on: bool,
    /// When it was looked last whether the time of any is over.
    looked: Instant,
}

impl Task {
    /// Asks for everything, or for what has changed.
    pub(super) async fn pull(&mut self, url: &Url) -> Result<(), Failure> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let is_fresh = left.is_some_and(|left| left > self.list.lease / 2);
        // Until this has gone well; else the API takes for told what nobody has.
        let went_on = self.stream.as_mut().is_some_and(|stream| std::mem::take(&mut stream.goes_on));
        let goes_on = went_on && is_fresh;
        let url = decisions::asking(url, !goes_on);
        let Fetched::List(answer, _) = self.fetch(&url, &Version::default()).await? else {
            return Err(fetch::Error::Status(304).into());
        };
        let (most, now) = (self.list.entries_max, Instant::now());
        match &mut self.stream {
            Some(stream) if goes_on => {
                let (has_changed, outcome) = stream.decisions.follow(&answer, most, now)?;
                drop(answer);
                if has_changed {
                    self.change(outcome).await?;
                } else {
                    let name = self.list.name.clone();
                    let unchanged = self.teller.keeper.ask(move |owner| owner.list_unchanged(&name));
                    unchanged.await.map_err(Fault::from)?;
                }
            }
            _ => {
                let (decisions, outcome) = Decisions::begin(&answer, most, now)?;
                drop(answer);
                self.begin_with(decisions, outcome).await?;
            }
        }
        self.stream.iter_mut().for_each(|stream| stream.goes_on = true);
        Ok(())
    }

    async fn begin_with(&mut self, decisions: Decisions, outcome: Outcome) -> Result<(), Failure> {
        self.say_skipped(&outcome);
        let read = read(&decisions, outcome);
        let terms = self.terms(Format::CrowdSec.name());
        let told = self.teller.tell(&self.list.name, terms, read, false, None).await?;
        self.until = told.lease_end;
        let (told, outside) = (told.prefixes, told.outside);
        self.stream = Some(Stream { decisions, told, goes_on: false, looked: Instant::now() });
        outside.map_or(Ok(()), |error| Err(Failure::Outside(error)))
    }

    /// Tells in what the decisions differ from what was told of them.
    async fn change(&mut self, outcome: Outcome) -> Result<(), Failure> {
        self.say_skipped(&outcome);
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let read = read(&stream.decisions, outcome);
        let Some(told) = self.teller.change(&self.list.name, read, &stream.told).await? else {
            self.stream = None;
            return Err(Failure::Ended);
        };
        stream.told = told.prefixes;
        told.outside.map_or(Ok(()), |error| Err(Failure::Outside(error)))
    }

    /// Until that time; what is over by itself meanwhile goes, whether the API can be asked or not.
    pub(super) async fn wait_for_ends(&mut self, next: Instant) {
        loop {
            let end = self.stream.as_ref().and_then(|stream| {
                Some(stream.decisions.next_end()?.max(stream.looked + ENDS_EVERY)).filter(|end| *end < next)
            });
            tokio::time::sleep_until(end.unwrap_or(next).into()).await;
            let Some((stream, now)) = self.stream.as_mut().zip(end) else { return };
            stream.looked = now;
            if !stream.decisions.end(now) {
                continue;
            }
            let outcome = Outcome { format: Format::CrowdSec, taken: 0, skipped: 0, first_bad: Vec::new() };
            if let Err(failure) = self.change(outcome).await {
                self.stream.iter_mut().for_each(|stream| stream.goes_on = false);
                // Without a keeper nothing is in force any more, as the next attempt finds out.
                let _ = self.failed(&chain(&failure)).await;
            }
        }
    }
}

fn read(decisions: &Decisions, outcome: Outcome) -> Read {
    let outcome = Outcome { skipped: decisions.skipped(), ..outcome };
    Read { prefixes: decisions.prefixes(), outcome, longest: None }
}
