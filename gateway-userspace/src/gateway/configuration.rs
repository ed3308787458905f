//! What the admin API asks about the configuration and its history: requests in, [`Gateway::apply`] and
//! [`Gateway::roll_back`], answers out.

use std::path::PathBuf;

use super::Gateway;
use super::apply::{Applied, Refused};
use super::reload::Reloaded;
use crate::admin::api;
use crate::admin::problem::Problem;
use crate::config::files::{Files, Fingerprint};
use crate::config::history::{self, Author};
use crate::config::overlay::Overlay;
use crate::config::store::{self, Edit};
use crate::config::{conceal, read};
use crate::diagnostic::{Report, Severity, render};
use crate::observe::timestamp;

impl Gateway {
    /// `portcullis apply`
    pub fn apply_command(&self, request: api::Apply, author: &Author) -> Result<api::Applied, Problem> {
        let found = Files::read(&self.path, &Overlay::default());
        let seen = request.expected.as_deref().map(Fingerprint::given);
        if seen.is_some_and(|seen| seen != found.fingerprint()) {
            return Err(Refused::Store(store::Error::Changed(self.path.clone())).into());
        }
        let author = Author { why: request.why.clone(), ..author.clone() };
        let result =
            self.apply_over(&found, &found, &self.edits(request.clone(), &found), &author, request.dry_run);
        self.answer(result, &found, None)
    }

    /// `portcullis rollback`
    pub fn roll_back_command(
        &self,
        request: api::RollBack,
        author: &Author,
    ) -> Result<api::Applied, Problem> {
        let found = Files::read(&self.path, &Overlay::default());
        let number = self.go_back_to(request.number)?;
        let author = Author { why: request.why, ..author.clone() };
        let result = self.roll_back(&found, number, &author, request.dry_run);
        self.answer(result, &found, Some(number))
    }

    /// `portcullis history`
    pub fn history_command(&self) -> Result<api::History, Problem> {
        let newest = self.history.newest();
        let view = |entry: &history::Entry| entry_view(entry, newest);
        Ok(self
            .history
            .look(|history| Ok(api::History { entries: history.entries().rev().map(view).collect() }))?)
    }

    /// `portcullis history show`
    pub fn show_history_command(&self, request: api::ShowHistory) -> Result<api::Shown, Problem> {
        let newest = self.history.newest();
        let (entry, files) = self.history.look(|history| {
            Ok((entry_view(history.get(request.number)?, newest), history.files(request.number)?))
        })?;
        let shown = conceal::shown(&files);
        let files = shown.into_iter();
        let files = files.map(|(path, text)| api::ShownFile { path: path.display().to_string(), text });
        Ok(api::Shown { entry, files: files.collect() })
    }

    fn edits(&self, request: api::Apply, found: &Files) -> Vec<Edit> {
        let edit = |path: PathBuf, text| Edit::of(found, path, text);
        let drop_in = |name: &str| PathBuf::from(read::DROP_INS).join(name);
        let mut edits = Vec::new();
        if let (Some(text), Some(name)) = (request.text, self.path.file_name()) {
            edits.push(edit(name.into(), Some(text)));
        }
        if request.prune {
            let named = |path: &PathBuf| request.drop_ins.iter().any(|given| drop_in(&given.name) == *path);
            let drop_ins = found.iter().filter(|file| file.path.parent() == Some(read::DROP_INS.as_ref()));
            let unnamed = drop_ins.filter(|file| !named(&file.path));
            edits.extend(unnamed.map(|file| edit(file.path.clone(), None)));
        }
        let given = request.drop_ins.into_iter();
        edits.extend(given.map(|given| edit(drop_in(&given.name), given.text)));
        edits
    }

    fn answer(
        &self,
        result: Result<Applied, Refused>,
        found: &Files,
        back_to: Option<u64>,
    ) -> Result<api::Applied, Problem> {
        let generation = self.live.generation();
        let found = found.fingerprint().to_string();
        match result {
            Ok(Applied { reloaded: done, number, before }) => {
                let before = before.filter(|before| number.is_some_and(|number| number != *before));
                let mut reloaded = reloaded(generation, Ok(done), None);
                reloaded.undo = before.map(undo);
                Ok(api::Applied { reloaded, number, back_to, found })
            }
            Err(Refused::Invalid(report)) => {
                let reloaded = reloaded(generation, Err(*report), None);
                Ok(api::Applied { reloaded, number: None, back_to, found })
            }
            Err(refused) => Err(refused.into()),
        }
    }
}

/// The answer to a reload; `before` is the number of what was in force.
pub fn reloaded(generation: u64, result: Result<Reloaded, Report>, before: Option<u64>) -> api::Reloaded {
    let (ok, changes, report) = match result {
        Ok(reloaded) => (true, reloaded.changes, reloaded.report),
        Err(report) => (false, Vec::new(), report),
    };
    api::Reloaded {
        ok,
        generation,
        undo: before.filter(|_| ok && !changes.is_empty()).map(undo),
        changes,
        errors: report.count(Severity::Error),
        warnings: report.count(Severity::Warning),
        report: render::human(&report, false),
    }
}

fn undo(number: u64) -> String {
    format!("portcullis rollback {number}")
}

fn entry_view(entry: &history::Entry, newest: Option<u64>) -> api::Entry {
    let history::Entry { number, at, who, verb, why, was_in_force: _, fingerprint, bytes, changes } =
        entry.clone();
    api::Entry {
        number,
        at: timestamp::format(at),
        who,
        verb,
        why,
        in_force: newest == Some(number),
        fingerprint: fingerprint.to_string(),
        bytes,
        changes,
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let detail = super::chain(&refused);
        match refused {
            Refused::Store(error) if error.is_conflict() => Problem::conflict(detail),
            Refused::Store(store::Error::NotPart(_)) => Problem::bad_request(detail),
            Refused::History(history::Error::Unknown(_)) => Problem::not_found(detail),
            Refused::History(history::Error::NothingBefore) | Refused::Admin => Problem::conflict(detail),
            Refused::History(history::Error::TooLarge(_)) => Problem::too_large(detail),
            Refused::NoHistory => Problem::unavailable(detail),
            // What an invalid configuration is told with is its report.
            Refused::Invalid(_) | Refused::Store(_) | Refused::History(_) => Problem::internal(detail),
        }
    }
}
