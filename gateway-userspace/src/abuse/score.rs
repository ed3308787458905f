//! How many denials a source had lately, and when that is too many.
//!
//! A sliding window for each rule, exact: the rule "20 denials in 10s" is met by the 20th denial that comes at most 10 s
//! after the first of the twenty, and by nothing before. (A decaying sum would be smaller, but nobody could check a
//! receipt by counting its lines.) After an offence the rule's window is empty again, so the next one takes as many
//! denials as the first. A rule may also ask for CPU time, "500ms cpu in 10s": denials are added up by what each cost, in
//! steps of a thousandth of its time. Rules do not know of each other: one denial counts for each that names its kind and route.
//!
//! Memory is bounded by two generations. A source that is seen goes to the current one; when that is full or as old as
//! the longest window, it becomes the previous one, and what was previous is forgotten: sources that were quiet for at
//! least that long. Under a flood of more than [`SOURCES_MAX`] sources within one window the quietest are forgotten
//! early, never the loudest. Worst case: 64 Ki sources (10 MiB, and 2 MiB for each rule) + 2 Mi denials (48 MiB) + 32 Ki
//! requests kept as evidence (about 1 KiB each with the longest path and host, 32 MiB; usually a quarter).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::ban::Terms;
use super::signal::{Evidence, Kind, Kinds, Signal};
use super::{source, term};

/// Most rules; so many bits has a byte.
pub const RULES_MAX: usize = 8;
/// Most sources with a score, in both generations together.
pub const SOURCES_MAX: usize = 65_536;
/// Most denials that a rule may ask for.
pub const DENIALS_MAX: u32 = 1_024;
/// Most requests kept for each source, the newest ones.
pub const EVIDENCE_PER_SOURCE: usize = 32;
/// Most denials that one generation remembers.
const STAMPS_PER_GENERATION: usize = 1 << 20;
/// Most requests that one generation keeps.
const EVIDENCE_PER_GENERATION: usize = 16_384;

/// What a rule asks for within its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So many denials, 1 to [`DENIALS_MAX`]; more count as that many.
    Denials(u32),
    /// Denials that have cost the gateway so much CPU time.
    Cpu(Duration),
}

/// `"20 denials in 10s"`, of some kinds, on a route or on all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `NAME` of `[ban.NAME]`, or `shield`.
    pub name: Arc<str>,
    /// What it asks for …
    pub asks: When,
    /// … within this time.
    pub within: Duration,
    /// Which kinds count.
    pub kinds: Kinds,
    /// Only what was refused on this route; none: everything.
    pub route: Option<Arc<str>>,
    /// Whether bans by it only count what they would drop.
    pub observe: bool,
    /// How long a ban by it lasts.
    pub terms: Terms,
}

impl Rule {
    /// `20 denials in 10s`
    pub fn when(&self) -> String {
        let asks = match self.asks {
            When::Denials(count) => format!("{} denials", count.clamp(1, DENIALS_MAX)),
            When::Cpu(cost) => format!("{}ms cpu", cost.as_millis()),
        };
        format!("{asks} in {}", term::display(self.within))
    }

    /// Whether it counts what was refused on this route.
    pub fn counts(&self, kind: Kind, route: Option<&str>) -> bool {
        self.kinds.contains(kind) && self.route.as_deref().is_none_or(|only| route == Some(only))
    }

    /// Whether both count the same, whatever their bans are like.
    fn counts_like(&self, other: &Rule) -> bool {
        let Rule { name, asks, within, kinds, route, observe: _, terms: _ } = self;
        (name, asks, within, kinds, route)
            == (&other.name, &other.asks, &other.within, &other.kinds, &other.route)
    }
}

/// A rule that was met.
#[derive(Debug)]
pub struct Offence {
    /// Which.
    pub rule: Arc<Rule>,
    /// Whose.
    pub source: IpNet,
    /// The denial that met it.
    pub last: Instant,
    /// From the first of the denials to the last.
    pub span: Duration,
    /// The denials by kind, most frequent first.
    pub kinds: Vec<(Kind, u32)>,
    /// What they cost the gateway, CPU time.
    pub cost: Duration,
    /// The refused requests, oldest first, at most [`EVIDENCE_PER_SOURCE`].
    pub evidence: Vec<Evidence>,
}

/// The scores of all sources.
#[derive(Debug)]
pub struct Scores {
    /// At most [`RULES_MAX`].
    rules: Vec<Arc<Rule>>,
    current: Generation,
    previous: Generation,
}

#[derive(Debug)]
struct Generation {
    since: Instant,
    sources: HashMap<IpNet, Window, foldhash::quality::RandomState>,
    stamps: usize,
    evidence: usize,
}

#[derive(Debug)]
struct Window {
    /// In the order of the rules.
    tallies: Box<[Tally]>,
    evidence: VecDeque<Kept>,
}

