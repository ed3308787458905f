//! Shadow bans: those that count what they would drop, and drop nothing.
//!
//! Nobody may feel one. So it keeps no other ban away, and it makes none longer.

use ipnet::IpNet;

use super::owner::Owner;
use crate::abuse::ban::Now;
use crate::abuse::target::Target;

impl Owner {
    /// Whether one more ban, which observes or not, would change nothing for this source.
    pub(super) fn is_covered(&self, host: IpNet, observe: bool) -> bool {
        self.ledger.covering(host).any(|ban| observe || !ban.observed)
    }

    /// Ends the shadow ban of a target whose entry in the kernel was just overwritten by a ban's.
    pub(super) fn supersede(&mut self, now: Now, target: &Target) {
        if let Some(id) = self.ledger.exact(target).map(|ban| ban.id) {
            self.replace(now, id);
        }
    }
}
