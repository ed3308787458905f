//! Lists that others keep: told piece by piece, so that a ban never waits for a whole one.
//!
//! Whoever tells a list calls [`Owner::list_begin`], [`Owner::list_add`] for each piece, [`Owner::list_commit`] until it
//! says that it is done, and [`Owner::list_settle`], each as a question of its own. What the kernel does not take holds
//! at layer 7 all the same.

mod change;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::owner::Owner;
use super::refusal::Refusal;
use crate::abuse::ban::Now;
use crate::abuse::enforcer::{Drops, ListLease, Listed};
use crate::abuse::lists::guard::Guard;
use crate::abuse::lists::{Counts, LISTS_MAX, List, Terms};
use crate::abuse::ranges::Ranges;
use crate::abuse::shadow::{Outcome, Shadow};
use crate::abuse::state::{ListRecord, Record, from_ms, to_ms};
use crate::admin::api;
use crate::observe::timestamp;

/// What is known of a list once it is told.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Its addresses, for requests.
    pub ranges: Arc<Ranges>,
    /// Its size, as far as the kernel does not say it.
    pub counts: Counts,
    /// The first of what the guard keeps out, with why.
    pub guarded: Arc<[String]>,
    /// What the kernel has of it; else why it has nothing.
    pub kernel: Result<Listed, Box<str>>,
    /// Whether its source was read for this, or what was kept of it is told again.
    pub is_fresh: bool,
}

pub use change::Changed;

/// A list that an earlier run, or this one, has told.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its name.
    pub name: Arc<str>,
    /// With the time that is left as lease.
    pub terms: Terms,
    /// Its size.
    pub counts: Counts,
    /// The first of what the guard keeps out, with why.
    pub guarded: Arc<[String]>,
    /// Whether its time is over, or it was never told.
    pub is_over: bool,
}

impl Owner {
    /// A copy of what no list may drop.
    pub fn list_guard(&self) -> Guard {
        Guard::new(&self.exempt)
    }

    /// Whether a list of this name can be told.
    pub fn list_room(&self, name: &str) -> Result<(), Refusal> {
        match self.lists.get(name).is_none() && self.lists.is_full() {
            true => Err(Refusal::ListsFull(LISTS_MAX)),
            false => Ok(()),
        }
    }

    /// Begins to tell a list, which may be new; its number. What it held goes on. The kernel's refusal is in the answer.
    pub fn list_begin(
        &mut self,
        name: &Arc<str>,
        terms: &Terms,
    ) -> Result<(u32, Result<(), String>), Refusal> {
        self.list_room(name)?;
        let id = match self.lists.get(name) {
            Some(list) => list.id,
            None => {
                let id = self.ledger.take_id();
                self.lists.insert(name.clone(), List::new(id, terms.clone()));
                // Before the kernel has anything under this number.
                self.write_list(name);
                id
            }
        };
        let observe = terms.observe || !self.settings.enforce;
        let begun = self.enforcer.list_begin(&ListLease { id, left: terms.lease, observe });
        Ok((id, self.list_result(name, begun)))
    }

    /// Adds at most [`crate::abuse::enforcer::LIST_PIECE`] prefixes to a list that was begun.
    pub fn list_add(&mut self, name: &str, id: u32, prefixes: &[IpNet]) -> Result<(), String> {
        let added = self.enforcer.list_add(id, prefixes);
        self.list_result(name, added)
    }

    /// Takes away what was not told again, in pieces: none, call it again.
    pub fn list_commit(&mut self, name: &str, id: u32) -> Result<Option<Listed>, String> {
        let committed = self.enforcer.list_commit(id);
        self.list_result(name, committed)
    }

    fn list_result<T>(&mut self, name: &str, result: Result<T, String>) -> Result<T, String> {
        if let Err(error) = &result {
            self.counters.enforcer_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let now = self.now();
            self.complain(
                now,
                &format!("list {name} holds at layer 7 only, for the kernel refused it: {error}"),
            );
        }
        result
    }

