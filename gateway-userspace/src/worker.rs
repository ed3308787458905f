//! One worker: a thread with a runtime of its own, its own sockets, connections, pools and counters.
//!
//! Nothing here is shared with another worker but what is read, so a request takes no lock and touches no counter
//! that another core writes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::abuse::deny;
use crate::abuse::reporter::Reporter;
use crate::config::live::{Live, Pinned};
use crate::config::snapshot::Snapshot;
use crate::http::body::RequestBody;
use crate::observe::access_log::Log;
use crate::observe::metrics::{Cells, Label, Registry};
use crate::observe::random::Random;
use crate::request::RequestId;
use crate::upstream::{Upstream, Upstreams};

/// What the requests of one worker share.
pub struct Worker {
    snapshot: Pinned<Snapshot, View>,
    upstreams: Upstreams<RequestBody>,
    registry: Arc<Registry>,
    log: RefCell<Option<Rc<Log>>>,
    /// Who is banned, where the kernel does not or cannot drop.
    pub deny: deny::Reader,
    /// Where refusals are reported.
    pub reporter: Reporter,
    /// Metrics of this worker.
    pub cells: Cells,
    /// For request and span ids.
    pub random: Random,
    /// The request that panicked last, until its client is told.
    pub panicked: Cell<Option<RequestId>>,
}

/// A snapshot as one worker uses it.
pub struct View {
    /// What all workers share.
    pub shared: Arc<Snapshot>,
    /// Its upstreams with this worker's connections, in the order of [`Snapshot::plans`].
    pub upstreams: Box<[Upstream<RequestBody>]>,
    /// Names as the metrics know them.
    pub labels: Labels,
}

/// The names of a snapshot as the metrics know them.
pub struct Labels {
    /// In the order of [`Snapshot::routes`].
    pub routes: Box<[Label]>,
    /// In the order of [`Snapshot::plans`].
    pub upstreams: Box<[Label]>,
    /// By name.
    pub limits: HashMap<Arc<str>, Label>,
}

/// What a worker is made from.
pub struct Parts {
    /// Its number, from 0.
    pub index: usize,
    /// The snapshot in force.
    pub live: Arc<Live<Snapshot>>,
    /// Where the metrics are.
    pub registry: Arc<Registry>,
    /// See [`Worker::deny`].
    pub deny: deny::Reader,
    /// See [`Worker::reporter`].
    pub reporter: Reporter,
    /// The access log, if there is one.
    pub log: Option<Log>,
}

impl Worker {
    /// Must be called on the worker's thread, within its runtime of local tasks.
    pub fn new(parts: Parts) -> Worker {
        let Parts { index, live, registry, deny, reporter, log } = parts;
        let upstreams = Upstreams::new(index);
        let snapshot = Pinned::new(live, |shared, _| View::new(shared, &upstreams, &registry));
        let cells = registry.cells();
        let log = RefCell::new(log.map(Rc::new));
        Worker {
            snapshot,
            upstreams,
            registry,
            log,
            deny,
            reporter,
            cells,
            random: Random::new(),
            panicked: Cell::new(None),
        }
    }

    /// The snapshot in force; whoever holds the result keeps it, whatever a reload does.
    #[inline]
    pub fn view(&self) -> Rc<View> {
        self.snapshot.get(|shared, _| View::new(shared, &self.upstreams, &self.registry))
    }

    /// The access log, if there is one.
    pub fn log(&self) -> Option<Rc<Log>> {
        self.log.borrow().clone()
    }

    /// Goes on with another log, or with none; what the old one holds is written.
    pub fn replace_log(&self, log: Option<Log>) {
        if let Some(before) = self.log.replace(log.map(Rc::new)) {
            before.stop();
        }
    }
}

impl View {
    fn new(shared: Arc<Snapshot>, upstreams: &Upstreams<RequestBody>, registry: &Registry) -> View {
        let labels = Labels {
            routes: shared.routes.iter().map(|route| registry.label(&route.name)).collect(),
            upstreams: shared.plans.iter().map(|plan| registry.label(&plan.config.name)).collect(),
            limits: shared
                .config
                .limit
                .iter()
                .map(|limit| (limit.value.name.clone(), registry.label(&limit.value.name)))
                .collect(),
        };
        View {
            upstreams: shared.plans.iter().map(|plan| upstreams.open(plan.clone())).collect(),
            labels,
            shared,
        }
    }
}
