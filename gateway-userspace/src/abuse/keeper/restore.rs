//! The beginning: what the state file says and what the kernel still holds are brought to agree.
//!
//! The kernel knows better how much of a lease is left (its clock is monotonic), the file knows why and since when. A
//! ban that only the file knows is installed again with the time it has left (the machine was rebooted, or the maps
//! were lost). An entry that only the kernel knows is adopted as a ban that can be seen and lifted (the file was lost,
//! or the process died between the two). An entry whose ban the file calls over is removed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::owner::Owner;
use super::shadow::Watches;
use super::{Options, Settings};
use crate::abuse::ban::{Ban, By, Ledger, Now, State};
use crate::abuse::crowd::Crowds;
use crate::abuse::enforcer::{Drops, Enforcer, Entry};
use crate::abuse::exempt::{ALLOWED_MAX, Because, Exempt};
use crate::abuse::lists::Lists;
use crate::abuse::receipt::Receipts;
use crate::abuse::saved::Saved;
use crate::abuse::score::Scores;
use crate::abuse::shelter::Shelters;
use crate::abuse::state::{self, BanRecord, Journal, Record, from_ms, to_ms};
use crate::abuse::suppress::{Suppression, Suppressions};
use crate::abuse::target::Target;
use crate::abuse::{source, surroundings};

impl Owner {
    /// Reads everything and brings it to agree.
    pub(super) fn open(options: Options, enforcer: Box<dyn Enforcer>) -> Result<Owner, state::Error> {
        Owner::open_with(options, enforcer, Box::new(Now::system), surroundings::read)
    }

    pub(super) fn open_with(
        options: Options,
        enforcer: Box<dyn Enforcer>,
        clock: Box<dyn Fn() -> Now + Send>,
        surroundings: fn() -> Vec<(IpNet, Because)>,
    ) -> Result<Owner, state::Error> {
        let Options { settings, state } = options;
        let opened = state.map(|folder| Journal::open(&folder)).transpose()?;
        let (journal, records, damage) = match opened {
            Some((journal, records, damage)) => (Some(journal), records, damage),
            None => (None, Vec::new(), state::Damage::default()),
        };
        let mut owner = Owner::empty(settings, journal, enforcer, clock, surroundings);
        owner.replay(records);
        owner.in_allowlist = owner.enforcer.allowed().into_iter().map(source::canonical).collect();
        // Who is never dropped comes before what is: the program may be attached already.
        owner.exemptions_changed();
        owner.meet_kernel();
        owner.sweep_lists();
        owner.exemptions_changed();
        owner.count_active();
        if damage.any() {
            let state::Damage { cut_bytes, lines_skipped } = damage;
            tracing::warn!(cut_bytes, lines_skipped, "the state file was damaged; a copy is kept beside it");
        }
        // Also the first line of a new file.
        owner.compact();
        Ok(owner)
    }

    fn empty(
        settings: Settings,
        journal: Option<Journal>,
        enforcer: Box<dyn Enforcer>,
        clock: Box<dyn Fn() -> Now + Send>,
        surroundings: fn() -> Vec<(IpNet, Because)>,
    ) -> Owner {
        let now = clock();
        let mut exempt = Exempt::new();
        exempt.configure(settings.exempt.clone());
        exempt.surround(surroundings());
        Owner {
            scores: Scores::new(settings.rules.clone(), now.instant),
            crowds: Crowds::new(now.instant),
            shelters: Shelters::new(now.instant),
            ledger: Ledger::new(settings.capacity),
            receipts: Receipts::default(),
            suppressions: Suppressions::default(),
            saved: Saved::default(),
            lists: Lists::default(),
            exempt,
            journal,
            enforcer,
            in_allowlist: BTreeSet::new(),
            outside: BTreeSet::new(),
            deny: Arc::default(),
            watches: Watches::new(now.wall),
            counters: Arc::default(),
            surroundings_seen: now.instant,
            complained: None,
            spared: None,
            settings,
            clock,
            surroundings,
        }
    }

