//! Adding up the workers' cells at a scrape.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::cells::{BOUNDS, Count, Histogram as HistogramCell, METHODS, Published, Series, VERSIONS};
use super::{Shared, description};
use crate::observe::names;

/// The metrics that workers count.
pub struct Requests {
    shared: Arc<Shared>,
    requests: Desc,
    active: Desc,
    upstream: Desc,
    rejections: Desc,
    refused: Desc,
    limits: Desc,
    connections: Desc,
    connections_active: Desc,
    handshakes: Desc,
}

const REQUEST_LABELS: [&str; 4] =
    ["http_route", "http_request_method", "http_response_status_code", "network_protocol_version"];

impl Requests {
    /// A collector of what the workers in `shared` count.
    pub fn new(shared: Arc<Shared>) -> Requests {
        Requests {
            shared,
            requests: description(
                names::HTTP_SERVER_REQUEST_DURATION,
                "Time from the end of a request's head to the end of the response",
                &REQUEST_LABELS,
            ),
            active: description(names::HTTP_SERVER_ACTIVE_REQUESTS, "Requests being served now", &[]),
            upstream: description(
                names::HTTP_CLIENT_REQUEST_DURATION,
                "Time the upstream took to begin its answer",
                &["upstream"],
            ),
            rejections: description(names::REJECTIONS, "Requests that the gateway itself ended", &["reason"]),
            refused: description(
                names::REFUSED_CPU_SECONDS,
                "CPU time spent on what was refused, as far as it is measured",
                &["reason"],
            ),
            limits: description(names::LIMIT_DECISIONS, "Decisions of the limits", &["limit", "result"]),
            connections: description(names::CONNECTIONS, "Client connections accepted", &[]),
            connections_active: description(names::CONNECTIONS_ACTIVE, "Client connections open now", &[]),
            handshakes: description(names::TLS_HANDSHAKES_FAILED, "TLS handshakes that failed", &["reason"]),
        }
    }
}

impl Collector for Requests {
    fn desc(&self) -> Vec<&Desc> {
        vec![
            &self.requests,
            &self.active,
            &self.upstream,
            &self.rejections,
            &self.refused,
            &self.limits,
            &self.connections,
            &self.connections_active,
            &self.handshakes,
        ]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let workers = self.shared.workers();
        let names = self.shared.labels();
        // A label that came after this scrape began shows its name at the next.
        let name = |label: u32| names.get(label as usize).map_or("", |name| &**name);
        let sum = |read: fn(&Published) -> u64| workers.iter().map(|worker| read(worker)).sum::<u64>();

        let requests = histograms(&workers, |worker| &worker.requests).into_iter().map(|(key, sum)| {
            let mut digits = itoa::Buffer::new();
            let values = [
                name(key.route),
                METHODS[usize::from(key.method)],
                digits.format(key.status),
                VERSIONS[usize::from(key.version)],
            ];
            sum.metric(label_pairs(REQUEST_LABELS.into_iter().zip(values)))
        });
        let upstream = histograms(&workers, |worker| &worker.upstream)
            .into_iter()
            .map(|(label, sum)| sum.metric(label_pairs([("upstream", name(label))])));
        let rejections = counts(&workers, |worker| &worker.rejections)
            .into_iter()
            .map(|(reason, count)| counter(label_pairs([("reason", reason)]), count));
        let refused = counts(&workers, |worker| &worker.refused_us)
            .into_iter()
            .map(|(reason, us)| seconds(label_pairs([("reason", reason)]), us));
        let handshakes = counts(&workers, |worker| &worker.handshakes)
            .into_iter()
            .map(|(reason, count)| counter(label_pairs([("reason", reason)]), count));
        let limits =
            counts(&workers, |worker| &worker.limits).into_iter().map(|((limit, refused), count)| {
                let result = if refused { "refused" } else { "allowed" };
                counter(label_pairs([("limit", name(limit)), ("result", result)]), count)
            });
        // What ends is read before what begins, so that a difference is never negative.
        let finished = sum(|worker| worker.gauges.finished.get());
        let started = sum(|worker| worker.gauges.started.get());
        let closed = sum(|worker| worker.gauges.closed.get());
        let opened = sum(|worker| worker.gauges.opened.get());
        vec![
            family(&self.requests, MetricType::HISTOGRAM, requests.collect()),
            family(&self.active, MetricType::GAUGE, vec![gauge(started.saturating_sub(finished))]),
            family(&self.upstream, MetricType::HISTOGRAM, upstream.collect()),
            family(&self.rejections, MetricType::COUNTER, rejections.collect()),
            family(&self.refused, MetricType::COUNTER, refused.collect()),
            family(&self.limits, MetricType::COUNTER, limits.collect()),
            family(&self.connections, MetricType::COUNTER, vec![counter(Vec::new(), opened)]),
            family(&self.connections_active, MetricType::GAUGE, vec![gauge(opened.saturating_sub(closed))]),
            family(&self.handshakes, MetricType::COUNTER, handshakes.collect()),
        ]
    }
}

/// The histograms of all workers, added up by label combination.
fn histograms<K: Copy + Ord + Hash>(
    workers: &[Arc<Published>],
    series: impl Fn(&Published) -> &Series<K, HistogramCell>,
) -> BTreeMap<K, Sum> {
    let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
    for worker in workers {
        for (key, cell) in series(worker).snapshot() {
            sums.entry(key).or_default().add(&cell);
        }
    }
    sums
}

/// The counts of all workers, added up by label combination.
fn counts<K: Copy + Ord + Hash>(
    workers: &[Arc<Published>],
    series: impl Fn(&Published) -> &Series<K, Count>,
) -> BTreeMap<K, u64> {
    let mut sums: BTreeMap<K, u64> = BTreeMap::new();
    for worker in workers {
        for (key, cell) in series(worker).snapshot() {
            *sums.entry(key).or_default() += cell.get();
        }
    }
    sums
}

#[derive(Default)]
struct Sum {
    buckets: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Sum {
    fn add(&mut self, cell: &HistogramCell) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&cell.buckets) {
            *sum += bucket.get();
        }
        self.seconds += cell.sum_ns.get() as f64 / 1e9;
    }

    /// The count is the sum of the buckets and not a cell of its own, so that both always agree.
    fn metric(&self, labels: Vec<LabelPair>) -> Metric {
        let mut cumulative = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|((_, bound), count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.buckets.iter().sum());
        histogram.set_sample_sum(self.seconds);
        let mut metric = Metric::from_label(labels);
        metric.set_histogram(histogram);
        metric
    }
}

fn seconds(labels: Vec<LabelPair>, us: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(us as f64 / 1e6);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn counter(labels: Vec<LabelPair>, value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value as f64);
    Metric::from_gauge(gauge)
}

/// A family with the description's name and help.
pub fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Label pairs of names and values.
pub fn label_pairs<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<LabelPair> {
    labels
        .into_iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        })
        .collect()
}
