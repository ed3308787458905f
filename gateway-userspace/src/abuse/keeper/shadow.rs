//! Shadow bans: those that count what they would drop, and drop nothing.
//!
//! Nobody may feel one. So it keeps no other ban away, and it makes none longer.

use std::sync::Arc;

use ipnet::IpNet;

use super::owner::Owner;
use crate::abuse::ban::{Ban, Enforced, Now};
use crate::abuse::deny::{Entry, Hold};
use crate::abuse::shadow::Shadow;
use crate::abuse::target::Target;

impl Owner {
    /// Whether one more ban by the rule would change nothing for this source.
    pub(super) fn is_covered(&self, host: IpNet) -> bool {
        let observing = self.settings.rule.is_some_and(|rule| rule.observe);
        self.ledger.covering(host).any(|ban| observing || !ban.observed)
    }

    /// Ends the shadow ban of a target whose entry in the kernel was just overwritten by a ban's.
    pub(super) fn supersede(&mut self, now: Now, target: &Target) {
        if let Some(id) = self.ledger.exact(target).map(|ban| ban.id) {
            self.replace(now, id);
        }
    }

    /// Says to the request path what a ban does to the requests that it covers.
    pub(super) fn tell_layer_7(&self, ban: &Ban) {
        let hold = match ban.enforced {
            Enforced::Observed => Hold::Count(Arc::new(Shadow::new(ban.id, self.counters.shadow.clone()))),
            Enforced::Kernel | Enforced::Gateway => Hold::Refuse,
        };
        self.deny.ban(&ban.target, Entry { ban: ban.id, lease_end: ban.lease_end, hold });
    }
}