    /// Plays the file into the ledger.
    fn replay(&mut self, records: Vec<Record>) {
        let now = self.now();
        for record in records {
            match record {
                Record::Begin { version: _, next_id, suppressions } => {
                    self.ledger.reserve_ids(next_id);
                    self.suppressions.reserve(suppressions);
                }
                Record::Ban(record) => self.replay_ban(now, *record),
                Record::End { id, state, at_ms, packets, bytes, syns } => {
                    self.replay_shadow_end(id);
                    self.ledger.end(id, from_ms(at_ms), state, Drops { packets, bytes, syns });
                    self.forget_old();
                }
                Record::Harm { ban, rule, hour, harm, seen_packets, seen_bytes } => {
                    let seen = Drops { packets: seen_packets, bytes: seen_bytes, syns: 0 };
                    self.replay_harm(ban, rule, hour, harm, seen);
                }
                Record::Renew { id, at_ms, until_ms, offence } => {
                    self.replay_renewal(now, id, from_ms(at_ms), from_ms(until_ms), offence);
                }
                Record::Promoted { id } => self.replay_promoted(id),
                Record::Allow { prefix } if self.exempt.allowed_by_operator().len() < ALLOWED_MAX => {
                    self.exempt.allow(prefix);
                }
                Record::Allow { .. } => {}
                Record::Disallow { prefix } => {
                    self.exempt.disallow(&source::canonical(prefix));
                }
                Record::Suppress { number, rule, target, until_ms } => {
                    let (target, until) = (target.canonical(), from_ms(until_ms));
                    let suppression = Suppression { rule: rule.into(), target, until };
                    self.suppressions.sweep(now.wall);
                    self.suppressions.restore(number, suppression);
                }
                Record::Unsuppress { number } => {
                    self.suppressions.remove(number);
                }
                Record::List(record) => self.replay_list(now, *record),
                Record::Unlist { name } => drop(self.lists.remove(&name)),
                Record::Offender { target, count, until_ms } => {
                    self.ledger.offenders_mut().set(target.canonical(), count, from_ms(until_ms));
                }
            }
        }
        self.ledger.offenders_mut().sweep(now.wall);
        self.suppressions.sweep(now.wall);
    }

    fn replay_ban(&mut self, now: Now, record: BanRecord) {
        let target = record.target.canonical();
        // Two bans of one target without an end between them: the line of the first one's end is lost.
        if let Some(id) = self.ledger.exact(&target).map(|ban| ban.id) {
            self.replay_shadow_end(id);
            self.ledger.end(id, now.wall, State::Lifted, Drops::default());
        }
        let (since, until) = (from_ms(record.since_ms), record.until_ms.map(from_ms));
        // Never longer than it was meant, should the clock have gone back (a machine that boots in 1970).
        let left = until.map(|until| {
            let begun = record.renewed_ms.map_or(since, from_ms);
            let meant = until.duration_since(begun).unwrap_or_default();
            until.duration_since(now.wall).unwrap_or_default().min(meant)
        });
        self.receipts.file(record.id, record.evidence);
        if record.observed {
            self.replay_shadow(record.id, since);
        }
        self.ledger.enact(Ban {
            id: record.id,
            target,
            state: State::Active,
            reason: record.reason,
            rule: record.rule.map(Arc::new),
            others: record.others.map(Arc::new),
            derived_from: record.derived_from,
            by: record.by,
            enforced: record.enforced,
            observed: record.observed,
            since,
            until,
            lease_end: left.and_then(|left| now.instant.checked_add(left)),
            offence: record.offence,
            parole: record.parole,
            renewed: record.renewed_ms.map(from_ms),
            latency_us: record.latency_us,
            drops: Drops::default(),
        });
    }

    /// The kernel's entries against the ledger's bans.
    fn meet_kernel(&mut self) {
        let now = self.now();
        let held: HashMap<IpNet, Entry> = self
            .enforcer
            .entries()
            .into_iter()
            .map(|entry| (source::canonical(entry.prefix), entry))
            .collect();
        // Before any new id is given: the kernel counts drops by id.
        let highest = held.values().filter_map(|entry| entry.ban_id).max().unwrap_or(0);
        self.ledger.reserve_ids(highest.saturating_add(1));
        let known: Vec<Ban> = self.ledger.active().cloned().collect();
        for ban in known {
            let held = ban.target.prefix().and_then(|prefix| held.get(&prefix));
            self.resume(now, &ban, held);
        }
        self.expire();
        for (prefix, entry) in held {
            if self.ledger.exact(&Target::Prefix(prefix)).is_none() {
                self.adopt(now, prefix, entry);
            }
        }
    }

    /// A ban from the file goes on, by the kernel's lease where that still stands.
    fn resume(&mut self, now: Now, ban: &Ban, held: Option<&Entry>) {
        let same = held.filter(|entry| entry.ban_id == Some(ban.id));
        if let Some(left) = same.and_then(|entry| entry.left)
            && ban.lease_end.is_some()
        {
            self.ledger.set_lease(ban.id, now, left);
        }
        let lease_end = self.ledger.get(ban.id).and_then(|ban| ban.lease_end);
        let left = lease_end.map(|end| end.saturating_duration_since(now.instant));
        if left == Some(Duration::ZERO) {
            return;
        }
        // Also where the kernel has it: whether it drops or counts may have changed.
        match self.install(&ban.target, left, ban.id, ban.observed, ban.parole) {
            Ok(enforced) => self.moved(ban.id, enforced),
            Err(error) => {
                self.moved(ban.id, self.without_kernel(ban.observed));
                self.complain(now, &format!("ban {} is not in the kernel: {error}", ban.id));
            }
        }
    }

