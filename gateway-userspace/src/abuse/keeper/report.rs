//! What all shadow bans would have done, summed up piece by piece: the kernel is asked for the counters of each, and bans
//! do not wait for that.
//!
//! Whether a rule may be armed is found in one step, which asks for the counters of all its shadow bans.
//!
//! Limits: a ban that ends meanwhile may be in the sums twice, and one that is new in none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Handle;
use super::owner::Owner;
use super::refusal::Refusal;
use super::shadow::rule_of;
use crate::abuse::harm::Harm;
use crate::admin::api;
use crate::observe::timestamp;

/// Bans that one answer lists at most, the newest.
const LISTED_MAX: usize = 10_000;
/// Bans that are summed up in one step: a system call each.
pub(super) const PIECE: usize = 1_024;

impl Handle {
    /// `portcullis bans --shadow`. One at a time is made.
    pub async fn shadows(&self) -> Result<api::Shadows, Refusal> {
        let _turn = self.reporting.lock().await;
        let mut report = Report::default();
        loop {
            let step = move |owner: &mut Owner| {
                let done = report.step(owner);
                (report, done)
            };
            let done;
            (report, done) = self.ask(step).await?;
            if done {
                return Ok(report.end());
            }
        }
    }
}

/// A report that is being made.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The ban that came last.
    last: Option<u32>,
    shadows: Vec<api::Shadow>,
    by_rule: BTreeMap<Arc<str>, Harm>,
    over: Harm,
    total: Harm,
}

impl Report {
    /// Sums the next bans up, the newest first; whether those were the last.
    pub(super) fn step(&mut self, owner: &mut Owner) -> bool {
        owner.expire();
        let now = owner.now();
        let ids = owner.watched_below(self.last.unwrap_or(u32::MAX), PIECE);
        for id in &ids {
            let Some(harm) = owner.harm_of(*id) else { continue };
            let (Some(ban), Some(since)) = (owner.ledger.get(*id), owner.watched_since(*id)) else {
                continue;
            };
            self.add(rule_of(ban), harm);
            if self.shadows.len() < LISTED_MAX {
                self.shadows.push(api::Shadow {
                    id: *id,
                    target: ban.target.to_string(),
                    by: ban.by.to_string(),
                    reason: ban.reason.to_string(),
                    since: timestamp::format(since),
                    left_s: ban.lease_end.map(|end| end.saturating_duration_since(now.instant).as_secs()),
                    harm,
                    arm: ban.observed.then(|| format!("portcullis promote {id}")),
                });
            }
        }
        self.last = ids.last().copied();
        if ids.len() == PIECE {
            return false;
        }
        for (rule, harm) in owner.past_harm() {
            self.over += harm;
            self.add(rule, harm);
        }
        true
    }

    fn add(&mut self, rule: Option<Arc<str>>, harm: Harm) {
        self.total += harm;
        if let Some(rule) = rule {
            *self.by_rule.entry(rule).or_default() += harm;
        }
    }

    /// What they would have done.
    pub(super) fn end(self) -> api::Shadows {
        let Report { shadows, by_rule, over, total, .. } = self;
        let rules = by_rule.into_iter().map(|(rule, harm)| api::ShadowRule { rule: rule.to_string(), harm });
        api::Shadows { shadows, rules: rules.collect(), over, total }
    }
}

impl Owner {
    /// What the bans of a rule would have done in the last 24 hours, those included that are over.
    pub(super) fn harm_of_rule(&mut self, rule: &str) -> Harm {
        let mut sum = Harm::default();
        for id in self.watched_of(rule) {
            sum += self.harm_of(id).unwrap_or_default();
        }
        let past = self.past_harm();
        let of_rule = past.into_iter().filter(|(name, _)| name.as_deref() == Some(rule));
        of_rule.for_each(|(_, harm)| sum += harm);
        sum
    }
}
