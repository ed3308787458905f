//! How many denials a source had lately, and when that is too many.
//!
//! A sliding window, exact: the rule "20 denials in 10s" is met by the 20th denial that comes at most 10 s after the
//! first of the twenty, and by nothing before. (A decaying sum would be smaller, but nobody could check a receipt by
//! counting its lines.) After an offence the window is empty again, so the next one takes as many denials as the first.
//!
//! Memory is bounded by two generations. A source that is seen goes to the current one; when that is full or as old as
//! the window, it becomes the previous one, and what was previous is forgotten: sources that were quiet for at least
//! that long. Under a flood of more than [`SOURCES_MAX`] sources within one window the quietest are forgotten early,
//! never the loudest. Worst case: 64 Ki sources (10 MiB) + 2 Mi denials (32 MiB) + 32 Ki requests kept as evidence
//! (about 1 KiB each with the longest path and host, 32 MiB; usually a quarter).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::signal::{Evidence, Kind, Signal};
use super::source;

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

/// `"20 denials in 10s"`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Denials, 1 to [`DENIALS_MAX`]; more count as that many.
    pub denials: u32,
    /// Within this time.
    pub within: Duration,
    /// Whether bans by it only count what they would drop.
    pub observe: bool,
}

/// A rule that was met.
#[derive(Debug)]
pub struct Offence {
    /// Whose.
    pub source: IpNet,
    /// The denial that met it.
    pub last: Instant,
    /// From the first of the denials to the last.
    pub span: Duration,
    /// The denials by kind, most frequent first.
    pub kinds: Vec<(Kind, u32)>,
    /// The refused requests, oldest first, at most [`EVIDENCE_PER_SOURCE`].
    pub evidence: Vec<Evidence>,
}

/// The scores of all sources.
#[derive(Debug)]
pub struct Scores {
    rule: Rule,
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

#[derive(Debug, Default)]
struct Window {
    denials: VecDeque<(Instant, Kind)>,
    evidence: VecDeque<Box<Evidence>>,
}

impl Scores {
    /// No denials yet.
    pub fn new(rule: Rule, now: Instant) -> Scores {
        let rule = Rule { denials: rule.denials.clamp(1, DENIALS_MAX), ..rule };
        Scores { rule, current: Generation::new(now), previous: Generation::new(now) }
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Counts one denial; an offence if it meets the rule. `now` only ages the generations; the denial counts at
    /// `signal.at`, or at the source's last one if another worker's signal overtook it.
    pub fn step(&mut self, now: Instant, signal: Signal) -> Option<Offence> {
        self.turn(now);
        let source = source::of(signal.source);
        let mut window =
            self.current.take(&source).or_else(|| self.previous.take(&source)).unwrap_or_default();

        let at = window.denials.back().map_or(signal.at, |(last, _)| signal.at.max(*last));
        while window.denials.front().is_some_and(|(first, _)| at.duration_since(*first) > self.rule.within) {
            window.denials.pop_front();
        }
        while window.evidence.len() > window.denials.len() {
            window.evidence.pop_front();
        }
        window.denials.push_back((at, signal.kind));
        if let Some(evidence) = signal.evidence {
            window.keep(evidence, EVIDENCE_PER_GENERATION.saturating_sub(self.current.evidence));
        }
        if window.denials.len() >= self.rule.denials as usize {
            return Some(window.into_offence(source));
        }
        self.current.put(source, window);
        None
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

    /// The sources with the most denials in the window that ends now.
    pub fn top(&self, now: Instant, count: usize) -> Vec<(IpNet, u32)> {
        let in_window = |window: &Window| {
            let recent = |(at, _): &&(Instant, Kind)| now.saturating_duration_since(*at) <= self.rule.within;
            window.denials.iter().filter(recent).count() as u32
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
        let old = now.saturating_duration_since(self.current.since) > self.rule.within;
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
        self.stamps -= window.denials.len();
        self.evidence -= window.evidence.len();
        Some(window)
    }

    fn put(&mut self, source: IpNet, mut window: Window) {
        let room = EVIDENCE_PER_GENERATION.saturating_sub(self.evidence);
        while window.evidence.len() > room {
            window.evidence.pop_front();
        }
        self.stamps += window.denials.len();
        self.evidence += window.evidence.len();
        self.sources.insert(source, window);
    }
}

impl Window {
    /// Keeps a request as evidence, in place of the oldest where there is no room for one more.
    fn keep(&mut self, evidence: Box<Evidence>, room: usize) {
        if self.evidence.len() >= EVIDENCE_PER_SOURCE.min(room) && self.evidence.pop_front().is_none() {
            return;
        }
        self.evidence.push_back(evidence);
    }

    fn into_offence(self, source: IpNet) -> Offence {
        let mut kinds: Vec<(Kind, u32)> = Vec::new();
        for (_, kind) in &self.denials {
            match kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((*kind, 1)),
            }
        }
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let (first, _) = self.denials.front().expect("an offence has a denial");
        let (last, _) = self.denials.back().expect("an offence has a denial");
        let evidence = self.evidence.into_iter().map(|evidence| *evidence).collect();
        Offence { source, last: *last, span: last.duration_since(*first), kinds, evidence }
    }
}

#[cfg(test)]
mod tests;
