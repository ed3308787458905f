//! What operators ask and command. Every change says how to undo it, and is on the disk before it is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ipnet::IpNet;

use super::owner::Owner;
use super::refusal::Refusal;
use crate::abuse::ban::{Ban, By, Enforced, Now, State};
use crate::abuse::crowd::Others;
use crate::abuse::enforcer::Drops;
use crate::abuse::exempt::{ALLOWED_MAX, Because};
use crate::abuse::lists::guard::{WIDEST_V4, WIDEST_V6};
use crate::abuse::saved::Sum;
use crate::abuse::source::{canonical, display};
use crate::abuse::state::{Record, to_ms};
use crate::abuse::target::Target;
use crate::abuse::{source, term};
use crate::admin::api;
use crate::observe::timestamp;

/// Bans that one answer lists at most, the newest.
const LISTED_MAX: usize = 10_000;
/// As much of an unknown ticket as an answer repeats.
const TICKET_CHARS_MAX: usize = 128;
/// Longest reason, bytes.
const REASON_BYTES_MAX: usize = 512;
/// Bans whose drops `top` looks at, the newest.
const TOP_BANS_MAX: usize = 1_024;
/// Longest ban with an end, a hundred years: beyond that the clocks' arithmetic ends too.
const LONGEST_S: u64 = 100 * 365 * 86_400;

impl Owner {
    /// `portcullis bans`
    pub fn list(&mut self, request: &api::ListBans) -> Result<api::Bans, Refusal> {
        self.expire();
        let now = self.now();
        let mut bans: Vec<Ban> = match request.id {
            Some(id) => vec![self.ledger.get(id).ok_or(Refusal::UnknownBan(id))?.clone()],
            None if request.ticket.is_some() => {
                self.by_ticket(request.ticket.as_deref().unwrap_or_default())?
            }
            None if request.ended => self.ledger.active().chain(self.ledger.ended()).cloned().collect(),
            None => self.ledger.active().rev().take(LISTED_MAX).cloned().collect(),
        };
        bans.sort_unstable_by_key(|ban| std::cmp::Reverse(ban.id));
        bans.truncate(LISTED_MAX);
        Ok(api::Bans { bans: bans.iter().map(|ban| self.view(now, ban)).collect() })
    }

    /// The bans that a request led to, those that are over included.
    fn by_ticket(&self, ticket: &str) -> Result<Vec<Ban>, Refusal> {
        let bans: Vec<Ban> =
            self.receipts.with_request(ticket).filter_map(|id| self.ledger.get(id)).cloned().collect();
        if bans.is_empty() {
            return Err(Refusal::UnknownTicket(clean(
                &ticket.chars().take(TICKET_CHARS_MAX).collect::<String>(),
            )));
        }
        Ok(bans)
    }

    pub(super) fn view(&mut self, now: Now, ban: &Ban) -> api::Ban {
        let active = ban.state == State::Active;
        let Drops { packets, bytes, syns } = if active { self.enforcer.drops(ban.id) } else { ban.drops };
        let left = ban.lease_end.filter(|_| active).map(|end| end.saturating_duration_since(now.instant));
        let enforced = match ban.enforced {
            Enforced::Kernel => "kernel",
            Enforced::Gateway => "gateway",
            Enforced::Observed => "observed",
        };
        let state = match ban.state {
            State::Active => "active",
            State::Expired => "expired",
            State::Lifted => "lifted",
            State::Paroled => "paroled",
        };
        api::Ban {
            id: ban.id,
            target: ban.target.to_string(),
            prefix: ban.target.prefix(),
            state: state.into(),
            enforced: enforced.into(),
            observed: ban.observed,
            reason: ban.reason.to_string(),
            by: ban.by.to_string(),
            rule: ban.rule.as_deref().cloned(),
            others: ban.others.as_deref().cloned(),
            derived_from: ban.derived_from.to_vec(),
            since: timestamp::format(ban.since),
            until: ban.until.map(timestamp::format),
            left_s: left.map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
            offence: ban.offence.max(1),
            packets,
            bytes,
            syns,
            evidence: self.receipts.of(ban.id).to_vec(),
            latency_us: ban.latency_us,
            parole: parole_of(ban),
            renewed: ban.renewed.map(timestamp::format),
            undo: if active {
                format!("portcullis unban {}", ban.id)
            } else {
                format!("portcullis ban {}{}", ban.target.argument(), observe_flag(ban.observed))
            },
        }
    }

