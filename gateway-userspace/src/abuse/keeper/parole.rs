//! What becomes of a ban whose client came through on parole.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::owner::Owner;
use crate::abuse::ban::{Ban, Enforced, Now, State};
use crate::abuse::parole::Parole;
use crate::abuse::signal::{Kind, Signal};
use crate::abuse::state::{Record, to_ms};
use crate::abuse::target::Target;
use crate::abuse::{source, term};

impl Owner {
    /// The parole of a new ban by rule. Only a single source has one: of a wider prefix, the one that is let through
    /// may be anybody.
    pub(super) fn parole_of(&self, target: &Target, term: Duration) -> Option<Parole> {
        let every = self.settings.parole?;
        let prefix = target.prefix()?;
        (prefix == source::of(prefix.addr())).then(|| Parole::of(term, every))
    }

    /// Renews the ban of somebody who was let through and is refused again; whether the signal says that.
    ///
    /// Connections that broke say nothing: one from before the ban, or before the next one was let through, breaks
    /// because the kernel drops its packets.
    pub(super) fn breaks_parole(&mut self, now: Now, host: IpNet, signal: &Signal) -> bool {
        let is_on_parole = |ban: &&Ban| ban.enforced != Enforced::Observed && ban.is_on_parole(signal.at);
        let on_parole = self.ledger.covering(host).find(is_on_parole).map(|ban| ban.id);
        match on_parole {
            // A rule that only observes makes nobody's ban longer.
            Some(id) if signal.kind != Kind::BrokenConnection && self.is_felt(signal) => {
                self.renew(now, id);
                true
            }
            _ => false,
        }
    }

    fn is_felt(&self, signal: &Signal) -> bool {
        let route = signal.evidence.as_ref().and_then(|evidence| evidence.route.as_deref());
        self.settings.rules.iter().any(|rule| !rule.observe && rule.counts(signal.kind, route))
    }

    /// The same ban again, for the time of the next offence from now. Kernel first, as for a new one.
    fn renew(&mut self, now: Now, id: u32) {
        let Some(ban) = self.ledger.get(id).cloned() else { return };
        let offence = ban.offence.saturating_add(1);
        let term = self.term_of(&ban, offence);
        let parole = ban.parole.map(|own| Parole::of(term, own.every));
        let enforced = match self.install(&ban.target, Some(term), id, false, parole) {
            Ok(enforced) => enforced,
            Err(error) => {
                self.complain(
                    now,
                    &format!("the kernel did not renew ban {id}, so it holds at layer 7 only: {error}"),
                );
                Enforced::Gateway
            }
        };
        self.ledger.renew(id, now, now.wall, term, offence, parole);
        self.counters.paroles_renewed.fetch_add(1, Relaxed);
        let until_ms = to_ms(now.wall).saturating_add(u64::try_from(term.as_millis()).unwrap_or(u64::MAX));
        self.write(&Record::Renew { id, at_ms: to_ms(now.wall), until_ms, offence });
        self.moved(id, enforced);
        let (target, lasts) = (&ban.target, term::display(term));
        tracing::info!(target: "audit", by = "rule", ban = id, %target, %lasts, "ban renewed: refused on parole");
    }

    /// How long the ban lasts for its rule's next offence; as long as before if there is no such rule any more.
    fn term_of(&self, ban: &Ban, offence: u32) -> Duration {
        let name = ban.rule.as_deref().map(|rule| &rule.name);
        let rule = self.settings.rules.iter().find(|rule| Some(&rule.name) == name);
        let before =
            || ban.until.and_then(|until| until.duration_since(ban.renewed.unwrap_or(ban.since)).ok());
        rule.map_or_else(|| before().unwrap_or_default(), |rule| rule.terms.of(offence))
    }

    /// Somebody was let through and behaved. The offence stays counted.
    pub fn behaved(&mut self, id: u32) {
        let now = self.now();
        // Whoever was refused meanwhile, on whatever connection, has a renewed ban, whose parole is to come.
        if !self.ledger.get(id).is_some_and(|ban| ban.state == State::Active && ban.is_on_parole(now.instant))
        {
            return;
        }
        self.counters.paroles_released.fetch_add(1, Relaxed);
        if let Err(error) = self.end(id, State::Paroled) {
            self.complain(now, &format!("the kernel did not lift ban {id} after its parole: {error}"));
        }
    }

    /// A renewal of the state file.
    pub(super) fn replay_renewal(
        &mut self,
        now: Now,
        id: u32,
        at: SystemTime,
        until: SystemTime,
        offence: u32,
    ) {
        let term = until.duration_since(at).unwrap_or_default();
        // Never longer than it was meant, should the clock have gone back.
        let left = until.duration_since(now.wall).unwrap_or_default().min(term);
        let parole = self.ledger.active_mut(id).and_then(|ban| ban.parole);
        let parole = parole.map(|parole| Parole::of(term, parole.every));
        self.ledger.renew(id, now, at, left, offence, parole);
    }
}
