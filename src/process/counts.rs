//! What a listener's processes come to.

use std::sync::Arc;

use crate::stats::{Counter, CounterKind, Counters, Ledger, ProcessFailure};

/// The labels of one handler's numbers, which are the same metrics for all handlers.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The handler's type as the one value of `handler`.
    pub handler: &'static [(&'static str, &'static [&'static str])],
    /// The same with `reason` and [`FAILURES`].
    pub failures: &'static [(&'static str, &'static [&'static str])],
}

/// The values of `reason`.
pub const FAILURES: &[&str] = &[
    ProcessFailure::Exit.as_str(),
    ProcessFailure::Signal.as_str(),
    ProcessFailure::Timeout.as_str(),
    ProcessFailure::Spawn.as_str(),
    ProcessFailure::Limit.as_str(),
];

impl Names {
    /// What a handler with these labels declares.
    pub const fn counters(self) -> [Counter; 3] {
        [self.active(), self.started(), self.failed()]
    }

    const fn active(self) -> Counter {
        Counter {
            name: "polygate_processes_active",
            help: "Processes that run for connections.",
            kind: CounterKind::Gauge,
            labels: self.handler,
        }
    }

    const fn started(self) -> Counter {
        Counter {
            name: "polygate_processes_started_total",
            help: "Processes started for connections.",
            kind: CounterKind::Counter,
            labels: self.handler,
        }
    }

    const fn failed(self) -> Counter {
        Counter {
            name: "polygate_process_failures_total",
            help: "Processes that failed or were not started, by reason.",
            kind: CounterKind::Counter,
            labels: self.failures,
        }
    }
}

/// The cells of one listener and transport.
#[derive(Debug, Clone)]
pub struct Counts {
    active: Arc<Counters>,
    started: Arc<Counters>,
    failed: Arc<Counters>,
}

impl Counts {
    /// Those of a ledger.
    pub fn of(ledger: &Ledger, names: Names) -> Self {
        Counts {
            active: ledger.counters(names.active()),
            started: ledger.counters(names.started()),
            failed: ledger.counters(names.failed()),
        }
    }

    /// Counts a failure.
    pub fn fail(&self, reason: ProcessFailure) {
        self.failed.add(&[0, reason as usize], 1);
    }

    /// Counts a process that has started, as active until the account is dropped.
    pub(super) fn open(&self) -> Account {
        self.started.add(&[0], 1);
        self.active.add(&[0], 1);
        Account(self.clone())
    }
}

/// A process that is counted as active.
#[derive(Debug)]
pub struct Account(Counts);

impl Drop for Account {
    fn drop(&mut self) {
        self.0.active.sub(&[0], 1);
    }
}