    /// `portcullis ban`
    pub fn ban(&mut self, request: &api::BanPrefix, by: By) -> Result<api::Changed, Refusal> {
        self.expire();
        let target = target_of(request).ok_or(Refusal::NoTarget)?;
        let others = target.prefix().map(|prefix| self.crowds.others(prefix, None));
        let mut changes = self.check_ban(&target, others.as_ref(), request)?;
        let term = request.for_s.map(|seconds| Duration::from_secs(seconds.min(LONGEST_S)));
        let lasts = term.map_or_else(
            || String::from("until it is lifted"),
            |term| format!("for {}", term::display(term)),
        );
        let before = self.ledger.exact(&target).map(|ban| ban.id);
        let is_client = target.prefix().is_none();
        let same = if is_client { "client" } else { "prefix" };
        changes.extend(before.map(|id| format!("replaces ban {id} of the same {same}")));
        if request.dry_run {
            let would = if request.observe { "observe" } else { "ban" };
            changes.insert(0, format!("would {would} {target} {lasts}"));
            return Ok(api::Changed { changes, undo: None });
        }

        let now = self.now();
        let id = self.ledger.take_id();
        let (enforced, refused) = match self.install(&target, term, id, request.observe, None) {
            Ok(enforced) => (enforced, None),
            // The entry of the ban that is to be replaced would stay.
            Err(error) if before.is_some() => return Err(Refusal::Kernel(error)),
            Err(error) => (self.without_kernel(request.observe), Some(error)),
        };
        before.inspect(|before| self.replace(now, *before));
        self.counters.bans_by_operator.fetch_add(1, Relaxed);
        let done = if request.observe { "observing" } else { "banned" };
        changes.insert(0, format!("{done} {target} {lasts} (ban {id})"));
        let lease_end = term.and_then(|term| now.instant.checked_add(term));
        self.enact(Ban {
            id,
            target,
            state: State::Active,
            reason: clean(&request.reason).into(),
            rule: None,
            others: others.map(Arc::new),
            derived_from: Box::default(),
            by,
            enforced,
            observed: request.observe,
            since: now.wall,
            until: lease_end.and(term).and_then(|term| now.wall.checked_add(term)),
            lease_end,
            offence: 0,
            parole: None,
            renewed: None,
            latency_us: None,
            drops: Drops::default(),
        });
        self.flush();
        if request.observe {
            changes.push("counted only: `portcullis bans --shadow` says what it would drop".into());
        } else if let (Some(error), Enforced::Gateway) = (refused, enforced) {
            changes.push(format!("refused by the gateway only, until the kernel takes it: {error}"));
        } else if is_client && enforced == Enforced::Gateway {
            changes.push("refused by the gateway, on routes that ask who it is".into());
        } else if enforced == Enforced::Gateway {
            changes.push("refused by the gateway only: the kernel stage is off".into());
        } else if enforced == Enforced::Observed {
            changes.push("counted only: the shield observes and does not enforce".into());
        }
        Ok(api::Changed { changes, undo: Some(format!("portcullis unban {id}")) })
    }

    /// Whether the ban may be made, and what the operator should know about it.
    fn check_ban(
        &self,
        target: &Target,
        others: Option<&Others>,
        request: &api::BanPrefix,
    ) -> Result<Vec<String>, Refusal> {
        if request.for_s == Some(0) {
            return Err(Refusal::NoTime);
        }
        let mut notes = match target.prefix() {
            Some(prefix) => self.check_prefix(prefix, request)?,
            None => Vec::new(),
        };
        if request.observe
            && let Some(held) = self.ledger.exact(target).filter(|ban| !ban.observed)
        {
            return Err(Refusal::Held { target: target.to_string(), id: held.id });
        }
        let cut = others.filter(|others| others.good > self.settings.collateral && !request.observe);
        if let Some(others) = cut {
            if !request.force {
                return Err(Refusal::Collateral(others.clone()));
            }
            notes.push(format!("cuts {}", others.text()));
        }
        if self.ledger.is_full() && self.ledger.exact(target).is_none() {
            return Err(Refusal::Full(self.ledger.count()));
        }
        Ok(notes)
    }