    /// An entry that no ban in force stands for.
    fn adopt(&mut self, now: Now, prefix: IpNet, entry: Entry) {
        let over = entry.ban_id.is_some_and(|id| self.ledger.get(id).is_some())
            || entry.left == Some(Duration::ZERO);
        if over || self.exempt.contains(prefix).is_some() || self.ledger.is_full() {
            if let Err(error) = self.enforcer.lift(entry.prefix) {
                self.complain(now, &format!("cannot take {prefix} off the kernel's list: {error}"));
            }
            return;
        }
        let id = entry.ban_id.filter(|id| *id != 0).unwrap_or_else(|| self.ledger.take_id());
        let target = Target::Prefix(prefix);
        let enforced = match self.install(&target, entry.left, id, entry.observe, None) {
            Ok(enforced) => enforced,
            Err(error) => {
                self.complain(now, &format!("cannot take over {prefix} from the kernel's list: {error}"));
                return;
            }
        };
        let ban = Ban {
            id,
            target,
            state: State::Active,
            reason: "in the kernel's list when the gateway started, without a record of why".into(),
            rule: None,
            others: None,
            derived_from: Box::default(),
            by: By::Kernel,
            enforced,
            // What counted goes on counting: nobody is banned because a file was lost.
            observed: entry.observe,
            since: now.wall,
            until: entry.left.and_then(|left| now.wall.checked_add(left)),
            lease_end: entry.left.and_then(|left| now.instant.checked_add(left)),
            offence: 0,
            parole: None,
            renewed: None,
            latency_us: None,
            drops: Drops::default(),
        };
        tracing::info!(target: "audit", by = "kernel", ban = id, target = %ban.target, "ban adopted");
        self.enact(ban);
    }

    /// The line for a new ban.
    pub(super) fn record_of(&self, ban: &Ban) -> Record {
        Record::Ban(Box::new(BanRecord {
            id: ban.id,
            target: ban.target.clone(),
            reason: ban.reason.clone(),
            by: ban.by.clone(),
            enforced: ban.enforced,
            observed: ban.observed,
            since_ms: to_ms(ban.since),
            until_ms: ban.until.map(to_ms),
            offence: ban.offence,
            latency_us: ban.latency_us,
            parole: ban.parole,
            renewed_ms: ban.renewed.map(to_ms),
            rule: ban.rule.as_deref().cloned(),
            others: ban.others.as_deref().cloned(),
            derived_from: ban.derived_from.clone(),
            evidence: self.receipts.of(ban.id).to_vec(),
        }))
    }

    /// Writes the state file anew from what is known now.
    pub(super) fn compact(&mut self) {
        let Some(mut journal) = self.journal.take() else { return };
        let begin = Record::Begin {
            version: state::VERSION,
            next_id: self.ledger.next_id(),
            suppressions: self.suppressions.last(),
        };
        let allowed =
            self.exempt.allowed_by_operator().iter().map(|prefix| Record::Allow { prefix: *prefix });
        let ended = self.ledger.ended().flat_map(|ban| {
            let at_ms = to_ms(ban.until.unwrap_or(ban.since));
            let Drops { packets, bytes, syns } = ban.drops;
            [self.record_of(ban), Record::End { id: ban.id, state: ban.state, at_ms, packets, bytes, syns }]
        });
        let active = self.ledger.active().map(|ban| self.record_of(ban));
        // After the bans, which would set them too: a ban that was lifted since does not count.
        let offenders = self.ledger.offenders().iter().map(|(target, count, until)| Record::Offender {
            target: target.clone(),
            count,
            until_ms: to_ms(until),
        });
        let suppressed = self.suppressions.iter().map(|(number, suppression)| Record::Suppress {
            number,
            rule: suppression.rule.to_string(),
            target: suppression.target.clone(),
            until_ms: to_ms(suppression.until),
        });
        let allowed = allowed.chain(suppressed);
        let allowed = allowed.chain(self.list_records());
        let (harm, bans) = (self.harm_records(), allowed.chain(ended).chain(active));
        let records = std::iter::once(begin).chain(bans).chain(harm).chain(offenders);
        let result = journal.compact(records);
        self.journal = Some(journal);
        if let Err(error) = result {
            self.state_failed(&error);
        }
    }
}
