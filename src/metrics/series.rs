//! The parts that a row of the metrics' table is made of, and how it becomes the library's types.

use std::collections::BTreeMap;

use prometheus::proto;

use super::view::View;
use crate::stats::{Cell, Counter, CounterKind, Histogram, LedgerSnapshot, Snapshot};

/// One metric.
pub(super) struct Metric {
    /// Its name: an API.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [Label],
    pub(super) help: &'static str,
    /// Reads every series of it.
    pub(super) read: fn(&View, &mut Series),
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label, and where its values come from.
pub(super) struct Label {
    pub(super) name: &'static str,
    /// The closed set of its values; none: they come from the configuration, or from the program itself.
    // Only the tests read it, to compare the set with a scrape and with the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "documents the set and is compared in tests"))]
    pub(super) values: Option<fn() -> Vec<&'static str>>,
}

/// The series of one metric.
#[derive(Default)]
pub(super) struct Series(Vec<(Vec<String>, Value)>);

/// The value of one series.
pub(super) enum Value {
    Number(f64),
    Histogram(Histogram),
}

impl Series {
    /// Adds one, with its label values in the order of the row.
    pub(super) fn add(&mut self, labels: &[&str], value: impl Into<Value>) {
        self.0.push((labels.iter().map(ToString::to_string).collect(), value.into()));
    }

    /// Adds one of a listener and transport, with further label values.
    pub(super) fn of(&mut self, ledger: &LedgerSnapshot, more: &[&str], value: impl Into<Value>) {
        let mut labels = vec![&*ledger.listener, ledger.transport.as_str()];
        labels.extend(more);
        self.add(&labels, value);
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Number(value as f64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Number(f64::from(u8::from(value)))
    }
}

impl From<&Histogram> for Value {
    fn from(value: &Histogram) -> Self {
        Value::Histogram(value.clone())
    }
}

impl Metric {
    /// The metric with its series; none where there is none.
    pub(super) fn family(&self, view: &View) -> Option<proto::MetricFamily> {
        let mut series = Series::default();
        (self.read)(view, &mut series);
        let names: Vec<_> = self.labels.iter().map(|label| label.name).collect();
        family(self.name, self.help, self.kind, &names, series)
    }
}

/// What handlers declare, by name, with the series of every listener.
pub(super) fn declared(snapshot: &Snapshot) -> Vec<proto::MetricFamily> {
    let mut all: BTreeMap<&str, (Counter, Series)> = BTreeMap::new();
    for ledger in &snapshot.ledgers {
        for declared in &ledger.counters {
            let entry = all.entry(declared.counter.name);
            let (_, series) = entry.or_insert_with(|| (declared.counter, Series::default()));
            for (values, cell) in &declared.cells {
                match cell {
                    Cell::Number(number) => series.of(ledger, values, *number),
                    Cell::Durations(durations) => series.of(ledger, values, durations),
                }
            }
        }
    }
    let families = all.into_values().filter_map(|(counter, series)| {
        let kind = match counter.kind {
            CounterKind::Counter => Kind::Counter,
            CounterKind::Gauge => Kind::Gauge,
            CounterKind::Lifetimes => Kind::Histogram,
        };
        let labels =
            ["listener", "transport"].into_iter().chain(counter.labels.iter().map(|(name, _)| *name));
        family(counter.name, counter.help, kind, &labels.collect::<Vec<_>>(), series)
    });
    families.collect()
}

fn family(
    name: &str,
    help: &str,
    kind: Kind,
    labels: &[&str],
    series: Series,
) -> Option<proto::MetricFamily> {
    let metrics: Vec<_> =
        series.0.into_iter().map(|(values, value)| sample(kind, labels, values, value)).collect();
    if metrics.is_empty() {
        return None;
    }
    let mut family = proto::MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(match kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    Some(family)
}

fn sample(kind: Kind, names: &[&str], values: Vec<String>, value: Value) -> proto::Metric {
    debug_assert_eq!(names.len(), values.len());
    let pair = |(name, value): (&&str, String)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value(value);
        pair
    };
    let mut metric = proto::Metric::from_label(names.iter().zip(values).map(pair).collect());
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => {
            let mut counter = proto::Counter::default();
            counter.set_value(number);
            metric.set_counter(counter);
        }
        (_, Value::Number(number)) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(number);
            metric.set_gauge(gauge);
        }
        (_, Value::Histogram(histogram)) => metric.set_histogram(buckets(&histogram)),
    }
    metric
}

fn buckets(histogram: &Histogram) -> proto::Histogram {
    let bucket = |(bound, count)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut rendered = proto::Histogram::default();
    rendered.set_bucket(histogram.cumulative().map(bucket).collect());
    rendered.set_sample_count(histogram.count());
    rendered.set_sample_sum(histogram.sum());
    rendered
}
