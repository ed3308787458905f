//! Where requests go: targets, connections to them, and how one is chosen.
//!
//! What all workers share is in the [`registry`] (the state of every target) and in the [`plan`] (a compiled
//! upstream, part of the snapshot). What a worker has for itself is here: [`Upstreams`] keeps the connections, an
//! [`Upstream`] is one plan opened on this worker. Connections are pooled for each worker and target; a reload keeps
//! the pools of targets that it does not change.
//!
//! Upstreams, and everything that sends through them, run where `tokio::task::spawn_local` does.

pub mod balance;
pub mod body;
pub mod config;
pub mod connect;
mod deadline;
pub mod endpoint;
pub mod exchange;
mod http1;
pub mod plan;
mod pool;
pub mod proxy_protocol;
pub mod registry;
mod resolve;
pub mod tls;

#[cfg(test)]
pub(crate) mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::balance::round_robin::RoundRobin;
use self::body::ClientBody;
use self::plan::Plan;
use self::pool::{Key, Pool};

/// How often idle connections are looked through; the accuracy of `keep_alive`.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// The pools of one worker.
pub struct Upstreams<B: ClientBody> {
    worker: usize,
    pools: Pools<B>,
}

/// Found again by a reload as long as some `Upstream` holds them.
type Pools<B> = Rc<RefCell<HashMap<Key, Weak<Pool<B>>>>>;

/// One upstream, on one worker. Cheap to clone.
pub struct Upstream<B: ClientBody> {
    plan: Arc<Plan>,
    pools: Rc<[Rc<Pool<B>>]>,
    turn: Rc<RoundRobin>,
}

impl<B: ClientBody> Upstreams<B> {
    /// Empty pools for the worker with this number, and the one timer that clears them of idle connections. Must be
    /// called on the worker's runtime of local tasks; the timer ends with the last pool.
    pub fn new(worker: usize) -> Upstreams<B> {
        let pools = Pools::default();
        tokio::task::spawn_local(reap(Rc::downgrade(&pools)));
        Upstreams { worker, pools }
    }

    /// Opens a plan. Targets that an open upstream reaches in the same way share its connections.
    pub fn open(&self, plan: Arc<Plan>) -> Upstream<B> {
        let mut known = self.pools.borrow_mut();
        let pools = plan.targets.iter().map(|target| {
            let key = Key::of(target, &plan.config);
            match known.get(&key).and_then(Weak::upgrade) {
                Some(pool) => {
                    pool.adjust(&plan.config);
                    pool
                }
                None => {
                    // Only before it would grow, so that opening thousands of plans looks through it a few times.
                    if known.len() >= known.capacity() {
                        known.retain(|_key, pool| pool.strong_count() > 0);
                    }
                    let pool = Rc::new(Pool::new(target, &plan.config));
                    known.insert(key, Rc::downgrade(&pool));
                    pool
                }
            }
        });
        let pools = pools.collect();
        Upstream { plan, pools, turn: Rc::new(RoundRobin::new(self.worker)) }
    }
}

impl<B: ClientBody> Upstream<B> {
    /// The plan that was opened.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Connections that are kept by this worker: idle ones of HTTP/1, all of HTTP/2.
    pub fn connections_kept(&self) -> usize {
        self.pools.iter().map(|pool| pool.sizes()).map(|(http1, http2)| http1 + http2).sum()
    }
}

impl<B: ClientBody> Clone for Upstream<B> {
    fn clone(&self) -> Upstream<B> {
        Upstream { plan: self.plan.clone(), pools: self.pools.clone(), turn: self.turn.clone() }
    }
}

impl<B: ClientBody> std::fmt::Debug for Upstream<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("plan", &self.plan).finish_non_exhaustive()
    }
}

async fn reap<B: ClientBody>(pools: std::rc::Weak<RefCell<HashMap<Key, Weak<Pool<B>>>>>) {
    let mut ticks = tokio::time::interval(REAP_INTERVAL);
    loop {
        ticks.tick().await;
        let Some(pools) = pools.upgrade() else { return };
        let now = Instant::now();
        for pool in pools.borrow().values().filter_map(Weak::upgrade) {
            pool.reap(now);
        }
    }
}
