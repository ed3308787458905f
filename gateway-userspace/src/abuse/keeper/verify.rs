//! Whether ledger, kernel and state file agree. Nothing is repaired here.
//!
//! The kernel is compared with what was written there, which the enforcer does, and with the ledger, both ways; then the
//! state file is read anew, as a start would read it. All of it is done in pieces, between which bans are made and end.
//! Each piece is compared in one step of the keeper with what is true in that step, and the state file up to the line
//! that was written last, so what changes between two pieces is no difference. A thread of its own drives it, reads the
//! file, and leaves at least half of the keeper's time to others.
//!
//! Memory: some hundred bytes for each ban in the state file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::oneshot;

use super::owner::Owner;
use super::refusal::Refusal;
use super::{Handle, Stopped};
use crate::abuse::ban::Ban;
use crate::abuse::enforcer::{Entry, Held};
use crate::abuse::source;
use crate::abuse::state::{Error, Outline, Reread, Upto, to_ms};
use crate::abuse::target::Target;
use crate::admin::api;

/// Differences that one answer lists at most.
const LISTED_MAX: usize = 100;
/// Bans that are compared in one step.
pub(super) const PIECE: usize = 1_024;
/// How often the state file may be replaced by another one while it is read.
const REPLACED_MAX: usize = 8;
/// By how much two ends of one ban may differ: they are computed one after the other, and a loaded machine stops
/// in between.
const SLACK: Duration = Duration::from_secs(5);

/// The right to compare: one at a time.
pub(super) struct Turn(Arc<AtomicBool>);

