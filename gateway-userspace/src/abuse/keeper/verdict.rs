//! What follows from an offence: a ban of whom [`ladder`] names, or nobody's and a line that says why.

use std::sync::atomic::Ordering::Relaxed;

use ipnet::IpNet;

use super::owner::{Owner, due};
use crate::abuse::ban::Now;
use crate::abuse::crowd::Others;
use crate::abuse::ladder::{self, Choice, Spared};
use crate::abuse::score::Offence;
use crate::abuse::shelter;
use crate::abuse::signal::{Evidence, Signal};
use crate::abuse::source;
use crate::abuse::target::Target;

impl Owner {
    /// Whether a refusal is of a client that is banned already: nothing new.
    pub(super) fn is_of_a_banned_client(&self, signal: &Signal, host: IpNet) -> bool {
        let who = signal.evidence.as_deref().and_then(Evidence::who);
        who.is_some_and(|who| self.ledger.of_client(&who, host).any(|ban| !ban.observed))
    }

    /// Bans whom a rule was met by, or says why not.
    pub(super) fn judge(&mut self, now: Now, host: IpNet, offence: Offence) {
        let Offence { rule, source, evidence, kinds, .. } = &offence;
        let observing = rule.observe;
        // One denial may meet several rules, and what came before a ban may count for others: the first is enough.
        if self.is_covered(host, observing) {
            return;
        }
        let denials: u32 = kinds.iter().map(|(_, count)| count).sum();
        let who = ladder::culprit(evidence, denials as usize);
        if let Some(number) = self.suppressions.of(&rule.name, *source, who.as_ref(), now.wall) {
            self.spare(now, &offence, &Spared::Suppressed(number));
            return;
        }
        self.crowds.turn(now.instant);
        let collateral = self.settings.collateral;
        match ladder::choose(*source, host, who, &self.crowds, &self.exempt, collateral) {
            Choice::Ban(target, others) => {
                let is_banned = match &target {
                    Target::Prefix(_) => false,
                    Target::Subject { who, .. } => {
                        self.ledger.of_client(who, host).any(|ban| observing || !ban.observed)
                    }
                };
                if !is_banned {
                    self.ban_and_widen(now, target, others, None, offence);
                }
            }
            Choice::Shelter(prefix, others) => {
                if self.shelters.take(now.instant, *source, observing) {
                    self.spare(now, &offence, &Spared::Collateral(others));
                } else {
                    let cut = shelter::spent(&others);
                    self.ban_and_widen(now, Target::Prefix(prefix), others, Some(&cut), offence);
                }
            }
            Choice::Spare(spared) => self.spare(now, &offence, &spared),
        }
    }

    /// Bans, and the network too where it is full of bans.
    fn ban_and_widen(
        &mut self,
        now: Now,
        target: Target,
        others: Others,
        cut: Option<&str>,
        offence: Offence,
    ) {
        let (rule, source) = (offence.rule.clone(), target.prefix());
        self.punish(now, target, others, cut, offence);
        if let (Some(source), false) = (source, rule.observe) {
            self.widen(now, &rule, source);
        }
    }

    /// The rule was met, and nobody is banned.
    fn spare(&mut self, now: Now, offence: &Offence, spared: &Spared) {
        let (counter, because) = match spared {
            Spared::Exempt(because) => (&self.counters.exempted, format!("it is never banned ({because})")),
            Spared::Collateral(others) => {
                (&self.counters.collateral, format!("a ban would cut {}", others.text()))
            }
            Spared::Suppressed(number) => {
                (&self.counters.suppressed, format!("an operator suppressed that (number {number})"))
            }
        };
        counter.fetch_add(1, Relaxed);
        if due(&mut self.spared, now.instant) {
            let source = source::display(offence.source);
            tracing::warn!(%source, rule = %offence.rule.name, because, "met a ban rule and was not banned");
        }
    }
}