    fn check_prefix(&self, prefix: IpNet, request: &api::BanPrefix) -> Result<Vec<String>, Refusal> {
        if let Some((exempt, because)) = self.exempt.contains(prefix) {
            return Err(Refusal::Exempt { prefix, exempt, because });
        }
        let limit = if prefix.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 };
        if prefix.prefix_len() < limit && !request.force {
            return Err(Refusal::TooWide { prefix, limit });
        }
        let inside: Vec<_> = self.exempt.iter().filter(|(exempt, _)| prefix.contains(exempt)).collect();
        if let Some((exempt, because)) = inside.first().copied()
            && !request.force
        {
            return Err(Refusal::Covers { prefix, exempt, because });
        }
        let stays =
            |(exempt, because): (IpNet, Because)| format!("{} still passes ({because})", display(exempt));
        Ok(inside.into_iter().map(stays).collect())
    }

    /// Ends a ban whose entry in the kernel was just overwritten by another's. It is not forgiven.
    pub(super) fn replace(&mut self, now: Now, id: u32) {
        let Some(before) = self.ledger.get(id).cloned() else { return };
        self.unwatch(id);
        self.outside.remove(&id);
        let drops = self.enforcer.drops(id);
        self.saved.add(&before, drops);
        let Drops { packets, bytes, syns } = drops;
        let at_ms = to_ms(now.wall);
        self.write(&Record::End { id, state: State::Lifted, at_ms, packets, bytes, syns });
        self.ledger.end(id, now.wall, State::Lifted, drops);
        self.deny.lift(&before.target);
        if before.counts_as_offence() {
            let (target, count) = (before.target, before.offence);
            self.ledger.offenders_mut().set(target.clone(), count, now.wall);
            self.write(&Record::Offender { target, count, until_ms: at_ms });
        }
        self.forget_old();
    }

    /// `portcullis unban`
    pub fn unban(&mut self, request: &api::Unban) -> Result<api::Changed, Refusal> {
        self.expire();
        let now = self.now();
        let ids = match self.find_bans(request) {
            // What is over can be kept from coming again.
            Err(Refusal::Over(_)) if request.suppress_s.is_some() => Vec::new(),
            found => found?,
        };
        let suppression = match request.suppress_s {
            Some(seconds) => {
                let one = request.id.or(if ids.len() == 1 { ids.first().copied() } else { None });
                Some(self.suppression(now, one.ok_or(Refusal::SuppressOne)?, seconds)?)
            }
            None => None,
        };
        let mut changes = Vec::new();
        let mut undo = None;
        for id in &ids {
            let Some(ban) = self.ledger.get(*id).cloned() else { continue };
            let target = &ban.target;
            undo = Some(self.again(now, &ban));
            if request.dry_run {
                changes.push(format!("would lift ban {id} of {target}"));
                continue;
            }
            self.end(*id, State::Lifted).map_err(Refusal::Kernel)?;
            changes.push(format!("lifted ban {id} of {target}"));
            let wider =
                target.prefix().and_then(|prefix| self.ledger.covering(prefix).find(|ban| !ban.observed));
            if let Some(wider) = wider {
                changes
                    .push(format!("{target} is still banned as part of {} (ban {})", wider.target, wider.id));
            }
        }
        changes.extend(suppression.map(|suppression| self.suppress(now, suppression, request.dry_run)));
        self.flush();
        Ok(api::Changed { changes, undo: undo.filter(|_| ids.len() == 1 && !request.dry_run) })
    }

    /// The command that bans it again for the time it had left.
    fn again(&self, now: Now, ban: &Ban) -> String {
        let left =
            ban.lease_end.map(|end| end.saturating_duration_since(now.instant).max(Duration::from_secs(1)));
        let term = left.map_or_else(|| String::from("ever"), term::display);
        let others = ban.target.prefix().map_or(0, |prefix| self.crowds.others(prefix, None).good);
        let force = if others > self.settings.collateral && !ban.observed { " --force" } else { "" };
        format!("portcullis ban {} --for {term}{force}{}", ban.target.argument(), observe_flag(ban.observed))
    }

    /// The bans in force that are meant, lowest id first.
    fn find_bans(&self, request: &api::Unban) -> Result<Vec<u32>, Refusal> {
        let mut ids: Vec<u32> = match (request.id, request.prefix) {
            _ if request.all => self.ledger.active().map(|ban| ban.id).collect(),
            (Some(id), _) => {
                // With it ends what took its place.
                let derived = self.ledger.derived_from(id).map(|ban| ban.id);
                let active = self.ledger.get(id).filter(|ban| ban.state == State::Active).map(|ban| ban.id);
                let ids: Vec<u32> = active.into_iter().chain(derived).collect();
                match self.ledger.get(id) {
                    None if ids.is_empty() => return Err(Refusal::UnknownBan(id)),
                    Some(_) if ids.is_empty() => return Err(Refusal::Over(id)),
                    _ => ids,
                }
            }
            (None, Some(prefix)) => {
                let prefix = canonical(prefix);
                let inside: Vec<u32> = self.ledger.inside(prefix).map(|ban| ban.id).collect();
                let own = self.ledger.exact(&Target::Prefix(widened(prefix))).map(|ban| ban.id);
                if inside.is_empty() { own.into_iter().collect() } else { inside }
            }
            (None, None) => return Err(Refusal::Nothing),
        };
        ids.sort_unstable();
        if let (true, false, Some(prefix)) = (ids.is_empty(), request.all, request.prefix) {
            let prefix = canonical(prefix);
            return Err(match self.ledger.covering(prefix).find(|ban| !ban.observed) {
                Some(ban) => Refusal::Wider { prefix, wider: ban.target.to_string(), id: ban.id },
                None => Refusal::NotBanned(prefix),
            });
        }
        let Some(reason) = request.reason.as_deref().map(clean) else { return Ok(ids) };
        let (meant, others): (Vec<&Ban>, Vec<&Ban>) =
            ids.iter().filter_map(|id| self.ledger.get(*id)).partition(|ban| *ban.reason == *reason);
        match (meant.is_empty(), others.first()) {
            (true, Some(ban)) => Err(Refusal::AnotherReason { id: ban.id, reason: ban.reason.to_string() }),
            _ => Ok(meant.iter().map(|ban| ban.id).collect()),
        }
    }

    /// `portcullis allow`
    pub fn allow(&mut self, request: &api::AllowPrefix) -> Result<api::Changed, Refusal> {
        let prefix = canonical(request.prefix);
        let address = display(prefix);
        let listed = self.exempt.allowed_by_operator().contains(&prefix);
        if request.remove {
            return self.disallow(prefix, listed, request.dry_run);
        }
        if !listed && self.exempt.allowed_by_operator().len() >= ALLOWED_MAX {
            return Err(Refusal::AllowedFull(ALLOWED_MAX));
        }
        let lifted: Vec<(u32, String)> =
            self.ledger.inside(prefix).map(|ban| (ban.id, ban.target.to_string())).collect();
        let will = if request.dry_run { "would be " } else { "" };
        let mut changes = vec![if listed {
            format!("{address} was allowed already")
        } else {
            format!("{address} {will}allowed: never banned, never dropped")
        }];
        changes.extend(lifted.iter().map(|(id, ban)| format!("ban {id} of {ban} {will}lifted")));
        if request.dry_run {
            return Ok(api::Changed { changes, undo: None });
        }
        self.exempt.allow(prefix);
        self.write(&Record::Allow { prefix });
        self.exemptions_changed();
        self.flush();
        Ok(api::Changed { changes, undo: (!listed).then(|| format!("portcullis allow --remove {address}")) })
    }

    fn disallow(&mut self, prefix: IpNet, listed: bool, dry_run: bool) -> Result<api::Changed, Refusal> {
        let address = display(prefix);
        if !listed {
            let other = self.exempt.iter().find(|(entry, _)| *entry == prefix);
            return Err(match other {
                Some((_, because)) => Refusal::NotByCommand { prefix, because },
                None => Refusal::NotAllowed(prefix),
            });
        }
        if dry_run {
            return Ok(api::Changed {
                changes: vec![format!("{address} would be taken off the list")],
                undo: None,
            });
        }
        self.exempt.disallow(&prefix);
        self.write(&Record::Disallow { prefix });
        self.exemptions_changed();
        self.flush();
        let mut changes = vec![format!("{address} is no longer allowed by command")];
        if let Some((entry, because)) = self.exempt.contains(prefix) {
            changes.push(format!("it is still never banned: {} is on the list as {because}", display(entry)));
        }
        Ok(api::Changed { changes, undo: Some(format!("portcullis allow {address}")) })
    }

    /// `portcullis allow --list`
    pub fn allowed(&self) -> api::Allowed {
        let view =
            |(prefix, because): (IpNet, Because)| api::AllowedPrefix { prefix, because: because.to_string() };
        api::Allowed { allowed: self.exempt.iter().map(view).collect() }
    }

    /// The sources with the highest scores, then the bans with the most drops.
    pub fn sources(&mut self, count: usize) -> Vec<api::SourceTop> {
        let now = self.now();
        let scored = self.scores.top(now.instant, count).into_iter().map(|(source, denials)| {
            api::SourceTop { source, score: f64::from(denials), dropped: 0, ban: None }
        });
        let prefixes = |ban: &Ban| Some((ban.id, ban.target.prefix()?));
        let mut newest: Vec<(u32, IpNet)> = self.ledger.active().filter_map(prefixes).collect();
        newest.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        newest.truncate(TOP_BANS_MAX);
        let mut banned: Vec<api::SourceTop> = newest
            .into_iter()
            .map(|(id, source)| api::SourceTop {
                source,
                score: 0.0,
                dropped: self.enforcer.drops(id).packets,
                ban: Some(id),
            })
            .collect();
        banned.sort_by_key(|top| std::cmp::Reverse(top.dropped));
        banned.truncate(count);
        banned.into_iter().chain(scored).collect()
    }

    /// CPU time that bans by rule have saved since the start, for `portcullis status`: by those that are over, and by the
    /// newest of those in force.
    pub fn saved(&mut self) -> Vec<api::Saved> {
        let mut newest: Vec<Ban> = self.ledger.active().filter(|ban| ban.rule.is_some()).cloned().collect();
        newest.sort_unstable_by_key(|ban| std::cmp::Reverse(ban.id));
        newest.truncate(TOP_BANS_MAX);
        let mut saved = self.saved.clone();
        for ban in newest {
            let drops = self.enforcer.drops(ban.id);
            saved.add(&ban, drops);
        }
        let view = |(rule, sum): (&Arc<str>, Sum)| api::Saved {
            rule: rule.to_string(),
            connections: sum.syns,
            cpu_s: sum.seconds,
        };
        saved.iter().map(view).collect()
    }

    /// One sentence about an address.
    pub fn explain(&self, address: IpAddr) -> String {
        let host = canonical(address.into());
        if let Some((entry, because)) = self.exempt.contains(host) {
            return format!("never banned: {} is on the list as {because}", display(entry));
        }
        let mut covering: Vec<&Ban> = self.ledger.covering(host).collect();
        covering.sort_by_key(|ban| ban.observed);
        match covering.first() {
            Some(ban) if ban.observed => {
                format!("observed as {} (ban {}), which drops nothing: {}", ban.target, ban.id, ban.reason)
            }
            Some(ban) => format!("banned as {} (ban {}): {}", ban.target, ban.id, ban.reason),
            None => match self.listed(address) {
                Some((name, true)) => format!("on the list {name}, which only counts"),
                Some((name, false)) => format!("on the list {name}, which drops it"),
                None => String::from("not banned"),
            },
        }
    }
}