impl Turn {
    pub(super) fn take(taken: &Arc<AtomicBool>) -> Option<Turn> {
        (!taken.swap(true, Ordering::Acquire)).then(|| Turn(taken.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Handle {
    /// `portcullis bans --verify`. It goes on to its end also if nobody waits for the answer any more.
    pub async fn verify(&self) -> Result<api::Verification, Refusal> {
        let turn = Turn::take(&self.verifying).ok_or(Refusal::Verifying)?;
        let (answer, answered) = oneshot::channel();
        let handle = self.clone();
        let thread = std::thread::Builder::new().name("verify".into()).spawn(move || {
            let verified = handle.drive(Run::default());
            // Before the answer: whoever has it may ask again.
            drop(turn);
            // Whoever asked may have gone away.
            let _ = answer.send(verified);
        });
        thread.map_err(|error| Refusal::Unread(error.to_string()))?;
        answered.await.map_err(|_| Stopped)?
    }

    fn drive(&self, mut run: Run) -> Result<api::Verification, Refusal> {
        loop {
            let (next, took);
            (run, next, took) = self.ask_blocking(move |owner| {
                let begun = Instant::now();
                let next = run.step(owner);
                (run, next, begun.elapsed())
            })?;
            match next? {
                Next::Step => std::thread::sleep(took),
                Next::Read => run.read()?,
                Next::Done => return Ok(run.end()),
            }
        }
    }
}

/// What comes after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one.
    Step,
    /// [`Run::read`], which is not for the keeper's thread, and another one.
    Read,
    /// [`Run::end`].
    Done,
}

/// A comparison that is going on.
#[derive(Debug, Default)]
pub(super) struct Run {
    stage: Stage,
    compared: api::Compared,
    kernel_off: Option<String>,
    file: Option<Reread>,
    has_file: bool,
    replaced: usize,
    in_kernel: Findings,
    in_file: Findings,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Begin,
    /// What the kernel holds, against what was written there and the ledger.
    Kernel,
    /// Bans from this id on, against the kernel.
    Entries(u32),
    /// The state file is opened.
    Open,
    /// Bans from this id on, against the file.
    Bans(u32),
    /// Bans of the file from this id on.
    Written(u32),
    Allowed,
}

impl Run {
    /// Compares the next piece. On the keeper's thread.
    pub(super) fn step(&mut self, owner: &mut Owner) -> Result<Next, Refusal> {
        owner.expire();
        // Together with each piece of the file: so nothing is missing from it.
        if let Some(file) = &mut self.file {
            let upto = match &owner.journal {
                Some(journal) => file.catch_up(journal).map_err(unread)?,
                None => Upto::Replaced,
            };
            match upto {
                Upto::Date => {}
                Upto::Behind => return Ok(Next::Read),
                Upto::Replaced if self.replaced < REPLACED_MAX => {
                    self.replaced += 1;
                    self.in_file = Findings::default();
                    self.stage = Stage::Open;
                }
                Upto::Replaced => {
                    return Err(Refusal::Unread("the state file was written anew time and again".into()));
                }
            }
        }
        self.stage = match self.stage {
            Stage::Begin => {
                self.compared.bans = owner.ledger.count();
                match owner.enforcer.verify_begin() {
                    true => Stage::Kernel,
                    false => {
                        self.kernel_off = Some(owner.enforcer.status().off_because.unwrap_or_default());
                        Stage::Open
                    }
                }
            }
            Stage::Kernel => match owner.enforcer.verify_next().map_err(Refusal::Unread)? {
                Some(held) => {
                    self.compare_held(owner, &held);
                    Stage::Kernel
                }
                None => Stage::Entries(0),
            },
            Stage::Entries(from) => match self.compare_entries(owner, from)? {
                Some(next) => Stage::Entries(next),
                None => Stage::Open,
            },
            Stage::Open => {
                let Some(journal) = &owner.journal else { return Ok(Next::Done) };
                self.file = Some(journal.reread().map_err(unread)?);
                self.has_file = true;
                Stage::Bans(0)
            }
            Stage::Bans(from) => {
                let Some(file) = &self.file else { return Ok(Next::Done) };
                match compare_bans(owner, &file.outline, from, &mut self.in_file) {
                    Some(next) => Stage::Bans(next),
                    None => Stage::Written(0),
                }
            }
            Stage::Written(from) => {
                let Some(file) = &self.file else { return Ok(Next::Done) };
                match compare_written(owner, &file.outline, from, &mut self.in_file) {
                    Some(next) => Stage::Written(next),
                    None => Stage::Allowed,
                }
            }
            Stage::Allowed => {
                if let Some(file) = &self.file {
                    compare_allowed(owner, &file.outline, &mut self.in_file);
                    if file.damage.any() {
                        self.in_file.note("file-damaged", None, None);
                    }
                    self.compared.state_lines = file.lines;
                }
                return Ok(Next::Done);
            }
        };
        Ok(Next::Step)
    }

    /// Reads the state file, which may take seconds.
    pub(super) fn read(&mut self) -> Result<(), Refusal> {
        self.file.as_mut().map_or(Ok(()), |file| file.read().map_err(unread))
    }

    /// What was found.
    pub(super) fn end(self) -> api::Verification {
        let Run { compared, kernel_off, has_file: state_file, in_kernel, in_file, .. } = self;
        let Findings { mut differing, mut differences } = in_kernel;
        differing.extend(in_file.differing);
        differences.extend(in_file.differences);
        differences.truncate(LISTED_MAX);
        api::Verification { kernel_off, state_file, compared, differing, differences }
    }

    fn compare_held(&mut self, owner: &Owner, held: &Held) {
        self.compared.entries += held.entries.len();
        self.compared.list_entries += held.of_lists;
        self.compared.allowed += held.allowed;
        self.compared.filter_words += held.filter_words;
        for (kind, prefix) in &held.differences {
            self.in_kernel.note(kind, prefix.map(|prefix| Target::Prefix(source::canonical(prefix))), None);
        }
        let now = owner.now();
        for entry in &held.entries {
            let target = Target::Prefix(source::canonical(entry.prefix));
            match owner.ledger.exact(&target) {
                // What stands there is of before, and the kernel takes no other.
                Some(ban) if owner.outside.contains(&ban.id) => {}
                Some(ban) if !is_of(owner, entry, ban, now.instant) => {
                    self.in_kernel.ban("entry-differs-from-ban", ban);
                }
                Some(_) => {}
                None if entry.left == Some(Duration::ZERO) => {}
                None => self.in_kernel.note("entry-without-ban", Some(target), entry.ban_id),
            }
        }
    }

    /// Whether the kernel has the next bans; the id to go on with.
    fn compare_entries(&mut self, owner: &mut Owner, from: u32) -> Result<Option<u32>, Refusal> {
        let bans: Vec<&Ban> = owner.ledger.active_from(from).take(PIECE).collect();
        let next = after(bans.last().map(|ban| ban.id).filter(|_| bans.len() == PIECE));
        // Those that the kernel had no room for are not there.
        let prefixes = bans.iter().filter(|ban| !owner.outside.contains(&ban.id));
        let (ids, prefixes): (Vec<u32>, Vec<IpNet>) =
            prefixes.filter_map(|ban| Some((ban.id, ban.target.prefix()?))).unzip();
        let held = owner.enforcer.holds(&prefixes).map_err(Refusal::Unread)?;
        for (id, _) in ids.into_iter().zip(held).filter(|(_, held)| !held) {
            if let Some(ban) = owner.ledger.get(id) {
                self.in_kernel.ban("ban-without-entry", ban);
            }
        }
        Ok(next)
    }
}

/// Whether an entry says of a ban what the ledger does.
fn is_of(owner: &Owner, entry: &Entry, ban: &Ban, now: Instant) -> bool {
    let left = ban.lease_end.map(|end| end.saturating_duration_since(now));
    let same_end = match (left, entry.left) {
        (Some(left), Some(held)) => left.abs_diff(held) <= SLACK,
        (left, held) => left == held,
    };
    let observe = ban.observed || !owner.settings.enforce;
    entry.ban_id == Some(ban.id) && entry.observe == observe && same_end
}

/// Whether the file says of the next bans what the ledger does; the id to go on with.
fn compare_bans(owner: &Owner, outline: &Outline, from: u32, findings: &mut Findings) -> Option<u32> {
    let mut last = None;
    for (nth, ban) in owner.ledger.active_from(from).take(PIECE).enumerate() {
        last = Some(ban.id).filter(|_| nth + 1 == PIECE);
        match outline.bans.get(&ban.id) {
            None => findings.ban("ban-not-in-file", ban),
            Some(written) => {
                let same_end = match (written.until_ms, ban.until.map(to_ms)) {
                    (Some(written), Some(until)) => u128::from(written.abs_diff(until)) <= SLACK.as_millis(),
                    (written, until) => written == until,
                };
                if written.target != ban.target || written.observed != ban.observed || !same_end {
                    findings.ban("ban-differs-in-file", ban);
                }
            }
        }
    }
    after(last)
}

/// Whether the next bans of the file are in force; the id to go on with.
fn compare_written(owner: &Owner, outline: &Outline, from: u32, findings: &mut Findings) -> Option<u32> {
    let mut last = None;
    for (nth, (id, written)) in outline.bans.range(from..).take(PIECE).enumerate() {
        last = Some(*id).filter(|_| nth + 1 == PIECE);
        if !owner.ledger.is_active(*id) {
            findings.note("ban-only-in-file", Some(written.target.clone()), Some(*id));
        }
    }
    after(last)
}

fn compare_allowed(owner: &Owner, outline: &Outline, findings: &mut Findings) {
    let allowed = owner.exempt.allowed_by_operator();
    for prefix in allowed.difference(&outline.allowed) {
        findings.note("allow-not-in-file", Some(Target::Prefix(*prefix)), None);
    }
    for prefix in outline.allowed.difference(allowed) {
        findings.note("allow-only-in-file", Some(Target::Prefix(*prefix)), None);
    }
}

/// The id after the last one of a piece, if there may be more.
fn after(last: Option<u32>) -> Option<u32> {
    last?.checked_add(1)
}

fn unread(error: Error) -> Refusal {
    let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
    Refusal::Unread(format!("{error}{cause}"))
}

/// Differences, all counted and the first of them kept.
#[derive(Debug, Default)]
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
