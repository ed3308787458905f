//! What the keeper's thread owns, and what it does with a signal and with time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::Settings;
use super::shadow::Watches;
use crate::abuse::ban::{Ban, By, Enforced, Ledger, Now, State};
use crate::abuse::counters::Counters;
use crate::abuse::crowd::{Crowds, Others};
use crate::abuse::enforcer::{Drops, Enforcer, Lease};
use crate::abuse::exempt::{Because, Exempt};
use crate::abuse::lists::Lists;
use crate::abuse::parole::Parole;
use crate::abuse::receipt::{self, Receipts, RuleAtBan};
use crate::abuse::reporter::Seen;
use crate::abuse::saved::Saved;
use crate::abuse::score::{Offence, Scores};
use crate::abuse::shelter::Shelters;
use crate::abuse::signal::Signal;
use crate::abuse::state::{self, Journal, Record};
use crate::abuse::suppress::Suppressions;
use crate::abuse::target::Target;
use crate::abuse::{deny, source, term};

/// How often the machine's addresses and routes are looked at again.
const SURROUNDINGS_EVERY: Duration = Duration::from_secs(30);
/// How often the same trouble is logged at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Everything behind the channel. Only the keeper's thread has it.
pub struct Owner {
    pub(super) settings: Settings,
    pub(super) clock: Box<dyn Fn() -> Now + Send>,
    pub(super) surroundings: fn() -> Vec<(IpNet, Because)>,
    pub(super) scores: Scores,
    pub(super) crowds: Crowds,
    pub(super) shelters: Shelters,
    pub(super) ledger: Ledger,
    pub(super) receipts: Receipts,
    pub(super) suppressions: Suppressions,
    pub(super) saved: Saved,
    pub(super) lists: Lists,
    pub(super) exempt: Exempt,
    pub(super) journal: Option<Journal>,
    pub(super) enforcer: Box<dyn Enforcer>,
    /// What the kernel's allowlist was told.
    pub(super) in_allowlist: BTreeSet<IpNet>,
    /// Bans that the kernel has refused, those included that only count.
    pub(super) outside: BTreeSet<u32>,
    pub(super) deny: Arc<deny::Shared>,
    pub(super) watches: Watches,
    pub(super) counters: Arc<Counters>,
    pub(super) surroundings_seen: Instant,
    pub(super) complained: Option<Instant>,
    pub(super) spared: Option<Instant>,
}

impl Owner {
    /// Takes note of a client that was served.
    pub fn seen(&mut self, seen: &Seen) {
        let now = self.now();
        self.crowds.seen(now.instant, seen.source, &seen.who);
    }

    /// Counts a refusal against its source, and bans the source if that meets the rule.
    pub fn signal(&mut self, mut signal: Signal) {
        self.counters.signals.fetch_add(1, Relaxed);
        if signal.trusted_proxy {
            return;
        }
        let now = self.now();
        let host = source::canonical(signal.source.into());
        if self.next_end().is_some_and(|end| end <= now.instant) {
            self.expire();
        }
        if self.breaks_parole(now, host, &signal) {
            return;
        }
        // What was on its way when the ban came, or is refused at layer 7 because of it, is not a new offence.
        if self.is_covered(host, false) || self.is_of_a_banned_client(&signal, host) {
            return;
        }
        if let Some(evidence) = &mut signal.evidence {
            receipt::clamp(evidence);
        }
        for offence in self.scores.step(now.instant, signal) {
            self.judge(now, host, offence);
        }
    }

    /// Kernel first: that is what the abuser's next packet meets. Then layer 7, the ledger and the state file. `cut` says
    /// whom it cuts although nobody was to be cut.
    pub(super) fn punish(
        &mut self,
        now: Now,
        target: Target,
        others: Others,
        cut: Option<&str>,
        offence: Offence,
    ) {
        if self.ledger.is_full() {
            self.complain(
                now,
                "no room for another ban, not even at layer 7: there are twice shield.capacity",
            );
            return;
        }
        let nth = self.ledger.next_offence(&target, now.wall);
        let duration = offence.rule.terms.of(nth);
        let id = self.ledger.take_id();
        let parole = self.parole_of(&target, duration);
        let enforced = match self.install(&target, Some(duration), id, offence.rule.observe, parole) {
            Ok(enforced) => enforced,
            Err(error) => {
                self.complain(
                    now,
                    &format!("the kernel refused a ban, so it holds at layer 7 only: {error}"),
                );
                self.without_kernel(offence.rule.observe)
            }
        };
        let latency = self.now().instant.saturating_duration_since(offence.last);
        let latency_us = (enforced == Enforced::Kernel).then(|| self.counters.latency.observe(latency));
        self.counters.bans_by_rule.fetch_add(1, Relaxed);
        self.supersede(now, &target);

        let rule = RuleAtBan::of(&offence);
        let reason = [Some(&*rule.reason()), cut].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let ban = Ban {
            id,
            target,
            state: State::Active,
            reason: reason.into(),
            rule: Some(rule.into()),
            others: Some(others.into()),
            derived_from: Box::default(),
            by: By::Rule,
            enforced,
            observed: offence.rule.observe,
            since: now.wall,
            until: now.wall.checked_add(duration),
            lease_end: now.instant.checked_add(duration),
            offence: nth,
            parole,
            renewed: None,
            latency_us,
            drops: Drops::default(),
        };
        let (target, lasts) = (&ban.target, term::display(duration));
        tracing::info!(target: "audit", by = "rule", rule = %offence.rule.name, ban = id, %target, %lasts, reason = %ban.reason, "banned");
        self.receipts.file(id, offence.evidence);
        self.enact(ban);
    }

