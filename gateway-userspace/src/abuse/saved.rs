//! CPU time that bans have saved: what each refusal cost that led to a ban, times the connections that it has dropped.
//!
//! An estimate from above: a dropped SYN stands for one connection that would have been refused, and a client that gets
//! no answer repeats its SYN a few times. Bans without a rule have no measured cost and save nothing here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ban::Ban;
use super::enforcer::Drops;

/// Most rules that are told apart; a reload may bring others.
const RULES_MAX: usize = 64;

/// By rule, of bans that are over.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    by_rule: BTreeMap<Arc<str>, Sum>,
}

/// SYNs that were dropped, and what they would have cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    /// Connections that were not opened.
    pub syns: u64,
    /// Seconds of CPU time.
    pub seconds: f64,
}

impl Saved {
    /// Adds what a ban has dropped.
    pub fn add(&mut self, ban: &Ban, drops: Drops) {
        let Some(rule) = &ban.rule else { return };
        let denials: u64 = rule.kinds.iter().map(|counted| u64::from(counted.count)).sum();
        if drops.syns == 0 || denials == 0 || ban.observed {
            return;
        }
        if self.by_rule.len() >= RULES_MAX && !self.by_rule.contains_key(&rule.name) {
            return;
        }
        let each_s = rule.cost_us as f64 / 1e6 / denials as f64;
        let sum = self.by_rule.entry(rule.name.clone()).or_default();
        sum.syns += drops.syns;
        sum.seconds += each_s * drops.syns as f64;
    }

    /// By the rules' names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Sum)> {
        self.by_rule.iter().map(|(rule, sum)| (rule, *sum))
    }
}
