//! Limits as a route applies them.
//!
//! All limits of a phase are looked at before any is charged, so a refused request consumes nothing of the limits that
//! had room. When two requests race for the last place, the loser gives back what it was charged; until it has, a
//! third may be refused that would have passed. More than a limit allows never pass.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use super::config::{Config, Headers, Key};
use super::key;
use super::state::State;
use super::table::Outcome;
use crate::header::Value;
use crate::http::rejection::Rejection;
use crate::request::context::LimitState;
use crate::request::{Context, Head};

/// One limit.
#[derive(Debug, Clone)]
pub struct Limit {
    name: Arc<str>,
    quota: u64,
    by: Arc<[Key]>,
    x_ratelimit: bool,
    /// `RateLimit-Policy`, if it is told.
    policy: Option<Value>,
    state: Arc<State>,
}

/// The limits of a route that apply at one moment: before or after authentication.
#[derive(Debug, Clone, Default)]
pub struct Limits(Box<[Limit]>);

impl Limit {
    /// A limit on the state that [`super::States::prepare`] gave for the same settings.
    pub fn new(config: &Config, state: Arc<State>) -> Limit {
        Limit {
            name: config.name.clone(),
            quota: config.requests,
            by: config.by.clone().into(),
            x_ratelimit: matches!(config.headers, Headers::Both | Headers::XRateLimit),
            policy: matches!(config.headers, Headers::Both | Headers::Ietf).then(|| policy(config)),
            state,
        }
    }

    /// Charges a request.
    pub fn check(&self, cx: &Context, head: &Head, now: Instant) -> Result<LimitState, Rejection> {
        let now_ns = self.state.since_epoch_ns(now);
        let outcome = self.take(cx, head, now_ns);
        match outcome.wait_ns {
            None => Ok(self.state_at(outcome, now_ns)),
            Some(wait_ns) => Err(self.refusal(outcome, wait_ns, now_ns)),
        }
    }

    /// Whether the limit waits for authentication: it counts by what only that brings out, or counts all clients of a
    /// route, or of a part of its path, as one, so that whoever is not let in must not use up what those who are share.
    fn waits_for_authentication(&self) -> bool {
        self.by.iter().any(Key::needs_identity)
            || self.by.iter().all(|key| matches!(key, Key::Route | Key::Parameter(_)))
    }

    /// Whether it asks for a parameter of the path.
    pub fn counts_by_parameter(&self) -> bool {
        self.by.iter().any(|key| matches!(key, Key::Parameter(_)))
    }

    fn take(&self, cx: &Context, head: &Head, now_ns: u64) -> Outcome {
        self.state.table.take(self.key(cx, head), now_ns, self.state.rate())
    }

    fn peek(&self, cx: &Context, head: &Head, now_ns: u64) -> Outcome {
        self.state.table.peek(self.key(cx, head), now_ns, self.state.rate())
    }

    fn refund(&self, cx: &Context, head: &Head) {
        self.state.table.refund(self.key(cx, head), self.state.rate());
    }

    fn key(&self, cx: &Context, head: &Head) -> u128 {
        key::of(&self.by, self.state.secret, cx, head)
    }

    fn state_at(&self, outcome: Outcome, now_ns: u64) -> LimitState {
        let level = self.state.rate().level(outcome.tat_ns, now_ns);
        LimitState {
            limit: self.name.clone(),
            quota: self.quota,
            remaining: level.remaining,
            reset_s: seconds(level.reset_ns),
            x_ratelimit: self.x_ratelimit,
            policy: self.policy.clone(),
        }
    }

    fn refusal(&self, outcome: Outcome, wait_ns: u64, now_ns: u64) -> Rejection {
        Rejection::RateLimited {
            state: self.state_at(outcome, now_ns),
            retry_after_s: seconds(wait_ns).max(1),
        }
    }

