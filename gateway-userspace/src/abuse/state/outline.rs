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
    /// Of all lines, in their order.
    pub fn of(records: &[Record]) -> Outline {
        let mut outline = Outline::default();
        let mut by_target: HashMap<Target, u32> = HashMap::new();
        for record in records {
            match record {
                Record::Ban(ban) => {
                    let target = ban.target.clone().canonical();
                    // The line of the first one's end is lost.
                    if let Some(before) = by_target.insert(target.clone(), ban.id) {
                        outline.bans.remove(&before);
                    }
                    let written = Written { target, until_ms: ban.until_ms, observed: ban.observed };
                    outline.bans.insert(ban.id, written);
                }
                Record::End { id, .. } => {
                    if let Some(ended) = outline.bans.remove(id) {
                        by_target.remove(&ended.target);
                    }
                }
                Record::Renew { id, until_ms, .. } => {
                    if let Some(ban) = outline.bans.get_mut(id) {
                        ban.until_ms = Some(*until_ms);
                    }
                }
                Record::Promoted { id } => {
                    if let Some(ban) = outline.bans.get_mut(id) {
                        ban.observed = false;
                    }
                }
                Record::Allow { prefix } => drop(outline.allowed.insert(source::canonical(*prefix))),
                Record::Disallow { prefix } => drop(outline.allowed.remove(&source::canonical(*prefix))),
                Record::Begin { .. }
                | Record::Harm { .. }
                | Record::Suppress { .. }
                | Record::Unsuppress { .. }
                | Record::List(_)
                | Record::Unlist { .. }
                | Record::Offender { .. } => {}
            }
        }
        outline
    }
}
