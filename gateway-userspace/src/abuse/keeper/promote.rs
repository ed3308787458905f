//! `portcullis promote`: from a ban, or the bans of a rule, that count to such that drop.

use super::owner::Owner;
use super::refusal::Refusal;
use crate::abuse::ban::{Enforced, State};
use crate::abuse::harm::Harm;
use crate::abuse::term;
use crate::admin::api;

impl Owner {
    /// Arms a shadow ban, kernel first, for the time that it has left. One that would have kept out good requests or
    /// logins is not, unless forced.
    pub fn promote(&mut self, request: &api::Promote) -> Result<api::Changed, Refusal> {
        self.expire();
        let id = request.id;
        let ban = match self.ledger.get(id) {
            Some(ban) if ban.state == State::Active => ban.clone(),
            Some(_) => return Err(Refusal::Over(id)),
            None => return Err(Refusal::UnknownBan(id)),
        };
        if !ban.observed {
            return Err(Refusal::NotObserved(id));
        }
        if !self.settings.enforce {
            return Err(Refusal::ShieldObserves);
        }
        let harm = self.harm_of(id).unwrap_or_default();
        if harm.good + harm.logins > 0 && !request.force {
            return Err(Refusal::Harm { id, harm });
        }
        // Who has come there since it was made, or was never asked about.
        let others = ban.target.prefix().map(|prefix| self.crowds.others(prefix, None));
        if let Some(others) = others
            && others.good > self.settings.collateral
            && !request.force
        {
            return Err(Refusal::Collateral(others));
        }
        let now = self.now();
        let left = ban.lease_end.map(|end| end.saturating_duration_since(now.instant));
        let lasts = left.map_or_else(
            || String::from("until it is lifted"),
            |left| format!("for another {}", term::display(left)),
        );
        let counted = format!("it would have dropped {} in the last 24 hours", numbers(&harm));
        if request.dry_run {
            let changes = vec![format!("would ban {} {lasts} (ban {id})", ban.target), counted];
            return Ok(api::Changed { changes, undo: None });
        }
        let had_no_room = self.outside.contains(&id);
        let (enforced, refused) = match self.install(&ban.target, left, id, false, ban.parole) {
            Ok(enforced) => (enforced, None),
            Err(error) if had_no_room => (self.without_kernel(false), Some(error)),
            // Its entry goes on counting.
            Err(error) => return Err(Refusal::Kernel(error)),
        };
        self.ledger.arm(id);
        self.moved(id, enforced);
        self.flush();
        let mut changes = vec![format!("banned {} {lasts} (ban {id})", ban.target), counted];
        if let Some(error) = refused {
            changes.push(format!("refused by the gateway only, until the kernel takes it: {error}"));
        } else if enforced == Enforced::Gateway {
            changes.push("refused by the gateway only: the kernel stage is off".into());
        }
        Ok(api::Changed { changes, undo: Some(format!("portcullis unban {id}")) })
    }
}

/// Bans that are named where those of a rule go on counting.
const NAMED_MAX: usize = 10;

impl Owner {
    /// Whether a rule that observes may be armed, and what its bans would have done. One whose bans would have kept out
    /// good requests or logins may not, unless forced.
    pub fn may_arm(&mut self, rule: &str, force: bool) -> Result<String, Refusal> {
        let Some(found) = self.settings.rules.iter().find(|found| *found.name == *rule) else {
            return Err(Refusal::UnknownRule(rule.into()));
        };
        if !self.settings.enforce {
            return Err(Refusal::ShieldObserves);
        }
        if !found.observe {
            return Err(Refusal::RuleEnforces(rule.into()));
        }
        self.expire();
        let harm = self.harm_of_rule(rule);
        if harm.good + harm.logins > 0 && !force {
            return Err(Refusal::RuleHarm { rule: rule.into(), harm });
        }
        Ok(format!("its bans would have dropped {} in the last 24 hours", numbers(&harm)))
    }

    /// Arms the shadow bans of a rule, and says of which ones it did not and why.
    pub fn arm(&mut self, rule: &str, force: bool) -> Vec<String> {
        let (mut armed, mut counting) = (0, Vec::new());
        for id in self.watched_of(rule) {
            match self.promote(&api::Promote { id, force, dry_run: false }) {
                Ok(_) => armed += 1,
                Err(refusal) => counting.push(format!("ban {id} goes on counting: {refusal}")),
            }
        }
        let more = counting.len().saturating_sub(NAMED_MAX);
        counting.truncate(NAMED_MAX);
        if more > 0 {
            counting.push(format!("{more} more go on counting"));
        }
        if armed > 0 {
            counting.insert(0, format!("bans of it that drop from now on: {armed}"));
        }
        counting
    }
}

/// `412 packets and 14 requests, 3 of them good and 1 at a login`
pub(super) fn numbers(harm: &Harm) -> String {
    let Harm { packets, requests, good, logins, .. } = harm;
    format!("{packets} packets and {requests} requests, {good} of them good and {logins} at a login")
}
