//! Bans that the kernel had no room for: they hold at layer 7, and move into the kernel once it takes them.

use super::owner::Owner;
use crate::abuse::ban::{Ban, Enforced, State};
use crate::abuse::enforcer::Lease;

/// Bans that move in one second at most.
const MOVED_MAX: usize = 256;
/// Bans that are over and still remembered here before they are looked for.
const OVER_MAX: usize = 1024;

impl Owner {
    /// Remembers a ban that holds at layer 7 although there is a kernel for it.
    pub(super) fn note_outside(&mut self, id: u32) {
        let belongs = |ban: &Ban| {
            ban.enforced == Enforced::Gateway && ban.state == State::Active && ban.target.prefix().is_some()
        };
        if !self.enforcer.in_kernel() || !self.ledger.get(id).is_some_and(belongs) {
            return;
        }
        self.outside.push_back(id);
        if self.outside.len() > self.ledger.count() + OVER_MAX {
            let ledger = &self.ledger;
            self.outside.retain(|id| ledger.get(*id).is_some_and(belongs));
        }
    }

    /// Tries those again that have waited longest, until the kernel has no room.
    pub(super) fn move_into_kernel(&mut self) {
        let now = self.now();
        for _ in 0..MOVED_MAX {
            let Some(id) = self.outside.pop_front() else { return };
            let Some(ban) = self.ledger.active_mut(id) else { continue };
            let (Some(prefix), Enforced::Gateway) = (ban.target.prefix(), ban.enforced) else { continue };
            let left = ban.lease_end.map(|end| end.saturating_duration_since(now.instant));
            let observe = ban.observed || !self.settings.enforce;
            let parole = ban.parole.filter(|_| !observe);
            let lease = Lease { prefix, left, ban_id: id, observe, parole };
            if self.enforcer.install(&lease).is_err() {
                self.outside.push_front(id);
                return;
            }
            self.moved(id, if lease.observe { Enforced::Observed } else { Enforced::Kernel });
        }
    }
}