/// What one rule has counted.
#[derive(Debug, Default)]
struct Tally {
    stamps: VecDeque<Stamp>,
    /// Microseconds.
    cost_us: u64,
}

/// A denial, or several of one kind that a rule of CPU time does not tell apart.
#[derive(Debug)]
struct Stamp {
    at: Instant,
    cost_us: u32,
    count: u16,
    kind: Kind,
}

/// A refused request, and the rules that it counts for, a bit each.
#[derive(Debug)]
struct Kept {
    evidence: Box<Evidence>,
    at: Instant,
    rules: u8,
}

impl Scores {
    /// No denials yet. Rules beyond [`RULES_MAX`] are left out.
    pub fn new(rules: Vec<Rule>, now: Instant) -> Scores {
        let rules = rules.into_iter().take(RULES_MAX).map(Arc::new).collect();
        Scores { rules, current: Generation::new(now), previous: Generation::new(now) }
    }

    /// Takes other rules. The counts stay if these count alike.
    pub fn configure(&mut self, rules: Vec<Rule>, now: Instant) {
        let new = Scores::new(rules, now);
        let alike = |(old, new): (&Arc<Rule>, &Arc<Rule>)| old.counts_like(new);
        if self.rules.len() == new.rules.len() && self.rules.iter().zip(&new.rules).all(alike) {
            self.rules = new.rules;
        } else {
            *self = new;
        }
    }

    /// Counts one denial; an offence for each rule that it meets. `now` only ages the generations; the denial counts at
    /// `signal.at`, or at the source's last one if another worker's signal overtook it.
    pub fn step(&mut self, now: Instant, signal: Signal) -> Vec<Offence> {
        let route = signal.evidence.as_ref().and_then(|evidence| evidence.route.as_deref());
        let counting = |(nth, rule): (usize, &Arc<Rule>)| u8::from(rule.counts(signal.kind, route)) << nth;
        let rules = self.rules.iter().enumerate().map(counting).fold(0, |all, rule| all | rule);
        if rules == 0 {
            return Vec::new();
        }
        self.turn(now);
        let source = source::of(signal.source);
        let known = self.current.take(&source).or_else(|| self.previous.take(&source));
        let mut window = known.unwrap_or_else(|| Window::new(self.rules.len()));

        let at = window.last().map_or(signal.at, |last| signal.at.max(last));
        window.age(&self.rules, at);
        for nth in bits(rules) {
            window.tallies[nth].add(&self.rules[nth], at, signal.kind, signal.cost);
        }
        if let Some(evidence) = signal.evidence {
            let room = EVIDENCE_PER_GENERATION.saturating_sub(self.current.evidence);
            window.keep(Kept { evidence, at, rules }, room);
        }
        let met = bits(rules).filter(|nth| window.tallies[*nth].meets(&self.rules[*nth]));
        let met: Vec<usize> = met.collect();
        let offences =
            met.into_iter().map(|nth| window.take_offence(nth, &self.rules[nth], source)).collect();
        if window.last().is_some() {
            self.current.put(source, window);
        }
        offences
    }

    /// Forgets a source.
    pub fn forget(&mut self, source: &IpNet) {
        self.current.take(source);
        self.previous.take(source);
    }

    /// How many sources have a score.
    pub fn len(&self) -> usize {
        self.current.sources.len() + self.previous.sources.len()
    }

    /// Whether no source has a score.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sources with the most denials in the window that ends now, of the rule that counts most.
    pub fn top(&self, now: Instant, count: usize) -> Vec<(IpNet, u32)> {
        let in_window = |window: &Window| {
            let counts = self.rules.iter().zip(&window.tallies).map(|(rule, tally)| {
                let recent = |stamp: &&Stamp| now.saturating_duration_since(stamp.at) <= rule.within;
                tally.stamps.iter().filter(recent).map(|stamp| u32::from(stamp.count)).sum::<u32>()
            });
            counts.max().unwrap_or(0)
        };
        let all = self.current.sources.iter().chain(&self.previous.sources);
        let mut scores: Vec<(IpNet, u32)> = all
            .map(|(source, window)| (*source, in_window(window)))
            .filter(|(_, denials)| *denials > 0)
            .collect();
        scores.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        scores.truncate(count);
        scores
    }

    /// Begins a new generation when the current one is full or old.
    fn turn(&mut self, now: Instant) {
        let full =
            self.current.sources.len() >= SOURCES_MAX / 2 || self.current.stamps >= STAMPS_PER_GENERATION;
        let longest = self.rules.iter().map(|rule| rule.within).max().unwrap_or_default();
        let old = now.saturating_duration_since(self.current.since) > longest;
        if full || old {
            self.previous = std::mem::replace(&mut self.current, Generation::new(now));
        }
    }
}

impl Generation {
    fn new(since: Instant) -> Generation {
        Generation { since, sources: HashMap::default(), stamps: 0, evidence: 0 }
    }