    /// A list was told: from here on requests meet it, and a restart knows it. When its
    /// time is over, if it ends, and its size.
    pub fn list_settle(
        &mut self,
        name: &Arc<str>,
        terms: Terms,
        settled: Settled,
    ) -> (Option<std::time::Instant>, Counts) {
        let now = self.now();
        let in_kernel = self.enforcer.in_kernel();
        let counts_only = terms.observe || !self.settings.enforce;
        let all = self.counters.shadow.clone();
        let Some(list) = self.lists.get_mut(name) else { return (None, settled.counts) };
        let Settled { ranges, counts, guarded, kernel, is_fresh } = settled;
        list.lease(now, terms.lease);
        list.counts = counts;
        match kernel {
            Ok(listed) if in_kernel => {
                (list.counts.entries, list.counts.without_room) = (listed.entries, listed.without_room);
                list.outside = None;
            }
            Ok(_) => list.outside = None,
            Err(error) => list.outside = Some(error),
        }
        (list.terms, list.ranges, list.guarded) = (terms, Some(ranges), guarded);
        let id = list.id;
        list.shadow =
            counts_only.then(|| list.shadow.take().unwrap_or_else(|| Arc::new(Shadow::new(id, all))));
        if is_fresh {
            (list.told, list.failure) = (Some(now.wall), None);
            list.refreshes.taken += 1;
        }
        let (lease_end, counts) = (list.lease_end, list.counts);
        self.write_list(name);
        self.flush();
        self.lists_changed();
        if is_fresh {
            let Counts { entries, expected, skipped, guarded, without_room } = counts;
            tracing::info!(target: "audit", list = %name, id, entries, expected, skipped, guarded, without_room, "list told");
        }
        (lease_end, counts)
    }

    /// A list was what it is already.
    pub fn list_unchanged(&mut self, name: &str) {
        if let Some(list) = self.lists.get_mut(name) {
            list.refreshes.unchanged += 1;
            list.failure = None;
            self.count_lists();
        }
    }

    /// A list's source could not be read, or not be taken; what it held goes on until its lease ends.
    pub fn list_failed(&mut self, name: &Arc<str>, terms: &Terms, reason: &str) {
        if self.lists.get(name).is_none() && self.list_room(name).is_ok() {
            // So that it is seen that it is missing.
            let id = self.ledger.take_id();
            self.lists.insert(name.clone(), List::new(id, terms.clone()));
            self.write_list(name);
        }
        if let Some(list) = self.lists.get_mut(name) {
            list.refreshes.failed += 1;
            list.failure = Some(reason.into());
            self.count_lists();
        }
    }

    /// Takes a list out: of layer 7 and of the state file at once, and of the kernel as far as this goes at once.
    /// Its number, to go on with [`Owner::list_commit`].
    pub fn list_remove(&mut self, name: &str) -> Option<u32> {
        let List { id, .. } = self.lists.remove(name)?;
        self.write(&Record::Unlist { name: name.into() });
        self.flush();
        self.lists_changed();
        let begun = self.enforcer.list_begin(&ListLease { id, left: None, observe: true });
        let _ = self.list_result(name, begun);
        tracing::info!(target: "audit", list = name, id, "list removed");
        Some(id)
    }

    /// The lists that are known.
    pub fn lists_known(&self) -> Vec<Known> {
        let now = self.now();
        let known = |(name, list): (&Arc<str>, &List)| Known {
            name: name.clone(),
            terms: Terms {
                lease: list.lease_end.map(|end| end.saturating_duration_since(now.instant)),
                ..list.terms.clone()
            },
            counts: list.counts,
            guarded: list.guarded.clone(),
            is_over: list.is_over(now.instant) || list.told.is_none(),
        };
        self.lists.iter().map(known).collect()
    }

    /// `portcullis deny list`
    pub fn lists(&mut self) -> api::DenyLists {
        let now = self.now();
        let enforce = self.settings.enforce;
        let ids: Vec<u32> = self.lists.iter().map(|(_, list)| list.id).collect();
        let drops: Vec<Drops> = ids.into_iter().map(|id| self.enforcer.drops(id)).collect();
        let views =
            self.lists.iter().zip(drops).map(|((name, list), drops)| view(name, list, drops, now, enforce));
        api::DenyLists { lists: views.collect() }
    }

    /// The list in force that has an address, and whether it only counts.
    pub(super) fn listed(&self, address: IpAddr) -> Option<(&Arc<str>, bool)> {
        let (name, list) = self.lists.holding(address, self.now().instant)?;
        Some((name, list.terms.observe || !self.settings.enforce))
    }

