//! From what was read to what is in force: guarded, told to the keeper in pieces, and kept.

mod change;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::Mutex;

use super::kept::Kept;
use super::{Fault, Unfit};
use crate::abuse::enforcer::{LIST_PIECE, Listed};
use crate::abuse::keeper::{self, Known, Settled, Stopped};
use crate::abuse::lists::guard::Sifted;
use crate::abuse::lists::{Counts, Terms};
use crate::abuse::ranges::Ranges;
use crate::abuse::source;
use crate::feeds::parse::{self, Outcome};
use crate::feeds::{Format, write};

/// As much of the beginning of something that is no list as is shown, characters.
const BEGINS_MAX: usize = 40;

/// A list as its source says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// In order, each once.
    pub prefixes: Vec<IpNet>,
    /// What became of its entries.
    pub outcome: Outcome,
    /// The longest time of an entry, if each names one.
    pub longest: Option<Duration>,
}

impl Read {
    /// Parses a list of at most so many networks. One without an entry is taken only if that is all it says: an error
    /// page, or a file that is just being written, must not lift everything.
    pub fn of(list: &[u8], format: Format, most: usize) -> Result<Read, Unfit> {
        let (items, outcome) = parse::read(list, format, most)?;
        if outcome.taken == 0 {
            if list.trim_ascii().is_empty() {
                return Err(Unfit::Empty);
            }
            if outcome.skipped > 0 {
                let text = outcome.first_bad.first().map_or("", |bad| &*bad.text);
                let begins = text.chars().take(BEGINS_MAX).flat_map(char::escape_debug).collect();
                return Err(Unfit::NoEntry { format: outcome.format, begins });
            }
        }
        let items = write::settle(items);
        let times: Option<Vec<Duration>> = items.iter().map(|item| item.lasts).collect();
        let longest = times.and_then(|times| times.into_iter().max());
        Ok(Read { prefixes: items.into_iter().map(|item| item.prefix).collect(), outcome, longest })
    }
}

/// What came of telling a list.
#[derive(Debug, Clone)]
pub struct Told {
    /// What the guard left of it, in order.
    pub prefixes: Vec<IpNet>,
    /// Its size.
    pub counts: Counts,
    /// The first of what the guard kept out, with why.
    pub guarded: Arc<[String]>,
    /// Why the kernel does not have it, where there is one.
    pub outside: Option<Box<str>>,
    /// Until when it holds; none: for ever.
    pub lease_end: Option<Instant>,
    /// Whether it could be kept for a restart and for a renewal.
    pub is_kept: bool,
}

/// Tells lists, one at a time.
pub struct Teller {
    /// Whom.
    pub keeper: keeper::Handle,
    /// What was told.
    pub kept: Kept,
    /// When imports end, those that do.
    pub ends: RefCell<HashMap<Arc<str>, Instant>>,
    turn: Mutex<()>,
}

impl Teller {
    /// With the folder of the state, if state is kept.
    pub fn new(keeper: keeper::Handle, state: Option<PathBuf>) -> Teller {
        Teller { keeper, kept: Kept::new(state), ends: RefCell::default(), turn: Mutex::default() }
    }

    /// Brings what was read into force, as far as the guard lets it.
    pub async fn tell(
        &self,
        name: &Arc<str>,
        terms: Terms,
        read: Read,
        force: bool,
        own: Option<IpAddr>,
    ) -> Result<Told, Fault> {
        let (prefixes, counts, guarded) = self.sift(read, force, own).await?;
        let _turn = self.turn.lock().await;
        self.bring(name, terms, prefixes, counts, guarded, true).await
    }

    /// What [`Teller::tell`] would do.
    pub async fn weigh(&self, read: Read, force: bool, own: Option<IpAddr>) -> Result<Told, Fault> {
        let (prefixes, counts, guarded) = self.sift(read, force, own).await?;
        Ok(Told { prefixes, counts, guarded, outside: None, lease_end: None, is_kept: false })
    }

    async fn sift(
        &self,
        read: Read,
        force: bool,
        own: Option<IpAddr>,
    ) -> Result<(Vec<IpNet>, Counts, Arc<[String]>), Fault> {
        let guard = self.keeper.ask(|owner| owner.list_guard()).await?.sparing(own);
        let (expected, skipped) = (read.prefixes.len(), read.outcome.skipped);
        let Sifted { prefixes, guarded, first } = guard.sift(read.prefixes, force);
        let named = first.iter().map(|(prefix, why)| format!("{}: {why}", source::display(*prefix)));
        let counts = Counts { entries: prefixes.len(), expected, skipped, guarded, without_room: 0 };
        Ok((prefixes, counts, named.collect()))
    }

    /// Tells again what was kept, for the time that is left.
    pub async fn retell(
        &self,
        name: &Arc<str>,
        terms: Terms,
        prefixes: Vec<IpNet>,
        counts: Counts,
        guarded: Arc<[String]>,
    ) -> Result<Told, Fault> {
        let _turn = self.turn.lock().await;
        self.bring(name, terms, prefixes, counts, guarded, false).await
    }

