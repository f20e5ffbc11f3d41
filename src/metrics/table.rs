//! The table of all metrics, in the order in which a scrape shows them. A new metric is one row in the fitting part of
//! it, and one in `docs/metrics.md` (a test compares the two).

mod control;
mod listeners;

use super::series::{Kind, Label, Metric, Series};
use super::view::View;
use crate::config::Transport;

/// A label whose values are a closed set of the code.
macro_rules! closed {
    ($name:literal, $set:ident) => {
        Label { name: $name, values: Some(|| $set::ALL.iter().map(|word| word.as_str()).collect()) }
    };
}
use closed;

/// A label whose values come from the configuration, or from the program itself.
const fn open(name: &'static str) -> Label {
    Label { name, values: None }
}

const LISTENER: Label = open("listener");
const TRANSPORT: Label = closed!("transport", Transport);

/// One metric a row: name, type, labels, help, how it is read.
const fn row(
    name: &'static str,
    kind: Kind,
    labels: &'static [Label],
    help: &'static str,
    read: fn(&View, &mut Series),
) -> Metric {
    Metric { name, kind, labels, help, read }
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Metric> {
    [control::GATEWAY, listeners::LISTENERS, listeners::UPSTREAMS, control::ADMIN].into_iter().flatten()
}