    /// Whether lists drop or count may have changed: requests meet them so at once, the kernel when they are told again.
    pub(super) fn rearm_lists(&mut self) {
        let enforce = self.settings.enforce;
        let names: Vec<Arc<str>> = self.lists.iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            let all = self.counters.shadow.clone();
            let Some(list) = self.lists.get_mut(&name) else { continue };
            let (id, counts_only) = (list.id, list.terms.observe || !enforce);
            list.shadow =
                counts_only.then(|| list.shadow.take().unwrap_or_else(|| Arc::new(Shadow::new(id, all))));
        }
        self.lists_changed();
    }

    fn lists_changed(&mut self) {
        self.deny.list(self.lists.views(self.settings.enforce));
        self.count_lists();
    }

    fn count_lists(&self) {
        let mut figures = self.counters.lists.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *figures = self.lists.figures();
    }

    // === impl Owner: over a restart ===

    fn write_list(&mut self, name: &Arc<str>) {
        let record = self.lists.get(name).map(|list| record(name, list));
        if let Some(record) = record {
            self.write(&record);
        }
    }

    /// The lines for all lists.
    pub(super) fn list_records(&self) -> Vec<Record> {
        self.lists.iter().map(|(name, list)| record(name, list)).collect()
    }

    /// A list of the state file.
    pub(super) fn replay_list(&mut self, now: Now, record: ListRecord) {
        let ListRecord { name, id, source, format, is_configured, observe, told_ms, until_ms, counts } =
            record;
        self.ledger.reserve_ids(id.saturating_add(1));
        if self.list_room(&name).is_err() {
            return;
        }
        let (told, until) = (told_ms.map(from_ms), until_ms.map(from_ms));
        // Never longer than it was meant, should the clock have gone back.
        let meant = |until: SystemTime| until.duration_since(told.unwrap_or(until)).unwrap_or_default();
        let left = until.map(|until| until.duration_since(now.wall).unwrap_or_default().min(meant(until)));
        let mut list = List::new(id, Terms { source, format, is_configured, observe, lease: left });
        list.lease(now, left);
        (list.told, list.counts) = (told, counts);
        self.lists.insert(name, list);
    }

    /// Empties the lists in the kernel that nobody knows. At the start nobody waits for it.
    pub(super) fn sweep_lists(&mut self) {
        for id in self.enforcer.lists() {
            self.ledger.reserve_ids(id.saturating_add(1));
            if self.lists.iter().any(|(_, list)| list.id == id) {
                continue;
            }
            let emptied = self.empty_list(id);
            if let Err(error) = emptied {
                let now = self.now();
                self.complain(now, &format!("an unknown list is still in the kernel: {error}"));
            }
        }
        self.count_lists();
    }

    fn empty_list(&mut self, id: u32) -> Result<(), String> {
        self.enforcer.list_begin(&ListLease { id, left: None, observe: true })?;
        while self.enforcer.list_commit(id)?.is_none() {}
        Ok(())
    }
}

fn record(name: &Arc<str>, list: &List) -> Record {
    let Terms { source, format, is_configured, observe, lease: _ } = list.terms.clone();
    Record::List(Box::new(ListRecord {
        name: name.clone(),
        id: list.id,
        source,
        format,
        is_configured,
        observe,
        told_ms: list.told.map(to_ms),
        until_ms: list.until.map(to_ms),
        counts: list.counts,
    }))
}

fn view(name: &Arc<str>, list: &List, drops: Drops, now: Now, enforce: bool) -> api::DenyList {
    let Counts { entries, expected, skipped, guarded, without_room } = list.counts;
    let requests =
        |shadow: &Arc<Shadow>| Outcome::ALL.iter().map(|outcome| shadow.requests.of(*outcome)).sum();
    let whole = |left: Duration| left.as_secs() + u64::from(left.subsec_nanos() > 0);
    api::DenyList {
        name: name.to_string(),
        id: list.id,
        source: list.terms.source.to_string(),
        is_configured: list.terms.is_configured,
        format: list.terms.format.to_string(),
        observed: list.terms.observe || !enforce,
        entries,
        expected,
        skipped,
        guarded,
        guarded_first: list.guarded.to_vec(),
        without_room,
        told: list.told.map(timestamp::format),
        until: list.until.map(timestamp::format),
        left_s: list.lease_end.map(|end| whole(end.saturating_duration_since(now.instant))),
        failure: list.failure.as_deref().map(str::to_owned),
        outside: list.outside.as_deref().map(str::to_owned),
        packets: drops.packets,
        bytes: drops.bytes,
        requests: list.shadow.as_ref().map_or(0, requests),
    }
}