    fn take(&mut self, source: &IpNet) -> Option<Window> {
        let window = self.sources.remove(source)?;
        self.stamps -= window.stamps();
        self.evidence -= window.evidence.len();
        Some(window)
    }

    fn put(&mut self, source: IpNet, mut window: Window) {
        let room = EVIDENCE_PER_GENERATION.saturating_sub(self.evidence);
        while window.evidence.len() > room {
            window.evidence.pop_front();
        }
        self.stamps += window.stamps();
        self.evidence += window.evidence.len();
        self.sources.insert(source, window);
    }
}

impl Tally {
    fn add(&mut self, rule: &Rule, at: Instant, kind: Kind, cost: Duration) {
        let cost_us = u32::try_from(cost.as_micros()).unwrap_or(u32::MAX);
        self.cost_us += u64::from(cost_us);
        if let When::Cpu(_) = rule.asks {
            let step = rule.within / DENIALS_MAX;
            // One stamp for each kind and step, so that their number is bounded.
            let recent = self.stamps.iter_mut().rev().take(Kind::ALL.len());
            let same =
                recent.take_while(|stamp| at.duration_since(stamp.at) < step).find(|it| it.kind == kind);
            if let Some(stamp) = same {
                stamp.count = stamp.count.saturating_add(1);
                stamp.cost_us = stamp.cost_us.saturating_add(cost_us);
                return;
            }
        }
        self.stamps.push_back(Stamp { at, cost_us, count: 1, kind });
    }

    fn age(&mut self, within: Duration, at: Instant) {
        while self.stamps.front().is_some_and(|first| at.duration_since(first.at) > within) {
            let cost_us = self.stamps.pop_front().map_or(0, |first| first.cost_us);
            self.cost_us = self.cost_us.saturating_sub(cost_us.into());
        }
    }

    fn meets(&self, rule: &Rule) -> bool {
        match rule.asks {
            When::Denials(count) => self.stamps.len() >= count.clamp(1, DENIALS_MAX) as usize,
            When::Cpu(cost) => u128::from(self.cost_us) >= cost.as_micros().max(1),
        }
    }
}

impl Window {
    fn new(rules: usize) -> Window {
        Window { tallies: (0..rules).map(|_| Tally::default()).collect(), evidence: VecDeque::new() }
    }

    fn stamps(&self) -> usize {
        self.tallies.iter().map(|tally| tally.stamps.len()).sum()
    }

    /// The newest denial.
    fn last(&self) -> Option<Instant> {
        self.tallies.iter().filter_map(|tally| tally.stamps.back()).map(|stamp| stamp.at).max()
    }

    /// Takes out what no rule's window that ends at `at` holds.
    fn age(&mut self, rules: &[Arc<Rule>], at: Instant) {
        for (rule, tally) in rules.iter().zip(&mut self.tallies) {
            tally.age(rule.within, at);
        }
        let over = |kept: &Kept| bits(kept.rules).all(|nth| at.duration_since(kept.at) > rules[nth].within);
        while self.evidence.front().is_some_and(over) {
            self.evidence.pop_front();
        }
    }

    /// Keeps a request as evidence, in place of the oldest where there is no room for one more.
    fn keep(&mut self, kept: Kept, room: usize) {
        if self.evidence.len() >= EVIDENCE_PER_SOURCE.min(room) && self.evidence.pop_front().is_none() {
            return;
        }
        self.evidence.push_back(kept);
    }

    /// Empties the window of a rule that was met.
    fn take_offence(&mut self, nth: usize, rule: &Arc<Rule>, source: IpNet) -> Offence {
        let Tally { stamps, cost_us } = std::mem::take(&mut self.tallies[nth]);
        let mut kinds: Vec<(Kind, u32)> = Vec::new();
        for stamp in &stamps {
            let count = u32::from(stamp.count);
            match kinds.iter_mut().find(|(known, _)| *known == stamp.kind) {
                Some((_, known)) => *known += count,
                None => kinds.push((stamp.kind, count)),
            }
        }
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let first = stamps.front().expect("an offence has a denial").at;
        let last = stamps.back().expect("an offence has a denial").at;
        let cost = Duration::from_micros(cost_us);
        let mut evidence = Vec::new();
        for kept in &mut self.evidence {
            if kept.rules & 1 << nth != 0 && kept.at >= first {
                evidence.push((*kept.evidence).clone());
            }
            kept.rules &= !(1 << nth);
        }
        self.evidence.retain(|kept| kept.rules != 0);
        Offence { rule: rule.clone(), source, last, span: last.duration_since(first), kinds, cost, evidence }
    }
}

/// The places of the bits that are set.
fn bits(set: u8) -> impl Iterator<Item = usize> {
    (0..RULES_MAX).filter(move |nth| set & 1 << nth != 0)
}

#[cfg(test)]
mod tests;
