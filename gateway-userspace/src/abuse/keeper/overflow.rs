//! Bans that the kernel had no room for: they hold at layer 7, or count there, and move into the kernel once it takes them.

use super::owner::Owner;
use crate::abuse::ban::Enforced;
use crate::abuse::enforcer::Lease;

/// Bans that move in one second at most.
const MOVED_MAX: usize = 256;
/// Bans that never came to be and are still remembered here before they are looked for.
const OVER_MAX: usize = 1024;

impl Owner {
    /// Remembers a ban, which may be about to be made, whose entry the kernel has refused.
    pub(super) fn note_outside(&mut self, id: u32) {
        self.outside.insert(id);
        if self.outside.len() > self.ledger.count() + OVER_MAX {
            let ledger = &self.ledger;
            self.outside.retain(|other| *other == id || ledger.is_active(*other));
        }
    }

    /// Tries the oldest of those again, until the kernel has no room.
    pub(super) fn move_into_kernel(&mut self) {
        let now = self.now();
        for _ in 0..MOVED_MAX {
            let Some(id) = self.outside.first().copied() else { return };
            let ban = self.ledger.active_mut(id).cloned();
            let Some((prefix, ban)) = ban.and_then(|ban| Some((ban.target.prefix()?, ban))) else {
                self.outside.remove(&id);
                continue;
            };
            let left = ban.lease_end.map(|end| end.saturating_duration_since(now.instant));
            let observe = ban.observed || !self.settings.enforce;
            let parole = ban.parole.filter(|_| !observe);
            if self.enforcer.install(&Lease { prefix, left, ban_id: id, observe, parole }).is_err() {
                return;
            }
            self.outside.remove(&id);
            self.moved(id, if observe { Enforced::Observed } else { Enforced::Kernel });
        }
    }
}
