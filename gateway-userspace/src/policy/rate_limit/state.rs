//! What limits remember, kept outside the snapshot so that a reload never resets a count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::config::{Config, Key};
use super::gcra::Rate;
use super::key::Secret;
use super::table::Table;

/// 4 MiB for 163 840 keys; NGINX's `zone=…:10m` holds about as many.
const BUCKETS: usize = 1 << 14;
/// 16 KiB for 640 keys, for limits that count by route only.
const BUCKETS_BY_ROUTE: usize = 1 << 6;

/// The counts of one limit.
#[derive(Debug)]
pub struct State {
    pub(super) table: Table,
    pub(super) secret: Secret,
    /// Times in the table are nanoseconds since then.
    epoch: Instant,
    rate: Rate,
    by: Vec<Key>,
}

/// The states of all limits in force, by name.
#[derive(Debug)]
pub struct States {
    in_force: Mutex<HashMap<Arc<str>, Arc<State>>>,
    secret: Secret,
    epoch: Instant,
}

impl States {
    /// No limit yet. One for the process.
    pub fn new(now: Instant) -> States {
        States { in_force: Mutex::default(), secret: Secret::random(), epoch: now }
    }

    /// The state for a limit of a new configuration: the one in force under its name if rate and key are the same; with
    /// another rate, a copy in which every client has spent as many requests as before (at most a whole burst; what
    /// is charged between this call and the switch to the new configuration is not in the copy); with another key, or
    /// under a new name, an empty one.
    ///
    /// Changes nothing: call it once for each limit of a configuration, and [`States::adopt`] when that is in force.
    pub fn prepare(&self, config: &Config, now: Instant) -> Arc<State> {
        let rate = Rate::new(config.requests, config.per, config.burst);
        let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let known = in_force.get(&config.name).filter(|state| state.by == config.by).cloned();
        drop(in_force);
        let table = match known {
            Some(state) if state.rate == rate => return state,
            Some(state) => state.table.carried_over(state.since_epoch_ns(now), state.rate, rate),
            None if config.by.iter().all(|key| *key == Key::Route) => Table::new(BUCKETS_BY_ROUTE),
            None => Table::new(BUCKETS),
        };
        Arc::new(State { table, secret: self.secret, epoch: self.epoch, rate, by: config.by.clone() })
    }

    /// Takes the states of a configuration that has come into force; limits that are gone are forgotten.
    pub fn adopt(&self, states: impl IntoIterator<Item = (Arc<str>, Arc<State>)>) {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = states.into_iter().collect();
    }
}

impl State {
    /// Clients forgotten before they had refilled, because the table was full.
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    pub(super) fn since_epoch_ns(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX >> 1)
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }
}