/// From when on a ban in force lets its client through.
fn parole_of(ban: &Ban) -> Option<api::Parole> {
    let parole = ban.parole.filter(|_| ban.state == State::Active && ban.enforced != Enforced::Observed)?;
    let from = ban.until?.checked_sub(parole.before_end)?;
    Some(api::Parole { from: timestamp::format(from), every_s: parole.every.as_secs() })
}

/// A single IPv6 address stands for its /64, as rules ban it.
fn widened(prefix: IpNet) -> IpNet {
    if prefix.prefix_len() == prefix.max_prefix_len() { source::of(prefix.addr()) } else { prefix }
}

/// Whom an operator wants to ban.
fn target_of(request: &api::BanPrefix) -> Option<Target> {
    let target = match (request.client.clone(), request.prefix) {
        (Some(who), at) => Target::Subject { who, at },
        (None, prefix) => Target::Prefix(prefix?),
    };
    Some(target.canonical())
}

fn observe_flag(observed: bool) -> &'static str {
    if observed { " --observe" } else { "" }
}

/// A reason without control characters, and not too long.
fn clean(reason: &str) -> String {
    let mut reason: String = reason.chars().filter(|c| !c.is_control()).collect();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    if reason.is_empty() { String::from("no reason given") } else { reason }
}