    /// How narrow the group is that shares a count: of several refusals, the narrowest tells the client most.
    fn specificity(&self) -> (usize, u8) {
        let narrowest = self.by.iter().map(|key| match key {
            Key::Route | Key::Host | Key::Ja4 => 0,
            Key::Address => 1,
            Key::Header(_) | Key::Cookie(_) | Key::Claim(_) | Key::Parameter(_) => 2,
            Key::User | Key::Consumer => 3,
            Key::ApiKey => 4,
        });
        (self.by.len(), narrowest.max().unwrap_or(0))
    }
}

/// `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 §3): the quota and its window in whole seconds.
fn policy(config: &Config) -> Value {
    let window_s = config.per.as_secs().max(1);
    let text = format!("\"{}\";q={};w={window_s}", config.name, config.requests);
    Value::parse(text.as_bytes()).expect("a table's name is letters, digits, `-`, `_` and `.`")
}

impl Limits {
    /// Parts a route's limits into those that apply before authentication and those that wait for it. On a route that
    /// authenticates nobody there is nothing to wait for, and all are charged together or not at all.
    pub fn split(limits: impl IntoIterator<Item = Limit>, authenticates: bool) -> (Limits, Limits) {
        let waits = |limit: &Limit| authenticates && limit.waits_for_authentication();
        let (after, before): (Vec<Limit>, Vec<Limit>) = limits.into_iter().partition(waits);
        (Limits(before.into()), Limits(after.into()))
    }

    /// Charges a request to all limits, or to none and says which one refused it: the most specific of those that did,
    /// and of equals the one with the longest wait. The state is that of the limit with the least left; `None` when
    /// there is no limit.
    pub fn check(&self, cx: &Context, head: &Head, now: Instant) -> Result<Option<LimitState>, Rejection> {
        match &*self.0 {
            [] => Ok(None),
            [only] => only.check(cx, head, now).map(Some),
            several => charge_all(several, cx, head, now).map(Some),
        }
    }

    /// Whether there is no limit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn charge_all(limits: &[Limit], cx: &Context, head: &Head, now: Instant) -> Result<LimitState, Rejection> {
    // All states share the process's epoch.
    let now_ns = limits[0].state.since_epoch_ns(now);
    let refusing = limits.iter().filter_map(|limit| {
        let outcome = limit.peek(cx, head, now_ns);
        Some((limit, outcome, outcome.wait_ns?))
    });
    let worst = refusing.max_by_key(|(limit, _, wait_ns)| (limit.specificity(), *wait_ns));
    if let Some((limit, outcome, wait_ns)) = worst {
        return Err(limit.refusal(outcome, wait_ns, now_ns));
    }
    let mut nearest: Option<(u64, &Limit, Outcome)> = None;
    for (i, limit) in limits.iter().enumerate() {
        let outcome = limit.take(cx, head, now_ns);
        if let Some(wait_ns) = outcome.wait_ns {
            limits[..i].iter().for_each(|charged| charged.refund(cx, head));
            return Err(limit.refusal(outcome, wait_ns, now_ns));
        }
        let remaining = limit.state.rate().level(outcome.tat_ns, now_ns).remaining;
        if nearest.is_none_or(|(least, ..)| remaining < least) {
            nearest = Some((remaining, limit, outcome));
        }
    }
    let (_, limit, outcome) = nearest.ok_or(Rejection::Internal)?;
    Ok(limit.state_at(outcome, now_ns))
}

/// Of two states, the one that is nearer to refusing; for the limits before and after authentication.
pub fn tighter(one: Option<LimitState>, other: Option<LimitState>) -> Option<LimitState> {
    one.into_iter().chain(other).min_by_key(|state| (state.remaining, Reverse(state.reset_s)))
}

fn seconds(ns: u64) -> u64 {
    const NS_PER_S: u64 = 1_000_000_000;
    ns.div_ceil(NS_PER_S)
}

#[cfg(test)]
mod tests;
