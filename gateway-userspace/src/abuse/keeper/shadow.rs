//! Shadow bans: those that count what they would drop, and drop nothing.
//!
//! Nobody may feel one. So it keeps no other ban away, and it makes none longer. What it would have done is gathered
//! by the hour: packets from the kernel's counters, requests from those that the workers share. An hour's sum is in the
//! state file when the hour is over, when the ban ends and when the process does, so a crash loses at most an hour of
//! requests, and no packets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;

use super::owner::Owner;
use crate::abuse::ban::{Ban, Enforced, Now};
use crate::abuse::deny::{Entry, Hold};
use crate::abuse::enforcer::Drops;
use crate::abuse::harm::{Harm, Hours, hour_of};
use crate::abuse::parole::Gate;
use crate::abuse::shadow::{Outcome, Shadow, Tally};
use crate::abuse::state::{Record, to_ms};
use crate::abuse::target::Target;

/// Hours that all bans together remember apart; above that a ban's new hours are added to its last one.
const HOURS_MAX: usize = 65_536;
/// Rules whose bans that are over are remembered apart; those of others count as made by hand. Reloads bring new names.
const PAST_RULES_MAX: usize = 64;

/// The shadow bans in force, and what those that are over would have done.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_ban: BTreeMap<u32, Watch>,
    /// Of bans that are over, or drop by now: by their rule, or by hand.
    past: BTreeMap<Option<Arc<str>>, Hours>,
    /// The hour that what is counted now belongs to.
    hour: u64,
    /// Hours that bans remember.
    hours: usize,
}

/// One shadow ban.
#[derive(Debug)]
struct Watch {
    shadow: Arc<Shadow>,
    since: SystemTime,
    hours: Hours,
    /// What of the workers' and the kernel's counts is in the hours already.
    filed: [u64; Outcome::ALL.len()],
    seen: Drops,
    /// The hour that has changed since it was written to the state file.
    unwritten: Option<u64>,
}

impl Watches {
    /// None, at this time.
    pub(super) fn new(now: SystemTime) -> Watches {
        Watches { hour: hour_of(to_ms(now)), ..Watches::default() }
    }
}

impl Watch {
    fn new(ban: u32, since: SystemTime, seen: Drops, all: &Arc<Tally>) -> Watch {
        let shadow = Arc::new(Shadow::new(ban, all.clone()));
        Watch {
            shadow,
            since,
            hours: Hours::default(),
            filed: [0; Outcome::ALL.len()],
            seen,
            unwritten: None,
        }
    }

    /// What has come since the last time.
    fn take(&mut self, drops: Drops) -> Harm {
        let counted = Outcome::ALL.map(|outcome| self.shadow.requests.of(outcome));
        let [logins, good, refused, other] =
            std::array::from_fn(|at| counted[at].saturating_sub(self.filed[at]));
        self.filed = counted;
        // Counters that were made anew, at a reboot, begin at nothing; those that cannot be read say nothing.
        let since = |now: u64, seen: u64| now.checked_sub(seen).unwrap_or(now);
        let mut harm =
            Harm { requests: logins + good + refused + other, good, logins, refused, ..Harm::default() };
        if drops != Drops::default() {
            harm.packets = since(drops.packets, self.seen.packets);
            harm.bytes = since(drops.bytes, self.seen.bytes);
            self.seen = drops;
        }
        harm
    }
}

impl Owner {
    /// Whether one more ban would change nothing for this source, also if it only observes.
    pub(super) fn is_covered(&self, host: IpNet, observing: bool) -> bool {
        self.ledger.covering(host).any(|ban| observing || !ban.observed)
    }

    /// Ends the shadow ban of a target whose entry in the kernel was just overwritten by a ban's.
    pub(super) fn supersede(&mut self, now: Now, target: &Target) {
        if let Some(id) = self.ledger.exact(target).map(|ban| ban.id) {
            self.replace(now, id);
        }
    }