    /// Puts a target into the kernel's denylist, if it is one for the kernel, and says where the ban holds now. What the
    /// kernel refuses is tried again.
    pub(super) fn install(
        &mut self,
        target: &Target,
        left: Option<Duration>,
        ban_id: u32,
        observed: bool,
        parole: Option<Parole>,
    ) -> Result<Enforced, String> {
        let observe = observed || !self.settings.enforce;
        let in_kernel = target.prefix().is_some() && self.enforcer.in_kernel();
        if let Some(prefix) = target.prefix()
            && let Err(error) = self.enforcer.install(&Lease {
                prefix,
                left,
                ban_id,
                observe,
                parole: parole.filter(|_| !observe),
            })
        {
            self.counters.enforcer_failures.fetch_add(1, Relaxed);
            self.note_outside(ban_id);
            return Err(error);
        }
        self.outside.remove(&ban_id);
        Ok(match (observe, in_kernel) {
            (true, _) => Enforced::Observed,
            (false, true) => Enforced::Kernel,
            (false, false) => Enforced::Gateway,
        })
    }

    /// Where a ban holds that the kernel refused. One that only counts drops nothing for that.
    pub(super) fn without_kernel(&self, observe: bool) -> Enforced {
        if observe || !self.settings.enforce { Enforced::Observed } else { Enforced::Gateway }
    }

    /// Everything that a new ban means outside the kernel.
    pub(super) fn enact(&mut self, ban: Ban) {
        self.tell_layer_7(&ban, false);
        let record = self.record_of(&ban);
        self.ledger.enact(ban);
        self.count_active();
        self.write(&record);
    }

    /// Ends a ban: in the state file first, so that a crash in between does not bring it back.
    pub(super) fn end(&mut self, id: u32, state: State) -> Result<(), String> {
        let Some((target, observed)) = self.ledger.get(id).map(|ban| (ban.target.clone(), ban.observed))
        else {
            return Ok(());
        };
        self.unwatch(id);
        self.outside.remove(&id);
        let now = self.now();
        let drops = self.enforcer.drops(id);
        if let Some(ban) = self.ledger.get(id) {
            self.saved.add(ban, drops);
        }
        let Drops { packets, bytes, syns } = drops;
        self.write(&Record::End { id, state, at_ms: state::to_ms(now.wall), packets, bytes, syns });
        let lifted = target.prefix().map_or(Ok(false), |prefix| self.enforcer.lift(prefix));
        self.deny.lift(&target);
        self.ledger.end(id, now.wall, state, drops);
        self.forget_old();
        self.count_active();
        if let (Some(prefix), false) = (target.prefix(), observed) {
            self.scores.forget(&source::of(prefix.addr()));
        }
        tracing::info!(target: "audit", ban = id, %target, packets, bytes, ?state, "ban ended");
        if lifted.is_err() {
            self.counters.enforcer_failures.fetch_add(1, Relaxed);
        }
        lifted.map(|_| ())
    }

    pub(super) fn forget_old(&mut self) {
        while let Some(forgotten) = self.ledger.forget() {
            self.receipts.forget(forgotten.id);
        }
    }

