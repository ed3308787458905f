//! How a client stands with the bans in force.

use std::sync::Arc;

use super::shadow::{Shadow, Shadows};

/// The right of one connection to come through although a ban keeps its client out. Another connection that gets it ends
/// this one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The ban.
    pub ban: u32,
    /// Which turn of it.
    pub number: u64,
}

/// What bans say about a request's client.
#[derive(Debug, Clone)]
pub enum Standing {
    /// None covers it.
    Free,
    /// Such cover it that only count, and none that holds.
    Observed(Shadows),
    /// This one keeps it out and lets it through now, to be judged.
    Paroled(Turn),
    /// This one keeps it out.
    Banned(u32),
}

impl Standing {
    /// One more covers it that only counts, which changes nothing if one holds.
    pub(super) fn observe(&mut self, shadow: &Arc<Shadow>) {
        match self {
            Standing::Free => *self = Standing::Observed(Shadows::of(shadow.clone())),
            Standing::Observed(shadows) => shadows.add(shadow.clone()),
            Standing::Paroled(_) | Standing::Banned(_) => {}
        }
    }
}
