//! What differs of a list that is in force, where its source says no more than that. Its lease stays as it is.

use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use crate::abuse::enforcer::{ListLease, Listed};
use crate::abuse::keeper::owner::Owner;
use crate::abuse::lists::{Counts, List};
use crate::abuse::ranges::Ranges;

/// What is known of a list once its changes are told.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Its addresses, for requests.
    pub ranges: Arc<Ranges>,
    /// Its size, with all of its prefixes as entries.
    pub counts: Counts,
    /// The first of what the guard keeps out, with why.
    pub guarded: Arc<[String]>,
    /// What the kernel has of it, if it was told anything; else why it did not take it.
    pub kernel: Result<Option<Listed>, Box<str>>,
    /// Prefixes that it did not have before.
    pub added: usize,
    /// Prefixes that it has no more.
    pub removed: usize,
}

impl Owner {
    /// Takes prefixes off a list and puts others on it, at most [`crate::abuse::enforcer::LIST_PIECE`] of both. None: the
    /// list is not in force, and can only be told as a whole.
    pub fn list_change(
        &mut self,
        name: &str,
        gone: &[IpNet],
        new: &[IpNet],
    ) -> Option<Result<Listed, String>> {
        let now = self.now().instant;
        let list = self.lists.get(name).filter(|list| is_in_force(list, now))?;
        let lease = ListLease {
            id: list.id,
            left: list.lease_end.map(|end| end.saturating_duration_since(now)),
            observe: list.terms.observe || !self.settings.enforce,
        };
        let changed = self.enforcer.list_change(&lease, gone, new);
        Some(self.list_result(name, changed))
    }

    /// The changes of a list were told: from here on requests meet them. When its time is over, if it ends, and its size;
    /// none as above.
    pub fn list_changed(&mut self, name: &Arc<str>, changed: Changed) -> Option<(Option<Instant>, Counts)> {
        let now = self.now();
        let in_kernel = self.enforcer.in_kernel();
        let list = self.lists.get_mut(name).filter(|list| is_in_force(list, now.instant))?;
        let Changed { ranges, counts, guarded, kernel, added, removed } = changed;
        let before = std::mem::replace(&mut list.counts, counts);
        match kernel {
            Ok(listed) if in_kernel => {
                let refused = listed
                    .map_or(before.without_room, |listed| counts.entries.saturating_sub(listed.entries));
                list.counts.entries = counts.entries.saturating_sub(refused);
                list.counts.without_room = refused;
                list.outside = None;
            }
            Ok(_) => list.outside = None,
            Err(error) => list.outside = Some(error),
        }
        (list.ranges, list.guarded) = (Some(ranges), guarded);
        (list.told, list.failure) = (Some(now.wall), None);
        list.refreshes.taken += 1;
        let (id, lease_end, counts) = (list.id, list.lease_end, list.counts);
        self.write_list(name);
        self.flush();
        self.lists_changed();
        let Counts { entries, guarded, without_room, .. } = counts;
        if added + removed > 0 {
            tracing::info!(target: "audit", list = %name, id, added, removed, entries, guarded, without_room, "list changed");
        }
        Some((lease_end, counts))
    }
}

fn is_in_force(list: &List, now: Instant) -> bool {
    list.ranges.is_some() && !list.is_over(now)
}
