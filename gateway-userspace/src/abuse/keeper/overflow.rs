//! Bans that the kernel had no room for: they hold at layer 7, or count there, and move into the kernel once it takes them.

use ipnet::IpNet;

use super::owner::Owner;
use crate::abuse::ban::Enforced;
use crate::abuse::enforcer::Lease;

/// Bans that move in one second at most.
const MOVED_MAX: usize = 256;
/// Bans that never came to be and are still remembered here before they are looked for.
const OVER_MAX: usize = 1024;

/// Maps of the kernel that entries go to, each with a size of its own.
const PLACES: usize = 4;

/// Which of them an entry goes to: by family, and whether it is a source (IPv4 /32, IPv6 /64) or a wider prefix.
fn place(prefix: IpNet) -> (bool, bool) {
    match prefix {
        IpNet::V4(prefix) => (true, prefix.prefix_len() == 32),
        IpNet::V6(prefix) => (false, prefix.prefix_len() == 64),
    }
}

impl Owner {
    /// Remembers a ban, which may be about to be made, whose entry the kernel has refused.
    pub(super) fn note_outside(&mut self, id: u32) {
        self.outside.insert(id);
        if self.outside.len() > self.ledger.count() + OVER_MAX {
            let ledger = &self.ledger;
            self.outside.retain(|other| *other == id || ledger.is_active(*other));
        }
    }

    /// Tries the oldest of those again. Where the kernel has no room those behind wait that would go to the same place.
    pub(super) fn move_into_kernel(&mut self) {
        let now = self.now();
        let mut refused = Vec::new();
        let mut tries = 0;
        let waiting: Vec<u32> = self.outside.iter().copied().collect();
        for id in waiting {
            if tries == MOVED_MAX || refused.len() == PLACES {
                return;
            }
            let ban = self.ledger.active_mut(id).cloned();
            let Some((prefix, ban)) = ban.and_then(|ban| Some((ban.target.prefix()?, ban))) else {
                self.outside.remove(&id);
                continue;
            };
            let place = place(prefix);
            if refused.contains(&place) {
                continue;
            }
            tries += 1;
            let left = ban.lease_end.map(|end| end.saturating_duration_since(now.instant));
            let observe = ban.observed || !self.settings.enforce;
            let parole = ban.parole.filter(|_| !observe);
            if self.enforcer.install(&Lease { prefix, left, ban_id: id, observe, parole }).is_err() {
                refused.push(place);
                continue;
            }
            self.outside.remove(&id);
            self.moved(id, if observe { Enforced::Observed } else { Enforced::Kernel });
        }
    }
}
