//! Whether ledger, kernel and state file agree. Nothing is repaired here: a difference is to be seen before the
//! reconciler puts it right.
//!
//! The kernel is compared twice, with what was written there, which the enforcer does, and with the ledger; then the
//! state file is read anew, as a start would read it. It takes as long as reading all of that, a tenth of a second for
//! a hundred thousand bans, during which no other ban is made.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::owner::Owner;
use super::refusal::Refusal;
use crate::abuse::ban::{Ban, Enforced, State};
use crate::abuse::enforcer::{Entry, Held};
use crate::abuse::source;
use crate::abuse::state::{Outline, to_ms};
use crate::abuse::target::Target;
use crate::admin::api;

/// Differences that one answer lists at most.
const LISTED_MAX: usize = 100;
/// By how much two ends of one ban may differ: they are computed one after the other, and a loaded machine stops
/// in between.
const SLACK: Duration = Duration::from_secs(5);

impl Owner {
    /// `portcullis bans --verify`
    pub fn verify(&mut self) -> Result<api::Verification, Refusal> {
        self.expire();
        let mut findings = Findings::default();
        let mut compared = api::Compared { bans: self.ledger.count(), ..api::Compared::default() };
        let held = self.enforcer.verify().map_err(Refusal::Unread)?;
        let kernel_off = match &held {
            Some(held) => {
                self.compare_kernel(held, &mut findings);
                compared.entries = held.entries.len();
                compared.list_entries = held.of_lists;
                (compared.allowed, compared.filter_words) = (held.allowed, held.filter_words);
                None
            }
            None => Some(self.enforcer.status().off_because.unwrap_or_default()),
        };
        let state_file = self.journal.is_some();
        if let Some(journal) = &self.journal {
            let (records, damage) = journal.read_again().map_err(|error| {
                let cause =
                    std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                Refusal::Unread(format!("{error}{cause}"))
            })?;
            compared.state_lines = records.len();
            if damage.any() {
                findings.note("file-damaged", None, None);
            }
            self.compare_file(&Outline::of(&records), &mut findings);
        }
        let Findings { differing, differences } = findings;
        Ok(api::Verification { kernel_off, state_file, compared, differing, differences })
    }

    fn compare_kernel(&self, held: &Held, findings: &mut Findings) {
        for (kind, prefix) in &held.differences {
            findings.note(kind, prefix.map(|prefix| Target::Prefix(source::canonical(prefix))), None);
        }
        let entries: HashMap<IpNet, &Entry> =
            held.entries.iter().map(|entry| (source::canonical(entry.prefix), entry)).collect();
        let now = self.now();
        for ban in self.ledger.active() {
            let Some(prefix) = ban.target.prefix() else { continue };
            match entries.get(&prefix) {
                Some(entry) if !self.is_of(entry, ban, now.instant) => {
                    findings.ban("entry-differs-from-ban", ban)
                }
                Some(_) => {}
                // The kernel had no room for it.
                None if ban.enforced == Enforced::Gateway => {}
                None => findings.ban("ban-without-entry", ban),
            }
        }
        for (prefix, entry) in entries {
            let is_over = entry.left == Some(Duration::ZERO);
            if !is_over && self.ledger.exact(&Target::Prefix(prefix)).is_none() {
                findings.note("entry-without-ban", Some(Target::Prefix(prefix)), entry.ban_id);
            }
        }
    }

    /// Whether an entry says of a ban what the ledger does.
    fn is_of(&self, entry: &Entry, ban: &Ban, now: Instant) -> bool {
        let left = ban.lease_end.map(|end| end.saturating_duration_since(now));
        let same_end = match (left, entry.left) {
            (Some(left), Some(held)) => left.abs_diff(held) <= SLACK,
            (left, held) => left == held,
        };
        let observe = ban.observed || !self.settings.enforce;
        entry.ban_id == Some(ban.id) && entry.observe == observe && same_end
    }

    fn compare_file(&self, outline: &Outline, findings: &mut Findings) {
        for ban in self.ledger.active() {
            match outline.bans.get(&ban.id) {
                None => findings.ban("ban-not-in-file", ban),
                Some(written) => {
                    let same_end = match (written.until_ms, ban.until.map(to_ms)) {
                        (Some(written), Some(until)) => {
                            u128::from(written.abs_diff(until)) <= SLACK.as_millis()
                        }
                        (written, until) => written == until,
                    };
                    if written.target != ban.target || written.observed != ban.observed || !same_end {
                        findings.ban("ban-differs-in-file", ban);
                    }
                }
            }
        }
        for (id, written) in outline.bans.iter().filter(|(id, _)| !self.is_in_force(**id)) {
            findings.note("ban-only-in-file", Some(written.target.clone()), Some(*id));
        }
        let allowed = self.exempt.allowed_by_operator();
        for prefix in allowed.difference(&outline.allowed) {
            findings.note("allow-not-in-file", Some(Target::Prefix(*prefix)), None);
        }
        for prefix in outline.allowed.difference(allowed) {
            findings.note("allow-only-in-file", Some(Target::Prefix(*prefix)), None);
        }
    }

    fn is_in_force(&self, id: u32) -> bool {
        self.ledger.get(id).is_some_and(|ban| ban.state == State::Active)
    }
}

/// Differences, all counted and the first of them kept.
#[derive(Default)]
struct Findings {
    differing: BTreeMap<String, u64>,
    differences: Vec<api::Difference>,
}

impl Findings {
    fn ban(&mut self, kind: &str, ban: &Ban) {
        self.note(kind, Some(ban.target.clone()), Some(ban.id));
    }

    fn note(&mut self, kind: &str, target: Option<Target>, ban: Option<u32>) {
        *self.differing.entry(kind.to_owned()).or_default() += 1;
        if self.differences.len() < LISTED_MAX {
            let target = target.map(|target| target.to_string());
            self.differences.push(api::Difference { kind: kind.to_owned(), target, ban });
        }
    }
}