    /// Says to the request path what a ban does to the requests that it covers. What the kernel has counted of one that
    /// dropped until now belongs to no shadow ban.
    pub(super) fn tell_layer_7(&mut self, ban: &Ban, has_dropped: bool) {
        let hold = match ban.enforced {
            Enforced::Observed => Hold::Count(self.watch(ban, has_dropped)),
            Enforced::Kernel | Enforced::Gateway => {
                if self.unwatch(ban.id) {
                    self.write(&Record::Promoted { id: ban.id });
                }
                let gate = ban.parole_begins().zip(ban.parole).map(|(begins, parole)| {
                    Arc::new(Gate::new(begins, parole.every, ban.enforced == Enforced::Kernel))
                });
                Hold::Refuse(gate)
            }
        };
        self.deny.ban(&ban.target, Entry { ban: ban.id, lease_end: ban.lease_end, hold });
    }

    // === impl Owner: what they would have done ===

    /// Begins to count what a ban would do, or goes on.
    fn watch(&mut self, ban: &Ban, has_dropped: bool) -> Arc<Shadow> {
        if let Some(watch) = self.watches.by_ban.get(&ban.id) {
            return watch.shadow.clone();
        }
        let seen = if has_dropped { self.enforcer.drops(ban.id) } else { Drops::default() };
        let watch = Watch::new(ban.id, self.now().wall, seen, &self.counters.shadow);
        let shadow = watch.shadow.clone();
        self.watches.by_ban.insert(ban.id, watch);
        shadow
    }

    /// The ban is over, or drops from now on; whether it was a shadow ban.
    pub(super) fn unwatch(&mut self, id: u32) -> bool {
        if !self.watches.by_ban.contains_key(&id) {
            return false;
        }
        self.turn_hour();
        self.file(id);
        self.let_go(id);
        true
    }

    fn let_go(&mut self, id: u32) {
        let Some(watch) = self.watches.by_ban.remove(&id) else { return };
        self.watches.hours -= watch.hours.count();
        let mut rule = self.ledger.get(id).and_then(rule_of);
        if self.watches.past.len() >= PAST_RULES_MAX && !self.watches.past.contains_key(&rule) {
            rule = None;
        }
        let past = self.watches.past.entry(rule).or_default();
        for (hour, harm) in watch.hours.iter() {
            past.add(hour, harm);
        }
    }

    /// Closes the hour that is over: all that was counted until now belongs to it.
    pub(super) fn turn_hour(&mut self) {
        let hour = hour_of(to_ms(self.now().wall));
        if hour == self.watches.hour {
            return;
        }
        self.file_all();
        self.watches.hour = hour;
        self.watches.past.retain(|_, past| {
            past.forget(hour);
            past.count() > 0
        });
        let mut hours = 0;
        for watch in self.watches.by_ban.values_mut() {
            watch.hours.forget(hour);
            hours += watch.hours.count();
        }
        self.watches.hours = hours;
    }

    /// Brings what every shadow ban has counted into its hours, and into the state file.
    pub(super) fn file_all(&mut self) {
        for id in self.watches.by_ban.keys().copied().collect::<Vec<_>>() {
            self.file(id);
        }
    }

    fn file(&mut self, ban: u32) {
        self.gather(ban);
        let Some(watch) = self.watches.by_ban.get_mut(&ban) else { return };
        if let Some(hour) = watch.unwritten.take() {
            let record = record(ban, hour, watch.hours.of(hour), watch.seen);
            self.write(&record);
        }
    }

    /// Brings what a shadow ban has counted into its hours.
    fn gather(&mut self, ban: u32) {
        let drops = self.enforcer.drops(ban);
        let Watches { by_ban, hour, hours, .. } = &mut self.watches;
        let Some(watch) = by_ban.get_mut(&ban) else { return };
        let harm = watch.take(drops);
        if harm == Harm::default() {
            return;
        }
        let hour = watch.hours.last().filter(|_| *hours >= HOURS_MAX).unwrap_or(*hour);
        let before = watch.hours.count();
        watch.hours.add(hour, harm);
        *hours += watch.hours.count() - before;
        watch.unwritten = Some(hour);
    }

