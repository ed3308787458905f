//! Everything in the kernel against what was written there, piece by piece and with nothing repaired: for whoever wants
//! to know whether the reconciler has anything to do.

use ipnet::IpNet;

use super::{
    DenyEntry, Drift, Error,
    allowlist::Allowlist,
    denylist::{Compared, Denylist, Progress},
    settings::SettingsMap,
};

/// What the kernel holds, or a piece of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Entries of bans as they were read.
    pub entries: Vec<(IpNet, DenyEntry)>,
    /// Number of entries of lists.
    pub of_lists: usize,
    /// Allowed prefixes that were compared.
    pub allowed: usize,
    /// Words of the filter that were compared.
    pub filter_words: usize,
    /// What is not as it was written.
    pub drifted: Vec<Drift>,
}

impl Verified {
    /// Both together.
    pub fn and(mut self, more: Self) -> Self {
        let Self { entries, of_lists, allowed, filter_words, drifted } = more;
        self.entries.extend(entries);
        self.drifted.extend(drifted);
        self.of_lists += of_lists;
        self.allowed += allowed;
        self.filter_words += filter_words;
        self
    }
}

/// How far everything has been compared.
pub struct Comparison {
    progress: Progress,
    /// Words of the filter that differ.
    filter: usize,
    done: bool,
}

impl Default for Comparison {
    /// Nothing yet.
    fn default() -> Self {
        Self { progress: Progress::new(), filter: 0, done: false }
    }
}

impl Comparison {
    pub(super) fn next(
        &mut self,
        denylist: &Denylist,
        allowlist: &Allowlist,
        settings: &SettingsMap,
    ) -> Result<Option<Verified>, Error> {
        if let Some(compared) = denylist.compare(allowlist, &mut self.progress)? {
            let Compared { bans: entries, of_lists, filter_words: (filter_words, differ), drifted } =
                compared;
            self.filter += differ;
            return Ok(Some(Verified { entries, of_lists, allowed: 0, filter_words, drifted }));
        }
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let (extra, missing) = allowlist.compare()?;
        let mut drifted: Vec<Drift> = extra.into_iter().chain(missing).map(Drift::Allow).collect();
        drifted.extend(settings.differ()?.then_some(Drift::Settings));
        drifted.extend((self.filter > 0).then_some(Drift::Filter(self.filter)));
        Ok(Some(Verified { allowed: allowlist.iter().len(), drifted, ..Verified::default() }))
    }
}
