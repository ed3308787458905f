//! The ledger of bans: which are in force, which are over, and how long the next one of a source will be.
//!
//! Pure: time comes in, nothing goes out. The keeper writes to the kernel and to the state file what happens here.
//! Two bans may overlap (an operator's /16 and a rule's /32 in it), but there is one ban for each target.
//! Memory: about 270 bytes for each ban in force, of which there are at most twice `capacity`, and [`ENDED_MAX`]
//! that are over.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;

use super::crowd::Others;
use super::enforcer::Drops;
use super::offender::Offenders;
use super::parole::Parole;
use super::prefix_map::PrefixMap;
use super::receipt::RuleAtBan;
use super::target::{Subject, Target};

/// Bans that are over and can still be looked at.
pub const ENDED_MAX: usize = 1_024;

/// One moment by both clocks: leases run by the monotonic one, people and the state file read the other.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// `CLOCK_MONOTONIC`
    pub instant: Instant,
    /// `CLOCK_REALTIME`
    pub wall: SystemTime,
}

impl Now {
    /// From the system.
    pub fn system() -> Now {
        Now { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// Whether a ban is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In force.
    Active,
    /// Its time was over.
    Expired,
    /// An operator, or a new exemption, ended it.
    Lifted,
    /// Its client was let through, and behaved.
    Paroled,
}

/// Who made a ban.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The rule of the configuration.
    Rule,
    /// An operator, by user id.
    Operator(u32),
    /// An operator of another machine, by the name in the certificate.
    Remote(Arc<str>),
    /// Nobody knows: the kernel held it when the gateway started, and the state file did not.
    Kernel,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Rule => f.write_str("rule"),
            By::Operator(uid) => write!(f, "operator {uid}"),
            By::Remote(name) => write!(f, "operator {name}"),
            By::Kernel => f.write_str("kernel"),
        }
    }
}

/// Where a ban holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforced {
    /// Before TCP, and at layer 7.
    Kernel,
    /// At layer 7 only.
    Gateway,
    /// Nowhere; what it would drop is counted.
    Observed,
}

/// One ban.
#[derive(Debug, Clone)]
pub struct Ban {
    /// Never used twice.
    pub id: u32,
    /// Whom it keeps out.
    pub target: Target,
    /// Whether it is in force.
    pub state: State,
    /// Why, for people.
    pub reason: Box<str>,
    /// The rule that was met, and by what; none for an operator's ban, and for one that a release before 2 made.
    pub rule: Option<Arc<RuleAtBan>>,
    /// Who else was served there when it was made; none: nobody looked.
    pub others: Option<Arc<Others>>,
    /// The bans that it took the place of, and theirs.
    pub derived_from: Box<[u32]>,
    /// Who made it.
    pub by: By,
    /// Where it holds.
    pub enforced: Enforced,
    /// Whether it only counts what it would drop, whatever `[shield] mode` says: a shadow ban.
    pub observed: bool,
    /// Since when.
    pub since: SystemTime,
    /// Until when, by the wall clock; for one that is over, when it ended. None: for ever.
    pub until: Option<SystemTime>,
    /// Until when, by the monotonic clock; none: for ever.
    pub lease_end: Option<Instant>,
    /// 1 for the source's first ban by rule, 2 for its first return …; 0 for an operator's ban.
    pub offence: u32,
    /// When its client is let through; none: never.
    pub parole: Option<Parole>,
    /// When it was renewed last, for its client was refused on parole.
    pub renewed: Option<SystemTime>,
    /// From the last denial to the entry in the kernel.
    pub latency_us: Option<u64>,
    /// What it dropped, once it is over; before that the kernel counts.
    pub drops: Drops,
}

impl Ban {
    /// When its parole begins; none: never.
    pub fn parole_begins(&self) -> Option<Instant> {
        self.lease_end?.checked_sub(self.parole?.before_end)
    }

    /// Whether its client may have been let through at this moment.
    pub fn is_on_parole(&self, at: Instant) -> bool {
        self.parole_begins().is_some_and(|begins| begins <= at) && self.lease_end.is_some_and(|end| at < end)
    }

    /// Whether it makes the target's next ban longer: one by rule does, unless nobody felt it.
    pub fn counts_as_offence(&self) -> bool {
        self.by == By::Rule && !self.observed
    }
}

/// How long bans by rule last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The first.
    pub first: Duration,
    /// The longest.
    pub up_to: Duration,
}

impl Terms {
    /// The n-th ban of a source lasts twice as long as the one before, up to the longest.
    pub fn of(&self, offence: u32) -> Duration {
        let factor = 1u32.checked_shl(offence.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.up_to)
    }
}

