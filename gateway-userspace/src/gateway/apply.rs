//! From texts that somebody sent to a configuration in force: checked, written, published, and written down.
//!
//! The order is that of the least to lose. What is on the disk goes to the history first; the new whole is compiled
//! over it without touching it; the files are written all or none; then it is published as by a reload, which can
//! still fail (a port that is taken, say), and then the files become again what they were.

use std::cell::RefCell;
use std::path::Path;
use std::time::SystemTime;

use super::Gateway;
use super::reload::{self, Reloaded};
use crate::config::diff::settings::of_admin;
use crate::config::files::{self, Files, Fingerprint};
use crate::config::history::{self, Author, History};
use crate::config::model::Admin;
use crate::config::overlay::Overlay;
use crate::config::store::{self, Edit, Expected};
use crate::diagnostic::Report;

/// A change that is in force, or with `dry_run` could be.
pub struct Applied {
    /// As of a reload.
    pub reloaded: Reloaded,
    /// Its number in the history; none with `dry_run`.
    pub number: Option<u64>,
    /// The number of the configuration that was in force before, if the history has it.
    pub before: Option<u64>,
}

/// Why a change is not in force. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The whole would not be valid, or could not be put in force; the report says why.
    #[error("the configuration is not valid")]
    Invalid(Box<Report>),
    /// The files.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The way back.
    #[error(transparent)]
    History(#[from] history::Error),
    /// By somebody who came with a certificate.
    #[error(
        "[admin] is changed by hand or over the Unix socket: whom the gateway obeys is not for whoever has a certificate"
    )]
    Admin,
    /// There is none, since this user may not write to the state folder.
    #[error(
        "changes by command are put by for a way back, and the folder of gateway.state cannot be written to"
    )]
    NoHistory,
}

impl Gateway {
    /// Makes the edits, all or none: checks the whole against what is running, writes the files, publishes.
    ///
    /// Runs on the control thread to its end, so no reload comes between, and blocks it for as long as the disk takes.
    pub fn apply(&self, edits: &[Edit], author: &Author, dry_run: bool) -> Result<Applied, Refused> {
        let found = Files::read(&self.path, &Overlay::default());
        self.apply_over(&found, &found, edits, author, dry_run)
    }

    /// The same, with the files as they were `found`, and those that may be written, `known`.
    pub fn apply_over(
        &self,
        found: &Files,
        known: &Files,
        edits: &[Edit],
        author: &Author,
        dry_run: bool,
    ) -> Result<Applied, Refused> {
        let overlay = store::overlay(&self.path, known, edits)?;
        let ready = reload::prepare(&self.path, &overlay, &self.state)
            .map_err(|report| Refused::Invalid(report.into()))?;
        let (_, running) = self.live.current();
        if author.is_remote && !same_admin(&running.config.admin, &ready.compiled.snapshot.config.admin) {
            return Err(Refused::Admin);
        }
        let before = self.history.newest();
        if dry_run {
            let reloaded =
                self.put_in_force(ready, true).map_err(|report| Refused::Invalid(report.into()))?;
            return Ok(Applied { reloaded, number: None, before });
        }
        self.history
            .change(|history| history.put_by(found, &Author::new("found", "edited"), SystemTime::now()))?;
        let written = store::put(&self.path, known, edits)?;
        let files = ready.files.clone();
        let reloaded = match self.put_in_force(ready, false) {
            Ok(reloaded) => reloaded,
            Err(report) => {
                written.take_back()?;
                return Err(Refused::Invalid(report.into()));
            }
        };
        self.last_reload.set(None);
        let number = self.history.record(&files, author, &reloaded.changes);
        if let Err(error) = written.keep() {
            // In force all the same. A start that finds the note would take the change back, so it is said aloud.
            tracing::error!(error = super::chain(&error), "the note of a finished change is still there");
        }
        Ok(Applied { reloaded, number, before })
    }

    /// The number to go back to if none is given: that of what was in force before the last change.
    pub fn go_back_to(&self, number: Option<u64>) -> Result<u64, Refused> {
        match number {
            Some(number) => Ok(number),
            None => self.history.look(|history| Ok(history.before()?.number)),
        }
    }

    /// Makes the configuration what it was at this number of the history.
    pub fn roll_back(
        &self,
        found: &Files,
        number: u64,
        author: &Author,
        dry_run: bool,
    ) -> Result<Applied, Refused> {
        let wanted = self.history.look(|history| history.files(number))?;
        // What was included then may be written again, even if it is not included now.
        let known = Files::new(found.iter().chain(wanted.iter()).cloned().collect());
        self.apply_over(found, &known, &self.edits_towards(found, &wanted), author, dry_run)
    }

