//! Sums for `status` and `top`: the same cells as at a scrape, for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Registry;

/// Counts since the start, over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that are over.
    pub requests: u64,
    /// Client connections open now.
    pub connections: u64,
}

/// One route's counts since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteTotals {
    /// The route; empty: none matched.
    pub name: Arc<str>,
    /// Requests by class of status, 1xx to 5xx.
    pub by_class: [u64; 5],
    /// All durations together, seconds.
    pub seconds: f64,
}

impl Registry {
    /// Sums over everything.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for worker in self.shared.workers() {
            let gauges = &worker.gauges;
            totals.requests += gauges.finished.get();
            // Read in this order, a connection that closes in between counts as open, never as fewer than none.
            let closed = gauges.closed.get();
            totals.connections += gauges.opened.get().saturating_sub(closed);
        }
        totals
    }

    /// Sums by route, in the order in which routes were first seen.
    pub fn routes(&self) -> Vec<RouteTotals> {
        let names = self.shared.labels();
        let mut by_route: BTreeMap<u32, RouteTotals> = BTreeMap::new();
        for worker in self.shared.workers() {
            for (key, histogram) in worker.requests.snapshot() {
                let totals = by_route.entry(key.route).or_default();
                let class = usize::from(key.status / 100).clamp(1, 5) - 1;
                totals.by_class[class] += histogram.buckets.iter().map(super::cells::Count::get).sum::<u64>();
                totals.seconds += histogram.sum_ns.get() as f64 / 1e9;
            }
        }
        let named = by_route.into_iter().map(|(label, totals)| RouteTotals {
            name: names.get(label as usize).cloned().unwrap_or_else(|| Arc::from("")),
            ..totals
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::metrics::Finished;
    use crate::request::head::Version;

    #[test]
    fn sums_go_over_all_workers() {
        let registry = Registry::new();
        let (one, other) = (registry.cells(), registry.cells());
        one.connection_opened();
        other.connection_opened();
        other.connection_closed();
        let route = registry.label("users");
        for (cells, status) in [(&one, 200), (&other, 200), (&other, 503)] {
            cells.request_started();
            cells.request_finished(&Finished {
                route,
                method: "GET",
                version: Version::Http11,
                status,
                duration: Duration::from_millis(500),
                rejection: None,
            });
        }
        assert_eq!(registry.totals(), Totals { requests: 3, connections: 1 });
        let routes = registry.routes();
        assert_eq!(routes.len(), 1);
        assert_eq!(
            (&*routes[0].name, routes[0].by_class, routes[0].seconds),
            ("users", [0, 2, 0, 0, 1], 1.5)
        );
    }
}