/// All bans.
#[derive(Debug)]
pub struct Ledger {
    active: BTreeMap<u32, Ban>,
    by_prefix: PrefixMap<u32>,
    /// The same in order, so that those of a network stand together.
    networks: BTreeMap<IpNet, u32>,
    /// Those that hold for one client at layer 7, from these addresses or from everywhere.
    by_client: HashMap<Subject, Vec<(Option<IpNet>, u32)>>,
    leases: BTreeSet<(Instant, u32)>,
    ended: VecDeque<Ban>,
    offenders: Offenders,
    next_id: u32,
    capacity: usize,
}

impl Ledger {
    /// Empty; `capacity` is what the kernel has room for. As many again may be in force at layer 7.
    pub fn new(capacity: usize) -> Ledger {
        Ledger {
            active: BTreeMap::new(),
            by_prefix: PrefixMap::default(),
            networks: BTreeMap::new(),
            by_client: HashMap::new(),
            leases: BTreeSet::new(),
            ended: VecDeque::new(),
            offenders: Offenders::default(),
            next_id: 1,
            capacity,
        }
    }

    /// Changes how much room there is; more bans that are in force already stay.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Whether there is no room for another ban, not even at layer 7.
    pub fn is_full(&self) -> bool {
        self.active.len() >= self.capacity.saturating_mul(2)
    }

