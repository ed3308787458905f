//! What a state file says in the end, as far as it is in force: for whoever compares it with something else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::Record;
use crate::abuse::source;
use crate::abuse::target::Target;

/// It.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Bans in force, by id.
    pub bans: BTreeMap<u32, Written>,
    /// What operators have allowed.
    pub allowed: BTreeSet<IpNet>,
    by_target: HashMap<Target, u32>,
}

/// A ban as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Whom it keeps out.
    pub target: Target,
    /// Until when, in milliseconds of Unix time; none: for ever.
    pub until_ms: Option<u64>,
    /// It only counts.
    pub observed: bool,
}

impl Outline {
    /// Takes note of the next line.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Ban(ban) => {
                let target = ban.target.canonical();
                // The line of the first one's end is lost.
                if let Some(before) = self.by_target.insert(target.clone(), ban.id) {
                    self.bans.remove(&before);
                }
                let written = Written { target, until_ms: ban.until_ms, observed: ban.observed };
                self.bans.insert(ban.id, written);
            }
            Record::End { id, .. } => {
                if let Some(ended) = self.bans.remove(&id) {
                    self.by_target.remove(&ended.target);
                }
            }
            Record::Renew { id, until_ms, .. } => {
                if let Some(ban) = self.bans.get_mut(&id) {
                    ban.until_ms = Some(until_ms);
                }
            }
            Record::Promoted { id } => {
                if let Some(ban) = self.bans.get_mut(&id) {
                    ban.observed = false;
                }
            }
            Record::Allow { prefix } => drop(self.allowed.insert(source::canonical(prefix))),
            Record::Disallow { prefix } => drop(self.allowed.remove(&source::canonical(prefix))),
            Record::Begin { .. }
            | Record::Harm { .. }
            | Record::Suppress { .. }
            | Record::Unsuppress { .. }
            | Record::List(_)
            | Record::Unlist { .. }
            | Record::Offender { .. } => {}
        }
    }
}
