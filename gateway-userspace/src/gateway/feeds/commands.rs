//! What operators do with lists: bring one, have it given back, take it away.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tell::{Read, Teller};
use super::{Fault, Import};
use crate::abuse::keeper;
use crate::abuse::lists::Terms;
use crate::abuse::term;
use crate::admin::api;
use crate::feeds::parse::{ENTRIES_MAX, LASTS_MAX, Outcome};
use crate::feeds::{Export, Format, parse, write};

impl Teller {
    /// `portcullis deny import`
    pub async fn import(&self, import: Import) -> Result<api::DenyImported, Fault> {
        let Import { request, by, own } = import;
        let api::ImportDeny { name, list, format, for_s, observe, force, dry_run } = request;
        if !is_name(&name) {
            return Err(Fault::Name(name));
        }
        if for_s == Some(0) {
            return Err(Fault::NoTime);
        }
        let format = format.parse::<Format>().map_err(|error| Fault::Format(error.to_string()))?;
        let read = Read::of(list.as_bytes(), format, ENTRIES_MAX)?;
        drop(list);
        let lease = match for_s.map(Duration::from_secs) {
            Some(time) => Some(time).filter(|time| *time < LASTS_MAX),
            None => read.longest,
        };
        let name: Arc<str> = name.into();
        let known = self.known(&name).await?;
        let before = known.as_ref().filter(|known| !known.is_over).map(|known| known.counts.entries);
        self.keeper
            .ask({
                let name = name.clone();
                move |owner| owner.list_room(&name)
            })
            .await??;
        let terms = Terms {
            source: by.into(),
            format: read.outcome.format.name().into(),
            is_configured: false,
            observe,
            lease,
        };
        let Outcome { format, taken, skipped, first_bad } = read.outcome.clone();
        let skipped_first = first_bad.iter().map(|bad| format!("{}: {}", bad.place, bad.text)).collect();
        let told = match dry_run {
            true => self.weigh(read, force, own).await?,
            false => self.tell(&name, terms, read, force, own).await?,
        };
        let (counts, without_kernel) = (told.counts, told.outside);
        let lasts = lease.map_or_else(
            || String::from("until it is removed"),
            |lease| format!("for {}", term::display(lease)),
        );
        let verb = match (dry_run, observe) {
            (true, _) => "would hold",
            (false, true) => "counts",
            (false, false) => "holds",
        };
        let entries = counts.entries + counts.without_room;
        let mut changes = vec![format!("list {name} {verb} {entries} addresses and networks {lasts}")];
        if let Some(before) = before {
            let replaces = if dry_run { "would replace" } else { "replaces" };
            changes.push(format!("it {replaces} the list of that name, which had {before}"));
        }
        if !dry_run && !told.is_kept {
            changes.push(
                "it could not be written to the state folder, so it ends with this run (see the log)".into(),
            );
        }
        changes.extend(without_kernel.map(|error| format!("refused by the gateway only: {error}")));
        Ok(api::DenyImported {
            format: format.to_string(),
            taken,
            skipped,
            skipped_first,
            entries: counts.entries,
            guarded: counts.guarded,
            guarded_first: told.guarded.to_vec(),
            without_room: counts.without_room,
            changes,
            undo: before.is_none().then(|| format!("portcullis deny remove {name}")),
        })
    }

    /// `portcullis deny export`
    pub fn export(&self, request: &api::ExportDeny) -> Result<api::DenyExported, Fault> {
        let name = &request.name;
        if !is_name(name) {
            return Err(Fault::Unknown(name.clone()));
        }
        let to = request.format.parse::<Export>().map_err(|error| Fault::Format(error.to_string()))?;
        let prefixes = self.kept.read(name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::Unknown(name.clone()),
            _ => Fault::Kept(name.clone(), error),
        })?;
        let item = |prefix| parse::Item { prefix, lasts: None, gone: false };
        let items = write::settle(prefixes.into_iter().map(item).collect());
        let mut list = Vec::new();
        let written =
            write::write(&items, to, &mut list).map_err(|error| Fault::Kept(name.clone(), error))?;
        let list = String::from_utf8_lossy(&list).into_owned();
        Ok(api::DenyExported { list, entries: written.entries, covered: written.covered })
    }

    /// `portcullis deny remove`
    pub async fn remove_by_command(&self, request: &api::RemoveDeny) -> Result<api::Changed, Fault> {
        let api::RemoveDeny { name, dry_run } = request;
        let known = self.known(name).await?.ok_or_else(|| Fault::Unknown(name.clone()))?;
        let entries = known.counts.entries;
        if *dry_run {
            let changes = vec![format!("would remove the list {name} of {entries} addresses and networks")];
            return Ok(api::Changed { changes, undo: None });
        }
        self.remove(&known.name).await?;
        let changes = vec![format!("removed the list {name} of {entries} addresses and networks")];
        Ok(api::Changed { changes, undo: None })
    }

    async fn known(&self, name: &str) -> Result<Option<keeper::Known>, Fault> {
        let known = self.keeper.ask(|owner| owner.lists_known()).await?;
        Ok(known.into_iter().find(|known| *known.name == *name))
    }

    /// Removes the imports whose time is over.
    pub async fn end_imports(&self) {
        let now = Instant::now();
        let over: Vec<Arc<str>> = {
            let ends = self.ends.borrow();
            ends.iter().filter(|(_, end)| **end <= now).map(|(name, _)| name.clone()).collect()
        };
        for name in over {
            // Without a keeper nothing is in force any more.
            let _ = self.remove_if_over(&name).await;
        }
    }
}

/// Whether a list can be called so: as tables of the configuration can.
fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_called_as_a_file_can_be() {
        for name in ["drop", "a.b-c_9", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a/b", "../x", "a b", "ü", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