    /// What a shadow ban would have done in the last 24 hours; none if it is not one.
    pub(super) fn harm_of(&mut self, ban: u32) -> Option<Harm> {
        self.turn_hour();
        self.gather(ban);
        self.watches.by_ban.get(&ban).map(|watch| watch.hours.sum(self.watches.hour))
    }

    /// The shadow bans that a rule has made, the oldest first.
    pub(super) fn watched_of(&self, rule: &str) -> Vec<u32> {
        let by_it = |id: &u32| self.ledger.get(*id).and_then(rule_of).is_some_and(|name| *name == *rule);
        self.watches.by_ban.keys().copied().filter(by_it).collect()
    }

    /// The newest shadow bans with lower ids than this one.
    pub(super) fn watched_below(&self, id: u32, count: usize) -> Vec<u32> {
        self.watches.by_ban.range(..id).rev().take(count).map(|(id, _)| *id).collect()
    }

    /// Since when a shadow ban is one.
    pub(super) fn watched_since(&self, ban: u32) -> Option<SystemTime> {
        self.watches.by_ban.get(&ban).map(|watch| watch.since)
    }

    /// What the bans that are over, or drop by now, would have done in the last 24 hours, by their rule.
    pub(super) fn past_harm(&mut self) -> Vec<(Option<Arc<str>>, Harm)> {
        self.turn_hour();
        let Watches { past, hour, .. } = &self.watches;
        past.iter().map(|(rule, past)| (rule.clone(), past.sum(*hour))).collect()
    }

    // === impl Owner: over a restart ===

    /// A shadow ban of the state file.
    pub(super) fn replay_shadow(&mut self, ban: u32, since: SystemTime) {
        let watch = Watch::new(ban, since, Drops::default(), &self.counters.shadow);
        self.watches.by_ban.insert(ban, watch);
    }

    /// What an hour was.
    pub(super) fn replay_harm(
        &mut self,
        ban: Option<u32>,
        rule: Option<Arc<str>>,
        hour: u64,
        harm: Harm,
        seen: Drops,
    ) {
        let Some(ban) = ban else {
            return self.watches.past.entry(rule).or_default().set(hour, harm);
        };
        let Some(since) = self.ledger.active_mut(ban).map(|ban| ban.since) else { return };
        let all = &self.counters.shadow;
        let watch = self.watches.by_ban.entry(ban).or_insert_with(|| Watch::new(ban, since, seen, all));
        let before = watch.hours.count();
        watch.hours.set(hour, harm);
        watch.seen = seen;
        self.watches.hours += watch.hours.count() - before;
    }

    /// The ban drops from here on.
    pub(super) fn replay_promoted(&mut self, id: u32) {
        self.let_go(id);
        self.ledger.arm(id);
        if let Some(ban) = self.ledger.active_mut(id) {
            ban.enforced = Enforced::Kernel;
        }
    }

    /// The ban is over.
    pub(super) fn replay_shadow_end(&mut self, id: u32) {
        self.let_go(id);
    }

    /// The lines that say all of it.
    pub(super) fn harm_records(&self) -> impl Iterator<Item = Record> {
        let past = self.watches.past.iter().flat_map(|(rule, past)| {
            past.iter().map(|(hour, harm)| Record::Harm {
                ban: None,
                rule: rule.clone(),
                hour,
                harm,
                seen_packets: 0,
                seen_bytes: 0,
            })
        });
        let bans = self.watches.by_ban.iter().flat_map(|(ban, watch)| {
            watch.hours.iter().map(|(hour, harm)| record(*ban, hour, harm, watch.seen))
        });
        past.chain(bans)
    }
}

/// The rule that made a ban; none: an operator did, or nobody knows.
pub(super) fn rule_of(ban: &Ban) -> Option<Arc<str>> {
    ban.rule.as_deref().map(|rule| rule.name.clone())
}

fn record(ban: u32, hour: u64, harm: Harm, seen: Drops) -> Record {
    let Drops { packets: seen_packets, bytes: seen_bytes, syns: _ } = seen;
    Record::Harm { ban: Some(ban), rule: None, hour, harm, seen_packets, seen_bytes }
}
