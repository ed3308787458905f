//! `[headers]`, and `headers` of a route.

use crate::header::{Name, Value};

/// Fields for the answers of a route. A route's own fields are added to the gateway's; none is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Fields to set, replacing the upstream's.
    pub set: Vec<(Name, Value)>,
    /// Fields to remove.
    pub remove: Vec<Name>,
}
