//! Bans of networks, in place of many bans of neighbours in them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ipnet::IpNet;

use super::owner::Owner;
use crate::abuse::ban::{Ban, By, Now, State};
use crate::abuse::crowd::Others;
use crate::abuse::enforcer::Drops;
use crate::abuse::score::Rule;
use crate::abuse::target::Target;
use crate::abuse::{shelter, term, widen};

/// Bans that one which takes their place remembers, the newest: a line of the state file has an end.
const DERIVED_MAX: usize = 1_024;

impl Owner {
    /// Widens the ban that a source has just got, where it is one of many in its network and nobody else is cut, or one
    /// client that has sheltered the network often enough.
    pub(super) fn widen(&mut self, now: Now, rule: &Rule, source: IpNet) {
        for (network, bans) in widen::candidates(&self.ledger, source) {
            if self.exempt.covers(network).is_some() {
                continue;
            }
            let others = self.crowds.others(network, None);
            let cuts = others.good > self.settings.collateral;
            if cuts && (others.good > 1 || self.shelters.take(now.instant, network, false)) {
                self.counters.collateral.fetch_add(1, Relaxed);
                continue;
            }
            if self.ban_network(now, rule, network, &bans, others, cuts) {
                // A /56 more may fill its /48.
                self.widen(now, rule, network);
            }
            return;
        }
    }

    /// Bans a network until the longest of the bans that it takes the place of would have ended, at least.
    fn ban_network(
        &mut self,
        now: Now,
        rule: &Rule,
        network: IpNet,
        bans: &[u32],
        others: Others,
        cuts: bool,
    ) -> bool {
        let replaced: Vec<Ban> = bans.iter().filter_map(|id| self.ledger.get(*id)).cloned().collect();
        let Some(newest) = replaced.iter().max_by_key(|ban| ban.id) else { return false };
        let left = |ban: &Ban| ban.lease_end.map(|end| end.saturating_duration_since(now.instant));
        let longest: Duration = replaced.iter().filter_map(left).max().unwrap_or_default();
        let target = Target::Prefix(network);
        let offence = self.ledger.next_offence(&target, now.wall);
        let duration = rule.terms.of(offence).max(longest);
        let id = self.ledger.take_id();
        let enforced = match self.install(&target, Some(duration), id, false, None) {
            Ok(enforced) => enforced,
            Err(error) => {
                self.complain(
                    now,
                    &format!("the kernel refused to ban {network} in place of its sources: {error}"),
                );
                return false;
            }
        };
        self.counters.bans_by_rule.fetch_add(1, Relaxed);
        self.supersede(now, &target);
        let mut derived_from: Vec<u32> = bans.to_vec();
        derived_from.extend(replaced.iter().flat_map(|ban| ban.derived_from.iter().copied()));
        derived_from.sort_unstable();
        derived_from.dedup();
        derived_from.drain(..derived_from.len().saturating_sub(DERIVED_MAX));
        let evidence = self.receipts.of(newest.id).to_vec();
        let cut = if cuts { format!("; {}", shelter::spent(&others)) } else { String::new() };
        let ban = Ban {
            id,
            target,
            state: State::Active,
            reason: format!("{} bans in {network}, the last for {}{cut}", replaced.len(), newest.reason)
                .into(),
            rule: newest.rule.clone(),
            others: Some(Arc::new(others)),
            derived_from: derived_from.into(),
            by: By::Rule,
            enforced,
            observed: false,
            since: now.wall,
            until: now.wall.checked_add(duration),
            lease_end: now.instant.checked_add(duration),
            offence,
            parole: None,
            renewed: None,
            latency_us: None,
            drops: Drops::default(),
        };
        for before in replaced {
            if let Some(Err(error)) = before.target.prefix().map(|prefix| self.enforcer.lift(prefix)) {
                self.counters.enforcer_failures.fetch_add(1, Relaxed);
                self.complain(now, &format!("the kernel did not lift ban {}: {error}", before.id));
            }
            self.replace(now, before.id);
        }
        let lasts = term::display(duration);
        tracing::info!(target: "audit", by = "rule", rule = %rule.name, ban = id, target = %network, %lasts, reason = %ban.reason, "banned");
        self.receipts.file(id, evidence);
        self.enact(ban);
        true
    }
}
