//! The accounts of upstream endpoints: what was dialled, what failed, what was carried.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::histogram::{Histogram, WORK_SECONDS};
use super::labels::{CloseReason, ConnectFailure};
use super::locked;
use super::meter::Meter;
use super::peer::ConnId;

/// The account of one endpoint of one upstream. It outlives reloads that keep both.
#[derive(Debug)]
pub struct UpstreamAccount {
    upstream: Arc<str>,
    endpoint: Arc<str>,
    shown: AtomicBool,
    /// Whether it is up: neither found unhealthy, nor ejected, nor taken down.
    pub up: AtomicBool,
    connects: AtomicU64,
    failures: [AtomicU64; ConnectFailure::COUNT],
    durations: Mutex<Histogram>,
    /// Probes, and those that failed.
    pub health_checks: AtomicU64,
    /// Probes that failed.
    pub health_check_failures: AtomicU64,
    /// How often it was ejected for failing connections.
    pub ejections: AtomicU64,
    carried: Mutex<Carried>,
}

/// What is carried now, and what the conns that ended came to.
#[derive(Debug, Default)]
struct Carried {
    live: HashMap<ConnId, Arc<Meter>>,
    to: u64,
    from: u64,
}

/// What an account says now.
#[derive(Debug, Clone)]
pub struct UpstreamSnapshot {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The endpoint, as the configuration writes it.
    pub endpoint: Arc<str>,
    /// Whether it is up.
    pub up: bool,
    /// Connections that it carries.
    pub active: u64,
    /// Connections tried.
    pub connects: u64,
    /// Those that failed, by [`ConnectFailure`].
    pub failures: Vec<(ConnectFailure, u64)>,
    /// How long the successful ones took, in seconds.
    pub durations: Histogram,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Probes.
    pub health_checks: u64,
    /// Probes that failed.
    pub health_check_failures: u64,
    /// How often it was ejected.
    pub ejections: u64,
}

impl UpstreamAccount {
    pub(super) fn new(upstream: &str, endpoint: &str) -> Self {
        UpstreamAccount {
            upstream: upstream.into(),
            endpoint: endpoint.into(),
            shown: AtomicBool::new(true),
            up: AtomicBool::new(true),
            connects: AtomicU64::new(0),
            failures: Default::default(),
            durations: Mutex::new(Histogram::new(WORK_SECONDS)),
            health_checks: AtomicU64::new(0),
            health_check_failures: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            carried: Mutex::default(),
        }
    }

    pub(super) fn is(&self, upstream: &str, endpoint: &str) -> bool {
        *self.upstream == *upstream && *self.endpoint == *endpoint
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown.load(Relaxed)
    }

    pub(super) fn hide(&self) {
        self.shown.store(false, Relaxed);
    }

    /// Counts a connection that was tried: how long it took in seconds, or why it failed.
    pub fn connected(&self, result: Result<f64, ConnectFailure>) {
        self.connects.fetch_add(1, Relaxed);
        match result {
            Ok(seconds) => locked(&self.durations).observe(seconds),
            Err(reason) => drop(self.failures[reason as usize].fetch_add(1, Relaxed)),
        }
    }

    /// Carries a conn from now on. What it has received goes to the endpoint, what it sends comes from there.
    pub fn enter(&self, meter: &Arc<Meter>) {
        locked(&self.carried).live.insert(meter.id(), meter.clone());
    }

    /// The conn is not carried any more.
    pub fn leave(&self, meter: &Meter) {
        let mut carried = locked(&self.carried);
        if carried.live.remove(&meter.id()).is_some() {
            carried.to = carried.to.wrapping_add(meter.received());
            carried.from = carried.from.wrapping_add(meter.sent());
        }
    }

    /// How many conns it carries.
    pub fn active(&self) -> usize {
        locked(&self.carried).live.len()
    }

    /// Kills every conn that it carries, and returns how many.
    pub fn kill_all(&self, reason: CloseReason) -> usize {
        let meters: Vec<_> = locked(&self.carried).live.values().cloned().collect();
        meters.iter().filter(|meter| meter.kill(reason)).count()
    }

    /// What it says now.
    pub fn snapshot(&self) -> UpstreamSnapshot {
        let carried = locked(&self.carried);
        let live = |bytes: fn(&Meter) -> u64| carried.live.values().map(|meter| bytes(meter)).sum::<u64>();
        let read = |n: &AtomicU64| n.load(Relaxed);
        UpstreamSnapshot {
            upstream: self.upstream.clone(),
            endpoint: self.endpoint.clone(),
            up: self.up.load(Relaxed),
            active: carried.live.len() as u64,
            connects: read(&self.connects),
            failures: ConnectFailure::ALL.iter().map(|r| (*r, read(&self.failures[*r as usize]))).collect(),
            durations: locked(&self.durations).clone(),
            sent_bytes: carried.to.wrapping_add(live(Meter::received)),
            received_bytes: carried.from.wrapping_add(live(Meter::sent)),
            health_checks: read(&self.health_checks),
            health_check_failures: read(&self.health_check_failures),
            ejections: read(&self.ejections),
        }
    }
}
