//! What a ban is justified by, frozen when it was made: the rule with its counts, and the evidence, which is the refused
//! requests that led to it.
//!
//! The evidence is apart from the ledger because it is the larger part: at most [`EVIDENCE_MAX`] requests in all (32 MiB with the
//! longest texts, usually 8). Above that the oldest bans lose their evidence, never the ban itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::score::Offence;
use super::signal::{Evidence, Kind};

/// A rule as it stood and what it had counted when it was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleAtBan {
    /// `NAME` of `[ban.NAME]`, or `shield`.
    pub name: Arc<str>,
    /// `20 denials in 10s`
    pub when: String,
    /// The route that it looks at; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// What it had counted, most frequent first.
    pub kinds: Vec<Counted>,
    /// Milliseconds from the first of these denials to the last.
    pub span_ms: u64,
    /// Microseconds of CPU time that they cost the gateway, as far as it was measured.
    #[serde(default)]
    pub cost_us: u64,
}

/// Denials of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Which.
    pub kind: Kind,
    /// How many.
    pub count: u32,
}

impl RuleAtBan {
    /// Of an offence.
    pub fn of(offence: &Offence) -> RuleAtBan {
        RuleAtBan {
            name: offence.rule.name.clone(),
            when: offence.rule.when(),
            route: offence.rule.route.clone(),
            kinds: offence.kinds.iter().map(|(kind, count)| Counted { kind: *kind, count: *count }).collect(),
            span_ms: u64::try_from(offence.span.as_millis()).unwrap_or(u64::MAX),
            cost_us: u64::try_from(offence.cost.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// `20 denials in 10s: 18 rate-limited, 2 unauthenticated`
    pub fn reason(&self) -> String {
        let kinds: Vec<String> =
            self.kinds.iter().map(|Counted { kind, count }| format!("{count} {}", kind.as_str())).collect();
        format!("{}: {}", self.when, kinds.join(", "))
    }
}

/// Most requests kept as evidence, of all bans together.
pub const EVIDENCE_MAX: usize = 32_768;

/// Evidence by ban.
#[derive(Debug, Default)]
pub struct Receipts {
    by_ban: HashMap<u32, Box<[Evidence]>>,
    order: VecDeque<u32>,
    total: usize,
}

impl Receipts {
    /// Freezes the evidence of a new ban.
    pub fn file(&mut self, ban: u32, evidence: Vec<Evidence>) {
        if evidence.is_empty() || self.by_ban.contains_key(&ban) {
            return;
        }
        self.total += evidence.len();
        self.by_ban.insert(ban, evidence.into());
        self.order.push_back(ban);
        while self.total > EVIDENCE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.take(oldest);
        }
        // Bans that were forgotten leave their number behind; it is cleared away before it can pile up.
        if self.order.len() > 2 * self.by_ban.len() + 16 {
            self.order.retain(|ban| self.by_ban.contains_key(ban));
        }
    }

    /// What is kept for the ban.
    pub fn of(&self, ban: u32) -> &[Evidence] {
        self.by_ban.get(&ban).map_or(&[], |evidence| evidence)
    }

    /// The bans whose evidence holds the request with this id.
    pub fn with_request(&self, request_id: &str) -> impl Iterator<Item = u32> {
        let holds = move |evidence: &[Evidence]| evidence.iter().any(|one| one.request_id == request_id);
        self.by_ban.iter().filter(move |(_ban, evidence)| holds(evidence)).map(|(ban, _evidence)| *ban)
    }

    /// Forgets a ban that nobody can ask for any more.
    pub fn forget(&mut self, ban: u32) {
        self.take(ban);
    }

    fn take(&mut self, ban: u32) {
        if let Some(evidence) = self.by_ban.remove(&ban) {
            self.total -= evidence.len();
        }
    }
}

/// Cuts what a client or a trusted proxy can make long, so that no receipt is larger than about 1.3 KiB per request.
pub fn clamp(evidence: &mut Evidence) {
    for (text, max) in [
        (&mut evidence.request_id, 128),
        (&mut evidence.method, 16),
        (&mut evidence.host, 255),
        (&mut evidence.path, 256),
        (&mut evidence.reason, 64),
    ] {
        text.truncate(text.floor_char_boundary(max));
    }
    // A longer fingerprint can only come from a state file that somebody wrote.
    evidence.ja4.take_if(|ja4| ja4.len() > 64);
    // A name that is cut would be somebody else's.
    if evidence.principal.as_ref().is_some_and(|principal| principal.len() > 256) {
        evidence.auth = None;
    }
    for shared in [&mut evidence.route, &mut evidence.principal].into_iter().flatten() {
        if shared.len() > 256 {
            *shared = shared[..shared.floor_char_boundary(256)].into();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn evidence(path: &str) -> Evidence {
        Evidence {
            time: SystemTime::UNIX_EPOCH,
            request_id: String::new(),
            method: "GET".into(),
            host: String::new(),
            path: path.into(),
            status: 401,
            reason: "no-token".into(),
            route: None,
            auth: None,
            principal: None,
            ja4: None,
        }
    }

    #[test]
    fn the_oldest_bans_lose_their_evidence_first() {
        let mut receipts = Receipts::default();
        let bans = EVIDENCE_MAX as u32 / 32 + 1;
        for ban in 1..=bans {
            receipts.file(ban, vec![evidence("/"); 32]);
        }
        assert!(receipts.of(1).is_empty());
        assert_eq!(receipts.of(2).len(), 32);
        assert_eq!(receipts.of(bans).len(), 32);
        assert_eq!(receipts.total, EVIDENCE_MAX);
    }

    #[test]
    fn evidence_is_frozen_and_forgetting_does_not_pile_up() {
        let mut receipts = Receipts::default();
        receipts.file(7, vec![evidence("/first")]);
        receipts.file(7, vec![evidence("/second")]);
        assert_eq!(receipts.of(7)[0].path, "/first");
        for ban in 8..10_000 {
            receipts.file(ban, vec![evidence("/")]);
            receipts.forget(ban);
        }
        assert_eq!(receipts.total, 1);
        assert!(receipts.order.len() < 32);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut long = evidence(&"é".repeat(1_000));
        long.request_id = "x".repeat(60_000);
        long.principal = Some("ü".repeat(40_000).into());
        clamp(&mut long);
        assert_eq!(long.path, "é".repeat(128));
        assert_eq!(long.request_id.len(), 128);
        assert_eq!(long.principal.unwrap().len(), 256);
    }
}