    /// What makes the configuration consist of these files and no others.
    fn edits_towards(&self, found: &Files, wanted: &Files) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut overlay = Overlay::default();
        let folder = files::folder(&self.path);
        for (index, file) in wanted.iter().enumerate() {
            let path = match index {
                // The main file may have been called otherwise then.
                0 => self.path.file_name().map_or_else(|| file.path.clone(), Into::into),
                _ => file.path.clone(),
            };
            let there = std::fs::read_to_string(folder.join(&path));
            overlay.lay(&folder.join(&path), Some(&file.text));
            if there.is_ok_and(|there| *there == *file.text) {
                continue;
            }
            edits.push(Edit::of(found, path, Some(file.text.to_string())));
        }
        // Drop-ins, and what a pattern includes, that were not there then.
        let would_be = Files::read(&self.path, &overlay);
        let extra = would_be.iter().skip(1).filter(|file| wanted.iter().all(|then| then.path != file.path));
        edits.extend(extra.map(|file| {
            let expected = Expected::Is(Fingerprint::of(file.text.as_bytes()));
            Edit { path: file.path.clone(), expected, text: None }
        }));
        edits
    }
}

/// Whether the gateway is administered in the same places by the same people.
fn same_admin(one: &Admin, other: &Admin) -> bool {
    of_admin(one) == of_admin(other)
}

/// The history, if one can be kept.
pub struct Kept(RefCell<Option<History>>);

impl Kept {
    /// Opens it in the state folder, and says aloud what is wrong with it. Without it the gateway serves all the same.
    pub fn open(state: &Path) -> Kept {
        let history = match History::open(state) {
            Ok((history, unreadable)) => {
                for error in unreadable {
                    tracing::error!(error = super::chain(&error), "a configuration of the history is lost");
                }
                Some(history)
            }
            Err(error) => {
                tracing::warn!(
                    error = super::chain(&error),
                    "there is no way back to earlier configurations"
                );
                None
            }
        };
        Kept(RefCell::new(history))
    }

    /// Writes down what came into force. A reload does not fail for want of it.
    pub fn record(&self, files: &Files, author: &Author, changes: &[String]) -> Option<u64> {
        match self.change(|history| history.add(files, author, changes, SystemTime::now())) {
            Ok(number) => Some(number),
            Err(Refused::NoHistory) => None,
            Err(error) => {
                tracing::error!(
                    error = super::chain(&error),
                    "the configuration in force is not in the history"
                );
                None
            }
        }
    }

    /// Looks at it.
    pub fn look<T>(&self, f: impl FnOnce(&History) -> Result<T, history::Error>) -> Result<T, Refused> {
        Ok(f(self.0.borrow().as_ref().ok_or(Refused::NoHistory)?)?)
    }

    /// The number of what is in force.
    pub fn newest(&self) -> Option<u64> {
        self.look(|history| Ok(history.newest().map(|entry| entry.number))).ok().flatten()
    }

    fn change<T>(&self, f: impl FnOnce(&mut History) -> Result<T, history::Error>) -> Result<T, Refused> {
        Ok(f(self.0.borrow_mut().as_mut().ok_or(Refused::NoHistory)?)?)
    }
}

/// Before the configuration is read: puts back what a change that a crash interrupted has left behind.
pub fn recover(main: &Path) {
    use store::Recovered::{LeftAlone, Nothing, PutBack, Untouched};
    match store::recover(main) {
        Ok(Nothing) => {}
        Ok(Untouched) => tracing::warn!("a change of the configuration was interrupted before it began"),
        Ok(PutBack(files)) => {
            tracing::error!(
                ?files,
                "a change of the configuration was interrupted; these files are as before it"
            );
        }
        Ok(LeftAlone(files)) => tracing::error!(
            ?files,
            "a change of the configuration was interrupted, and these files were written to since; nothing was \
             touched: look at them, and at .NAME.old beside them"
        ),
        Err(error) => {
            tracing::error!(error = super::chain(&error), "an interrupted change cannot be looked at");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load_ok;

    #[test]
    fn whom_the_gateway_obeys_is_part_of_what_a_certificate_must_not_change() {
        let admin =
            |text: &str| load_ok(&format!("[listen.a]\naddress = \"[::]:80\"\n[admin]\n{text}")).admin;
        let running = admin("viewers = \"dns:a\"\n");
        assert!(same_admin(&running, &admin("viewers = [\"dns:a\"]\n")));
        assert!(!same_admin(&running, &admin("admins = \"dns:a\"\n")));
        assert!(!same_admin(&running, &admin("viewers = \"dns:a\"\nmanaged = \"conf.d/x.toml\"\n")));
    }
}
