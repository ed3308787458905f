//! Everything in the kernel against what was written there, at once and with nothing repaired: for whoever wants to know
//! whether the reconciler has anything to do.

use ipnet::IpNet;

use super::{
    DenyEntry, Drift, Error,
    allowlist::Allowlist,
    denylist::{Compared, Denylist},
    settings::SettingsMap,
};

/// What the kernel holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Entries of bans as they were read, in the order of their prefixes.
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

pub fn run(denylist: &Denylist, allowlist: &Allowlist, settings: &SettingsMap) -> Result<Verified, Error> {
    let Compared { bans, of_lists, mut drifted } = denylist.compare(allowlist)?;
    let (extra, missing) = allowlist.compare()?;
    drifted.extend(extra.into_iter().chain(missing).map(Drift::Allow));
    drifted.extend(settings.differ()?.then_some(Drift::Settings));
    let (filter_words, words) = denylist.compare_filter();
    drifted.extend((words > 0).then_some(Drift::Filter(words)));
    Ok(Verified { entries: bans, of_lists, allowed: allowlist.iter().len(), filter_words, drifted })
}