    /// Takes the next id. After four billion bans the last one is given again and again.
    pub fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        id
    }

    /// The next id, for the state file.
    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Never gives an id below this one again.
    pub fn reserve_ids(&mut self, next_id: u32) {
        self.next_id = self.next_id.max(next_id);
    }

    /// Which offence of the target the next one is, from 1.
    pub fn next_offence(&self, target: &Target, now: SystemTime) -> u32 {
        self.offenders.count(target, now).saturating_add(1)
    }

    /// Puts a ban in force. One for the same target must have been ended before.
    pub fn enact(&mut self, ban: Ban) {
        self.reserve_ids(ban.id.saturating_add(1));
        if ban.counts_as_offence()
            && let Some(until) = ban.until
        {
            self.offenders.set(ban.target.clone(), ban.offence, until);
        }
        debug_assert!(self.exact(&ban.target).is_none(), "one ban for each target");
        match &ban.target {
            Target::Prefix(prefix) => {
                self.by_prefix.insert(*prefix, ban.id);
                self.networks.insert(*prefix, ban.id);
            }
            Target::Subject { who, at } => {
                self.by_client.entry(who.clone()).or_default().push((*at, ban.id));
            }
        }
        if let Some(end) = ban.lease_end {
            self.leases.insert((end, ban.id));
        }
        self.active.insert(ban.id, ban);
    }

    /// Ends a ban, with what it dropped. A ban by rule that is lifted was a mistake or is forgiven: it does not make
    /// the source's next one longer.
    pub fn end(&mut self, id: u32, now: SystemTime, state: State, drops: Drops) -> Option<&Ban> {
        let mut ban = self.active.remove(&id)?;
        match &ban.target {
            Target::Prefix(prefix) => {
                self.by_prefix.remove(prefix);
                self.networks.remove(prefix);
            }
            Target::Subject { who, .. } => {
                if let Some(bans) = self.by_client.get_mut(who) {
                    bans.retain(|(_, ban)| *ban != id);
                    if bans.is_empty() {
                        self.by_client.remove(who);
                    }
                }
            }
        }
        if let Some(end) = ban.lease_end {
            self.leases.remove(&(end, id));
        }
        if state == State::Lifted && ban.counts_as_offence() {
            self.offenders.set(ban.target.clone(), ban.offence.saturating_sub(1), now);
        }
        (ban.state, ban.until, ban.drops) = (state, Some(now), drops);
        self.remember(ban);
        self.ended.back()
    }

    /// Files a ban that is over, the newest last; the oldest beyond [`ENDED_MAX`] comes back to be forgotten.
    pub fn remember(&mut self, ban: Ban) {
        self.reserve_ids(ban.id.saturating_add(1));
        self.ended.push_back(ban);
    }

    /// Takes bans out that are over and too many to remember.
    pub fn forget(&mut self) -> Option<Ban> {
        if self.ended.len() > ENDED_MAX { self.ended.pop_front() } else { None }
    }

    /// The bans whose time is over and that nobody has ended yet.
    pub fn due(&self, now: Instant) -> Vec<u32> {
        self.leases.iter().take_while(|(end, _)| *end <= now).map(|(_, id)| *id).collect()
    }

    /// When the next ban ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.leases.first().map(|(end, _)| *end)
    }

    /// The bans in force that contain the whole prefix, narrowest first.
    pub fn covering(&self, prefix: IpNet) -> impl Iterator<Item = &Ban> {
        self.by_prefix.covering(prefix).filter_map(|(_, id)| self.active.get(id))
    }

    /// The bans in force that lie in the prefix, in the order of their addresses. Looks at no others.
    pub fn inside(&self, prefix: IpNet) -> impl Iterator<Item = &Ban> {
        // What is wider begins before it.
        let inside = self.networks.range(prefix..).take_while(move |(network, _)| prefix.contains(*network));
        inside.filter_map(|(_, id)| self.active.get(id))
    }

    /// The ban in force for exactly this target.
    pub fn exact(&self, target: &Target) -> Option<&Ban> {
        let id = match target {
            Target::Prefix(prefix) => self.by_prefix.get(prefix).copied(),
            Target::Subject { who, at } => {
                self.by_client.get(who)?.iter().find(|(place, _)| place == at).map(|(_, id)| *id)
            }
        };
        self.active.get(&id?)
    }

    /// The bans in force of this client that hold when it comes from the host.
    pub fn of_client(&self, who: &Subject, host: IpNet) -> impl Iterator<Item = &Ban> {
        let bans = self.by_client.get(who).into_iter().flatten();
        let here = bans.filter(move |(at, _)| at.is_none_or(|at| at.contains(&host)));
        here.filter_map(|(_, id)| self.active.get(id))
    }

    /// A ban by its id, in force or over.
    pub fn get(&self, id: u32) -> Option<&Ban> {
        self.active.get(&id).or_else(|| self.ended.iter().rev().find(|ban| ban.id == id))
    }

    /// Whether a ban of this id is in force.
    pub fn is_active(&self, id: u32) -> bool {
        self.active.contains_key(&id)
    }

    /// The bans in force that took the place of this one.
    pub fn derived_from(&self, id: u32) -> impl Iterator<Item = &Ban> {
        self.active.values().filter(move |ban| ban.derived_from.contains(&id))
    }

    /// The bans in force, in the order of their ids.
    pub fn active(&self) -> impl DoubleEndedIterator<Item = &Ban> {
        self.active.values()
    }

    /// Those of them whose ids are not below this one.
    pub fn active_from(&self, id: u32) -> impl Iterator<Item = &Ban> {
        self.active.range(id..).map(|(_, ban)| ban)
    }

    /// A ban in force, to note where it holds. Target, id and lease must stay as they are.
    pub fn active_mut(&mut self, id: u32) -> Option<&mut Ban> {
        self.active.get_mut(&id)
    }

    /// Moves the end of a ban in force to so much time from now.
    pub fn set_lease(&mut self, id: u32, now: Now, left: Duration) {
        let Some(ban) = self.active.get_mut(&id) else { return };
        if let Some(end) = ban.lease_end {
            self.leases.remove(&(end, id));
        }
        (ban.lease_end, ban.until) = (now.instant.checked_add(left), now.wall.checked_add(left));
        self.leases.extend(ban.lease_end.map(|end| (end, id)));
    }

    /// Begins a ban in force anew, at a time by the wall clock: `left` of it are left.
    pub fn renew(
        &mut self,
        id: u32,
        now: Now,
        at: SystemTime,
        left: Duration,
        offence: u32,
        parole: Option<Parole>,
    ) {
        self.set_lease(id, now, left);
        let Some(ban) = self.active.get_mut(&id) else { return };
        (ban.renewed, ban.offence, ban.parole) = (Some(at), offence, parole);
        if ban.counts_as_offence()
            && let Some(until) = ban.until
        {
            self.offenders.set(ban.target.clone(), offence, until);
        }
    }

    /// A shadow ban in force counts no longer only.
    pub fn arm(&mut self, id: u32) {
        let Some(ban) = self.active.get_mut(&id) else { return };
        ban.observed = false;
        if ban.counts_as_offence()
            && let Some(until) = ban.until
        {
            self.offenders.set(ban.target.clone(), ban.offence, until);
        }
    }

    /// How many bans are in force.
    pub fn count(&self) -> usize {
        self.active.len()
    }

    /// The bans that are over, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &Ban> {
        self.ended.iter()
    }

    /// Who was banned before.
    pub fn offenders(&self) -> &Offenders {
        &self.offenders
    }

    /// The same, to restore or sweep them.
    pub fn offenders_mut(&mut self) -> &mut Offenders {
        &mut self.offenders
    }
}

#[cfg(test)]
mod tests;
