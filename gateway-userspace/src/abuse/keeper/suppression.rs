//! What operators do not want a rule to do again, and what is known about one offender.

use std::time::Duration;

use super::owner::Owner;
use super::refusal::Refusal;
use crate::abuse::ban::{Ban, Now};
use crate::abuse::source::{self, canonical};
use crate::abuse::state::{Record, to_ms};
use crate::abuse::suppress::{SUPPRESSIONS_MAX, Suppression};
use crate::abuse::target::{Subject, Target};
use crate::abuse::term;
use crate::admin::api;
use crate::observe::timestamp;

/// Longest time, a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Owner {
    /// What the rule of a ban is not to do again for so long; the ban may be over.
    pub(super) fn suppression(&self, now: Now, id: u32, seconds: u64) -> Result<Suppression, Refusal> {
        let ban = self.ledger.get(id).ok_or(Refusal::UnknownBan(id))?;
        let rule = ban.rule.as_ref().ok_or(Refusal::NotByRule(id))?.name.clone();
        if seconds == 0 {
            return Err(Refusal::NoTime);
        }
        if self.suppressions.iter().count() >= SUPPRESSIONS_MAX {
            return Err(Refusal::SuppressionsFull(SUPPRESSIONS_MAX));
        }
        let time = Duration::from_secs(seconds).min(LONGEST);
        let until = now.wall.checked_add(time).unwrap_or(now.wall);
        Ok(Suppression { rule, target: ban.target.clone(), until })
    }

    /// Puts it in force, and says so.
    pub(super) fn suppress(&mut self, now: Now, suppression: Suppression, dry_run: bool) -> String {
        let Suppression { rule, target, until } = suppression.clone();
        let lasts = term::display(until.duration_since(now.wall).unwrap_or_default());
        if dry_run {
            return format!("rule {rule} would not ban {target} for {lasts}");
        }
        let Some(number) = self.suppressions.add(suppression) else {
            return format!("there is no room to suppress rule {rule}");
        };
        self.write(&Record::Suppress {
            number,
            rule: rule.to_string(),
            target: target.clone(),
            until_ms: to_ms(until),
        });
        format!(
            "rule {rule} does not ban {target} for {lasts}; undo with: portcullis suppress --remove {number}"
        )
    }

    /// `portcullis suppress --list`
    pub fn suppressions(&mut self) -> api::Suppressions {
        self.suppressions.sweep(self.now().wall);
        let view = |(number, suppression): (u32, &Suppression)| api::Suppression {
            number,
            rule: suppression.rule.to_string(),
            target: suppression.target.to_string(),
            until: timestamp::format(suppression.until),
        };
        api::Suppressions { suppressions: self.suppressions.iter().map(view).collect() }
    }

    /// `portcullis suppress --remove`
    pub fn unsuppress(&mut self, request: &api::Unsuppress) -> Result<api::Changed, Refusal> {
        let api::Unsuppress { number, dry_run } = *request;
        let found = self.suppressions.iter().find(|(entry, _)| *entry == number);
        let (_, Suppression { rule, target, .. }) = found.ok_or(Refusal::UnknownSuppression(number))?;
        let will = if dry_run { "would ban" } else { "bans" };
        let changes = vec![format!("rule {rule} {will} {target} again")];
        if !dry_run {
            self.suppressions.remove(number);
            self.write(&Record::Unsuppress { number });
            self.flush();
        }
        Ok(api::Changed { changes, undo: None })
    }

    /// `portcullis offender`: where a client was served, or who was served at an address, and what bans there are or were.
    pub fn offender(&mut self, request: &api::GetOffender) -> Result<api::Offender, Refusal> {
        self.expire();
        let now = self.now();
        self.crowds.turn(now.instant);
        let is_about: Box<dyn Fn(&Target) -> bool>;
        let (sources, clients) = match (&request.client, request.address) {
            (Some(client), None) => {
                let sources = self.crowds.sources(client);
                let (who, places) = (client.clone(), sources.clone());
                is_about = Box::new(move |target| match target {
                    Target::Subject { who: banned, .. } => *banned == who,
                    Target::Prefix(prefix) => places.iter().any(|place| prefix.contains(place)),
                });
                (sources, Vec::new())
            }
            (None, Some(address)) => {
                let host = canonical(address.into());
                let source = source::of(address);
                let clients = self.crowds.others(source, None).names;
                let known: Vec<Subject> = clients.iter().filter_map(|name| name.parse().ok()).collect();
                is_about = Box::new(move |target| match target {
                    Target::Prefix(prefix) => prefix.contains(&host) || source.contains(prefix),
                    Target::Subject { who, at: None } => known.contains(who),
                    Target::Subject { at: Some(at), .. } => at.contains(&host),
                });
                (vec![source], clients)
            }
            _ => return Err(Refusal::NoTarget),
        };
        let all = self.ledger.active().chain(self.ledger.ended());
        let mut bans: Vec<Ban> = all.filter(|ban| is_about(&ban.target)).cloned().collect();
        bans.sort_unstable_by_key(|ban| std::cmp::Reverse(ban.id));
        bans.truncate(BANS_MAX);
        let bans = bans.iter().map(|ban| self.view(now, ban)).collect();
        Ok(api::Offender { sources, clients, bans })
    }
}

/// Bans that one answer about an offender tells, the newest.
const BANS_MAX: usize = 100;
