//! What Prometheus scrapes: one view of the snapshot.
//!
//! `table` has one row a metric. Each scrape gathers what there is to know once, reads
//! every row from it and renders the result; nothing is counted here.

mod kernel;
mod process;
mod series;
mod table;
mod view;

pub use process::{Process, file_descriptors};

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::{TextEncoder, proto};

use crate::supervisor::Supervisor;
use kernel::Drops;
use view::View;

/// The type of a scrape's answer. Prometheus 3 refuses a scrape without a version in it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of one gateway. As a [`Collector`] they also fit the registry of a program that embeds one.
pub struct Metrics {
    supervisor: Supervisor,
    drops: Mutex<Drops>,
    descriptions: Vec<Desc>,
}

impl Metrics {
    /// Views that gateway.
    pub fn new(supervisor: Supervisor) -> Self {
        Metrics { supervisor, drops: Mutex::default(), descriptions: descriptions() }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        encode(&self.collect())
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        families(&View::gather(&self.supervisor, &mut drops))
    }
}

/// Every family that has a series: the table's, then those that handlers declare.
fn families(view: &View) -> Vec<proto::MetricFamily> {
    let mut families: Vec<_> = table::all().filter_map(|metric| metric.family(view)).collect();
    families.extend(series::declared(&view.snapshot));
    families
}

fn encode(families: &[proto::MetricFamily]) -> String {
    TextEncoder::new().encode_to_string(families).unwrap_or_else(|error| {
        // Only a family without name or series is an error, and there is none.
        tracing::error!(%error, "cannot render the metrics");
        String::new()
    })
}

fn descriptions() -> Vec<Desc> {
    let describe = |metric: &series::Metric| {
        let labels = metric.labels.iter().map(|label| label.name.to_owned()).collect();
        Desc::new(metric.name.into(), metric.help.into(), labels, Default::default()).ok()
    };
    table::all().filter_map(describe).collect()
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