    /// Tells everything again, for all of it only counts from now on, or no longer.
    pub async fn retell_all(&self) -> Result<(), Stopped> {
        for name in self.keeper.ask(|owner| owner.lists_known()).await?.into_iter().map(|known| known.name) {
            // While others had their turn it may have been told anew, or be gone.
            let _turn = self.turn.lock().await;
            let known = self.keeper.ask(|owner| owner.lists_known()).await?;
            let known = known.into_iter().find(|known| known.name == name && !known.is_over);
            let Some(known) = known else { continue };
            let told = match self.kept.read(&known.name) {
                Ok(prefixes) => {
                    let Known { name, terms, counts, guarded, .. } = &known;
                    let (terms, guarded) = (terms.clone(), guarded.clone());
                    let result = self.bring(name, terms, prefixes, *counts, guarded, false).await;
                    result.map(drop).map_err(|fault| fault.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = told {
                tracing::error!(list = %known.name, %error, "a list could not be changed in the kernel");
            }
        }
        Ok(())
    }

    /// To be called by whoever's turn it is.
    async fn bring(
        &self,
        name: &Arc<str>,
        terms: Terms,
        prefixes: Vec<IpNet>,
        counts: Counts,
        guarded: Arc<[String]>,
        is_fresh: bool,
    ) -> Result<Told, Fault> {
        let begin = {
            let (name, terms) = (name.clone(), terms.clone());
            move |owner: &mut keeper::Owner| owner.list_begin(&name, &terms)
        };
        let (id, begun) = self.keeper.ask(begin).await??;
        let kernel = match begun {
            Ok(()) => self.pieces(name, id, &prefixes).await?,
            Err(error) => Err(error),
        };
        let kernel = kernel.map_err(Box::<str>::from);
        let counts = Counts { entries: prefixes.len(), without_room: 0, ..counts };
        let settled = Settled {
            ranges: Arc::new(Ranges::of(&prefixes)),
            counts,
            guarded: guarded.clone(),
            kernel: kernel.clone(),
            is_fresh,
        };
        let is_configured = terms.is_configured;
        let settle = {
            let name = name.clone();
            move |owner: &mut keeper::Owner| owner.list_settle(&name, terms, settled)
        };
        let (lease_end, counts) = self.keeper.ask(settle).await?;
        match lease_end.filter(|_| !is_configured) {
            Some(end) => drop(self.ends.borrow_mut().insert(name.clone(), end)),
            None => drop(self.ends.borrow_mut().remove(name)),
        }
        let is_kept = !is_fresh || self.keep(name, &prefixes);
        Ok(Told { prefixes, counts, guarded, outside: kernel.err(), lease_end, is_kept })
    }

    fn keep(&self, name: &str, prefixes: &[IpNet]) -> bool {
        let kept = self.kept.write(name, prefixes);
        if let Err(error) = &kept {
            tracing::error!(list = name, %error, "a list is in force but not kept over a restart");
            // What it was before must not come back.
            if let Err(error) = self.kept.remove(name) {
                tracing::error!(list = name, %error, "what was kept of a list before cannot be removed");
            }
        }
        kept.is_ok()
    }

    async fn pieces(
        &self,
        name: &Arc<str>,
        id: u32,
        prefixes: &[IpNet],
    ) -> Result<Result<Listed, String>, Stopped> {
        let mut failure = Ok(());
        for piece in prefixes.chunks(LIST_PIECE) {
            let (name, piece) = (name.clone(), piece.to_vec());
            // Each piece is a question of its own, between which bans are made. All of them, also behind one that fails:
            // the kernel has as much of the list as it takes.
            failure = failure.and(self.keeper.ask(move |owner| owner.list_add(&name, id, &piece)).await?);
        }
        let committed = self.commit(name, id).await?;
        Ok(failure.and(committed))
    }

    async fn commit(&self, name: &Arc<str>, id: u32) -> Result<Result<Listed, String>, Stopped> {
        loop {
            let name = name.clone();
            match self.keeper.ask(move |owner| owner.list_commit(&name, id)).await? {
                Ok(None) => {}
                Ok(Some(listed)) => return Ok(Ok(listed)),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Takes a list out of everything.
    pub async fn remove(&self, name: &Arc<str>) -> Result<(), Stopped> {
        let _turn = self.turn.lock().await;
        self.take_out(name).await
    }

    /// The same, if its time is over still when it is its turn.
    pub async fn remove_if_over(&self, name: &Arc<str>) -> Result<(), Stopped> {
        let _turn = self.turn.lock().await;
        let is_over = self.ends.borrow().get(name).is_some_and(|end| *end <= Instant::now());
        if is_over { self.take_out(name).await } else { Ok(()) }
    }

    async fn take_out(&self, name: &Arc<str>) -> Result<(), Stopped> {
        self.ends.borrow_mut().remove(name);
        let remove = {
            let name = name.clone();
            move |owner: &mut keeper::Owner| owner.list_remove(&name)
        };
        if let Some(id) = self.keeper.ask(remove).await? {
            // What the kernel refuses is in the log, and ends with its lease.
            let _ = self.commit(name, id).await?;
        }
        if let Err(error) = self.kept.remove(name) {
            tracing::error!(list = %name, %error, "what was kept of a list cannot be removed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feeds::parse::TooMany;

    #[test]
    fn what_holds_nothing_is_told_from_an_empty_list() {
        let read = |list: &str| Read::of(list.as_bytes(), Format::Auto, 10).map(|read| read.prefixes.len());
        assert_eq!(read("1.2.3.4\n1.2.3.4\nbad\n"), Ok(1));
        assert_eq!(read("# nothing today\n"), Ok(0));
        assert_eq!(read("{\"new\":null,\"deleted\":null}"), Ok(0));
        assert_eq!(read(" \n"), Err(Unfit::Empty));
        let begins = String::from("<html>\\u{1b}");
        assert_eq!(read("<html>\u{1b}\n"), Err(Unfit::NoEntry { format: Format::Text, begins }));
        assert_eq!(read("10.0.0.0-10.0.0.255\n10.0.2.1-10.0.2.30\n1.2.3.4\n"), Ok(10));
        assert_eq!(read("10.0.2.1-10.0.2.254\n"), Err(Unfit::TooMany(TooMany(10))));
    }
}