    /// When the next ban ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.ledger.next_end()
    }

    /// Ends the bans whose time is over.
    pub fn expire(&mut self) {
        let now = self.now();
        for id in self.ledger.due(now.instant) {
            // The kernel does not enforce a lease that is over, and sweeps the entry by itself.
            if let Err(error) = self.end(id, State::Expired) {
                self.complain(now, &format!("an expired ban is still in the kernel's list: {error}"));
            }
        }
    }

    /// The housekeeping.
    pub fn tick(&mut self) {
        self.expire();
        let now = self.now();
        if now.instant.saturating_duration_since(self.surroundings_seen) >= SURROUNDINGS_EVERY {
            self.surroundings_seen = now.instant;
            if self.exempt.surround((self.surroundings)()) {
                self.exemptions_changed();
            }
        }
        self.enforcer.tick();
        self.move_into_kernel();
        self.turn_hour();
        self.crowds.turn(now.instant);
        self.suppressions.sweep(now.wall);
        self.ledger.offenders_mut().sweep(now.wall);
        self.flush();
        if self.journal.as_ref().is_some_and(Journal::wants_compaction) {
            self.compact();
        }
    }

    /// The last thing it does.
    pub(super) fn close(&mut self) {
        self.file_all();
        self.flush();
    }

    /// Takes over what a reload changed. Scores stay if the rules did.
    pub fn configure(&mut self, settings: Settings) {
        let now = self.now();
        self.scores.configure(settings.rules.clone(), now.instant);
        let rearmed = self.settings.enforce != settings.enforce;
        self.ledger.set_capacity(settings.capacity);
        self.exempt.configure(settings.exempt.clone());
        self.settings = settings;
        self.exemptions_changed();
        if rearmed {
            self.rearm();
            self.rearm_lists();
        }
    }

    /// Brings the kernel's allowlist and layer 7 up to the list, and lifts bans of what is now exempt.
    pub(super) fn exemptions_changed(&mut self) {
        let wanted: BTreeSet<IpNet> = self.exempt.iter().map(|(prefix, _)| prefix).collect();
        let now = self.now();
        for gone in self.in_allowlist.difference(&wanted).copied().collect::<Vec<_>>() {
            match self.enforcer.disallow(gone) {
                Ok(()) => {
                    self.in_allowlist.remove(&gone);
                }
                Err(error) => self.complain(now, &format!("cannot take {gone} off the allowlist: {error}")),
            }
        }
        for new in wanted.difference(&self.in_allowlist).copied().collect::<Vec<_>>() {
            match self.enforcer.allow(new) {
                Ok(()) => {
                    self.in_allowlist.insert(new);
                }
                Err(error) => self.complain(now, &format!("cannot put {new} on the allowlist: {error}")),
            }
        }
        self.deny.exempt(wanted.into_iter().collect());
        let exempt =
            |ban: &&Ban| ban.target.prefix().is_some_and(|prefix| self.exempt.contains(prefix).is_some());
        let spared: Vec<u32> = self.ledger.active().filter(exempt).map(|ban| ban.id).collect();
        for id in spared {
            if let Err(error) = self.end(id, State::Lifted) {
                self.complain(now, &format!("the kernel did not lift ban {id}: {error}"));
            }
        }
    }

    /// Writes every ban anew after `shield.mode` changed between enforcing and observing.
    fn rearm(&mut self) {
        let now = self.now();
        for id in self.ledger.active().map(|ban| ban.id).collect::<Vec<_>>() {
            let Some(ban) = self.ledger.get(id).cloned() else { continue };
            let left = ban.lease_end.map(|end| end.saturating_duration_since(now.instant));
            match self.install(&ban.target, left, id, ban.observed, ban.parole) {
                Ok(enforced) => self.moved(id, enforced),
                Err(error) => {
                    self.moved(id, self.without_kernel(ban.observed));
                    self.complain(now, &format!("cannot change ban {id} in the kernel: {error}"));
                }
            }
        }
    }

    /// A ban holds somewhere else from now on.
    pub(super) fn moved(&mut self, id: u32, enforced: Enforced) {
        let Some(ban) = self.ledger.active_mut(id) else { return };
        let has_dropped = ban.enforced != Enforced::Observed;
        ban.enforced = enforced;
        let ban = ban.clone();
        self.tell_layer_7(&ban, has_dropped);
    }

    pub(super) fn now(&self) -> Now {
        (self.clock)()
    }

    pub(super) fn count_active(&self) {
        self.counters.bans_active.store(self.ledger.count() as u64, Relaxed);
    }

    /// Logs trouble that may come with every signal, once a minute.
    pub(super) fn complain(&mut self, now: Now, trouble: &str) {
        if due(&mut self.complained, now.instant) {
            tracing::error!("{trouble}");
        }
    }

    /// Adds a line to the state file. Failing that, the ban holds all the same, until the next reboot.
    pub(super) fn write(&mut self, record: &Record) {
        let Some(journal) = &mut self.journal else { return };
        if let Err(error) = journal.append(record) {
            self.state_failed(&error);
        }
    }

    /// Brings the state file to the disk.
    pub(super) fn flush(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if let Err(error) = journal.sync() {
            self.state_failed(&error);
        }
    }

    pub(super) fn state_failed(&mut self, error: &state::Error) {
        self.counters.state_failures.fetch_add(1, Relaxed);
        let cause = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
        self.complain(self.now(), &format!("bans are in force but not kept over a reboot: {error}{cause}"));
    }
}

/// Whether a minute has passed since the last time, which is now from here on.
pub(super) fn due(last: &mut Option<Instant>, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN_EVERY);
    if due {
        *last = Some(now);
    }
    due
}
