//! How far a transfer is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Verb;
use super::counts::{Counts, Kind};
use crate::storage::HomePath;

/// What is being transferred, and how far it is. Shared by the work and whoever shows it.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    verb: Verb,
    kind: Kind,
    path: HomePath,
    bytes: AtomicU64,
    counts: Arc<Counts>,
}

impl Progress {
    pub(super) fn new(verb: Verb, kind: Kind, path: HomePath, counts: &Arc<Counts>) -> Self {
        Progress(Arc::new(Inner { verb, kind, path, bytes: AtomicU64::new(0), counts: counts.clone() }))
    }

    /// The command, the kind of transfer, and the name.
    pub(super) fn about(&self) -> (Verb, Kind, &HomePath) {
        (self.0.verb, self.0.kind, &self.0.path)
    }

    /// So many bytes more have moved.
    pub(super) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
        self.0.counts.moved(self.0.kind, bytes as u64);
    }

    /// So many have moved so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {} bytes", self.0.verb.name(), self.0.path, self.bytes())
    }
}
