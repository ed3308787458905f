//! How a client stands with the bans in force.

use std::sync::Arc;

use super::shadow::Shadow;

/// What bans say about a request's client.
#[derive(Debug, Clone)]
pub enum Standing {
    /// None covers it.
    Free,
    /// One covers it that only counts, and none that holds.
    Observed(Arc<Shadow>),
    /// This one keeps it out and lets it through now, to be judged.
    Paroled(u32),
    /// This one keeps it out.
    Banned(u32),
}
