//! Counting without sharing: each worker writes cells of its own, and a scrape adds them up.
//!
//! [`Registry`] is the only door to the Prometheus registry. A worker gets [`Cells`] from it and writes them with plain
//! relaxed stores, so counting takes no lock and shares no cache line with another worker. Routes, limits and
//! upstreams are [`Label`]s: a name keeps its label, and with it its counts, over every reload.
//!
//! Label values are bounded: routes by the configuration, methods by the registered ones and `_OTHER`, versions and
//! reasons by lists in the code, and combinations in all by [`SERIES_MAX`] for each worker.

mod cells;
mod collect;
mod labels;
mod totals;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::TextEncoder;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

pub use cells::{Cells, Finished, SERIES_MAX};
pub use totals::{RouteTotals, Totals};

use crate::observe::names;
use labels::Labels;

/// A name that may stand as a label's value: a route, a limit or an upstream. The same name is always the same label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(u32);

impl Label {
    /// The empty name: no route matched.
    pub const NONE: Label = Label(0);
}

/// All metrics of the process.
pub struct Registry {
    prometheus: prometheus::Registry,
    shared: Arc<Shared>,
}

/// What workers and the collector have in common. Locked when a worker comes, and for the labels of a new
/// configuration, which a worker's first request after a reload waits for.
struct Shared {
    labels: Mutex<Labels>,
    workers: Mutex<Vec<Arc<cells::Published>>>,
}

/// The value of one label combination, for metrics that are read from elsewhere at each scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Values of the metric's labels, in their order.
    pub labels: Vec<String>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A sample with label values.
    pub fn new<const N: usize>(labels: [&str; N], value: f64) -> Sample {
        Sample { labels: labels.iter().map(|label| (*label).to_owned()).collect(), value }
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl Registry {
    /// A registry with the request metrics and the build's version.
    pub fn new() -> Registry {
        let shared = Arc::new(Shared { labels: Mutex::new(Labels::new()), workers: Mutex::new(Vec::new()) });
        let registry = Registry { prometheus: prometheus::Registry::new(), shared: shared.clone() };
        registry.register(Box::new(collect::Requests::new(shared)));
        registry.gauge_fn(names::BUILD_INFO, "Version of this build; the value is 1", &["version"], || {
            vec![Sample::new([env!("CARGO_PKG_VERSION")], 1.0)]
        });
        registry
    }

    /// The label of a name, made on first use. Names are never forgotten, so this is for names of the configuration
    /// only, never for anything that a client sends.
    pub fn label(&self, name: &str) -> Label {
        self.shared.labels.lock().unwrap_or_else(PoisonError::into_inner).of(name)
    }

    /// Cells for one more worker. The worker keeps them for its whole life; they stay in the sum afterwards.
    pub fn cells(&self) -> Cells {
        let (cells, published) = Cells::new();
        self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner).push(published);
        cells
    }

    /// Adds a metric whose samples `read` tells at each scrape and that may fall. Once for each name.
    pub fn gauge_fn(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.read_fn(MetricType::GAUGE, name, help, labels, Box::new(read));
    }

    /// Adds a metric whose samples `read` tells at each scrape and that only grows. Once for each name.
    pub fn counter_fn(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.read_fn(MetricType::COUNTER, name, help, labels, Box::new(read));
    }

    /// Everything in Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        // Encoding to memory fails only for families without samples, and those are pruned before.
        TextEncoder::new().encode_to_string(&self.prometheus.gather()).unwrap_or_default()
    }

    fn read_fn(
        &self,
        kind: MetricType,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
        read: Read,
    ) {
        let desc = description(name, help, labels);
        self.register(Box::new(Reading { kind, desc, labels: labels.to_vec(), read }));
    }

    fn register(&self, collector: Box<dyn Collector>) {
        self.prometheus.register(collector).expect("each metric name is registered once");
    }
}

impl Shared {
    fn labels(&self) -> Vec<Arc<str>> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).names()
    }

    fn workers(&self) -> Vec<Arc<cells::Published>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Read = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;

/// A metric that is read from elsewhere.
struct Reading {
    kind: MetricType,
    desc: Desc,
    labels: Vec<&'static str>,
    read: Read,
}

impl Collector for Reading {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = (self.read)().into_iter().map(|sample| {
            let labels = self.labels.iter().zip(&sample.labels);
            let mut metric =
                Metric::from_label(collect::label_pairs(labels.map(|(name, value)| (*name, &**value))));
            if self.kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(sample.value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(sample.value);
                metric.set_gauge(gauge);
            }
            metric
        });
        vec![collect::family(&self.desc, self.kind, metrics.collect())]
    }
}

fn description(name: &str, help: &str, labels: &[&str]) -> Desc {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())
        .expect("names and help are constants")
}

#[cfg(test)]
mod tests;
