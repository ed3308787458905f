//! A list of the configuration, read again and again: when its file has changed, when its time has come, sooner after a
//! failure, and before its lease ends.

mod stream;

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use self::stream::Stream;
use super::tell::{Read, Teller, Told};
use super::{Fault, Unfit};
use crate::abuse::keeper::{Known, Stopped};
use crate::abuse::lists::Terms;
use crate::config::model::{List, ListSource};
use crate::dial::Url;
use crate::feeds::fetch::{self, BYTES_MAX, Fetched, Source, Version};
use crate::feeds::parse::Outcome;
use crate::feeds::{decisions, schedule};
use crate::gateway::chain;
use crate::observe::random;

/// How often it is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest time of a fetch.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why a list could not be refreshed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0} cannot be read")]
    File(Box<str>, #[source] io::Error),
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Decisions(#[from] decisions::Unusable),
    #[error("the list has ended meanwhile, so it is read anew")]
    Ended,
    #[error("what was kept of it cannot be read, so it is fetched again")]
    Kept(#[source] io::Error),
    #[error("the kernel did not take all of it: {0}")]
    Outside(Box<str>),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Looks after a list for ever.
pub async fn keep(list: List, teller: Rc<Teller>) {
    if let ListSource::Url { url, .. } = &list.source
        && !url.is_protected()
    {
        tracing::warn!(list = %list.name, url = %url.without_query(), "a list comes without TLS: whoever is on the way says whom to drop");
    }
    let Ok(mut task) = Task::begin(list, teller).await else { return };
    let mut failures = 0;
    loop {
        let result = task.refresh().await;
        let (now, refresh, jitter) = (Instant::now(), task.list.refresh, task.list.jitter);
        let next = match result {
            Ok(()) => {
                failures = 0;
                schedule::next(now, refresh, jitter, task.until, random::fraction())
            }
            Err(failure) => {
                failures += 1;
                if task.failed(&chain(&failure)).await.is_err() {
                    return;
                }
                schedule::retry(now, refresh, failures, task.until, random::fraction())
            }
        };
        task.wait(next).await;
    }
}

struct Task {
    list: List,
    teller: Rc<Teller>,
    /// What the server called what it gave last; nothing if that could not be kept.
    version: Version,
    look: Look,
    /// What stands in a list that is told by its changes, once it was read.
    stream: Option<Stream>,
    /// When what was told ends.
    until: Option<Instant>,
}

impl Task {
    async fn begin(list: List, teller: Rc<Teller>) -> Result<Task, Stopped> {
        let known = teller.keeper.ask(|owner| owner.lists_known()).await?;
        let known = known.into_iter().find(|known| known.name == list.name && !known.is_over);
        let left = known.as_ref().and_then(|known| known.terms.lease);
        let until = left.and_then(|left| Instant::now().checked_add(left));
        let (version, look) = (Version::default(), Look::default());
        let mut task = Task { list, teller, version, look, stream: None, until };
        if let Some(known) = known {
            task.conform(known).await;
        }
        Ok(task)
    }

    /// What the configuration says by now of a list that is in force holds at once, whether its source can be read or not.
    async fn conform(&mut self, known: Known) {
        let left = known.terms.lease.map_or(self.list.lease, |left| left.min(self.list.lease));
        if known.terms.observe == self.list.observe && known.terms.lease == Some(left) {
            return;
        }
        let Ok(prefixes) = self.teller.kept.read(&self.list.name) else { return };
        let terms = Terms { lease: Some(left), ..self.terms(&known.terms.format) };
        match self.teller.retell(&self.list.name, terms, prefixes, known.counts, known.guarded).await {
            Ok(told) => self.until = told.lease_end,
            Err(error) => {
                tracing::error!(list = %self.list.name, %error, "a list is in force as it was before the reload");
            }
        }
    }

    fn terms(&self, format: &str) -> Terms {
        let source = match &self.list.source {
            ListSource::File(path) => path.display().to_string(),
            ListSource::Url { url, .. } => url.without_query(),
        };
        Terms {
            source: source.into(),
            format: format.into(),
            is_configured: true,
            observe: self.list.observe,
            lease: Some(self.list.lease),
        }
    }

    async fn refresh(&mut self) -> Result<(), Failure> {
        let bytes = match &self.list.source {
            ListSource::File(path) => {
                if self.look.is_as_read(path) {
                    None
                } else {
                    let failed = |error| Failure::File(path.display().to_string().into(), error);
                    Some(self.look.read(path).map_err(failed)?)
                }
            }
            ListSource::Url { url, .. } if decisions::follows(self.list.format, url) => {
                return self.pull(&url.clone()).await;
            }
            ListSource::Url { url, .. } => match self.fetch(url, &self.version).await? {
                Fetched::Unchanged => None,
                Fetched::List(bytes, version) => {
                    // Taken over only once the list is: what is refused is asked for again.
                    let told = self.take(bytes).await?;
                    self.version = if told.is_kept { version } else { Version::default() };
                    return Ok(());
                }
            },
        };
        match bytes {
            Some(bytes) => {
                self.take(bytes).await?;
                self.look.is_taken = true;
                Ok(())
            }
            None => self.renew().await,
        }
    }

    /// Asks a server, as the list's table says.
    async fn fetch(&self, url: &Url, known: &Version) -> Result<Fetched, fetch::Error> {
        let ListSource::Url { headers, ca, .. } = &self.list.source else { return Ok(Fetched::Unchanged) };
        let field = |(name, value): &(crate::header::Name, crate::header::Value)| {
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
        };
        let headers: HeaderMap = headers.iter().filter_map(field).collect();
        let (url, ca) = (&url.to_string(), ca.as_deref());
        fetch::get(&Source { url, headers: &headers, ca, deadline: DEADLINE, bytes_max: BYTES_MAX }, known)
            .await
    }

    async fn take(&mut self, bytes: Vec<u8>) -> Result<Told, Failure> {
        let read = Read::of(&bytes, self.list.format, self.list.entries_max)?;
        // It may be long until it is this list's turn.
        drop(bytes);
        let terms = self.terms(read.outcome.format.name());
        self.say_skipped(&read.outcome);
        let told = self.teller.tell(&self.list.name, terms, read, false, None).await?;
        self.until = told.lease_end;
        // Whatever it was, it may be over when it is tried again.
        match told.outside {
            Some(error) => Err(Failure::Outside(error)),
            None => Ok(told),
        }
    }

    fn say_skipped(&self, outcome: &Outcome) {
        for bad in &outcome.first_bad {
            tracing::debug!(list = %self.list.name, place = %bad.place, text = ?bad.text, "an entry of a list is skipped");
        }
    }

    /// The list is as it was: told again only when half of its lease is over, for that writes every entry.
    async fn renew(&mut self) -> Result<(), Failure> {
        let name = self.list.name.clone();
        let known = self.teller.keeper.ask(|owner| owner.lists_known()).await.map_err(Fault::from)?;
        let known = known.into_iter().find(|known| known.name == name);
        let left = known.as_ref().filter(|known| !known.is_over).and_then(|known| known.terms.lease);
        if let Some(known) = known
            && left.unwrap_or_default() <= self.list.lease / 2
        {
            let prefixes = self.teller.kept.read(&name).map_err(|error| {
                (self.version, self.look.read) = (Version::default(), None);
                Failure::Kept(error)
            })?;
            let terms = self.terms(&known.terms.format);
            let told = self.teller.retell(&name, terms, prefixes, known.counts, known.guarded).await?;
            self.until = told.lease_end;
            if let Some(error) = told.outside {
                (self.version, self.look.read) = (Version::default(), None);
                return Err(Failure::Outside(error));
            }
        }
        let name = self.list.name.clone();
        self.teller.keeper.ask(move |owner| owner.list_unchanged(&name)).await.map_err(Fault::from)?;
        Ok(())
    }

    async fn failed(&self, reason: &str) -> Result<(), Stopped> {
        tracing::warn!(list = %self.list.name, %reason, "a list could not be read again; what was read before holds on");
        let (name, terms, reason) = (self.list.name.clone(), self.terms("auto"), reason.to_owned());
        self.teller.keeper.ask(move |owner| owner.list_failed(&name, &terms, &reason)).await
    }

    /// Until that time, or until the file has changed.
    async fn wait(&mut self, next: Instant) {
        let ListSource::File(path) = &self.list.source else {
            return self.wait_for_ends(next).await;
        };
        loop {
            let look = (Instant::now() + LOOK_EVERY).min(next);
            tokio::time::sleep_until(look.into()).await;
            if Instant::now() >= next || self.look.wants_reading(path) {
                return;
            }
        }
    }
}

/// What tells one content of a file from another without reading it.
type Mark = (i64, i64, u64, u64);

fn mark(metadata: &Metadata) -> Mark {
    (metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino())
}

/// A file as it was looked at.
#[derive(Debug, Default)]
struct Look {
    /// As it was read last.
    read: Option<Mark>,
    /// Whether what was read then was a list that could be told; else it is read again, changed or not.
    is_taken: bool,
    /// As it was found the last time, if that was otherwise.
    found: Option<Mark>,
}

impl Look {
    fn is_as_read(&self, path: &Path) -> bool {
        self.is_taken && self.read.is_some() && fs::metadata(path).ok().as_ref().map(mark) == self.read
    }

    /// Whether it has changed: another file stands in its place, or it was written to and is quiet again.
    fn wants_reading(&mut self, path: &Path) -> bool {
        let now = fs::metadata(path).ok().as_ref().map(mark);
        let before = std::mem::replace(&mut self.found, now);
        let is_other = now.map(|mark| mark.3) != self.read.map(|mark| mark.3);
        now.is_some() && now != self.read && (is_other || now == before)
    }

    /// Reads it whole; what is no file, such as a pipe, is an error and blocks nobody.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        // As it was before it is read, so that what is written meanwhile is seen as a change.
        (self.read, self.is_taken) = (Some(mark(&metadata)), false);
        let mut bytes = Vec::new();
        file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        match bytes.len() > BYTES_MAX {
            true => Err(io::Error::other(format!("it is larger than {BYTES_MAX} bytes"))),
            false => Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
