//! The account of one listener and transport: what its closed conns came to, and its live ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::counters::{Counter, Counters, Datagrams, Told};
use super::histogram::{Histogram, LIFETIME_SECONDS, WORK_SECONDS};
use super::labels::{AcceptError, CloseReason, RejectReason, TlsFailure, TlsVersion};
use super::locked;
use super::meter::Meter;
use super::peer::ConnId;
use super::spread::Spread;
use crate::config::Transport;

/// Shards of a ledger: conns that end at once on several workers rarely meet in one.
const SHARDS: usize = 8;

/// [`WORK_SECONDS`] in nanoseconds.
const WORK_NANOS: [u64; WORK_SECONDS.len()] = {
    let mut nanos = [0; WORK_SECONDS.len()];
    let mut at = 0;
    while at < nanos.len() {
        nanos[at] = (WORK_SECONDS[at] * 1e9 + 0.5) as u64;
        at += 1;
    }
    nanos
};

/// A shard drops memory when its map is this many times larger than what it holds.
const SHRINK_FACTOR: usize = 4;

#[derive(Debug)]
struct Shard {
    live: HashMap<ConnId, Arc<Meter>>,
    closed: Closed,
}

/// What closed conns came to.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub(super) by_reason: [u64; CloseReason::COUNT],
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) durations: Histogram,
}

impl Default for Closed {
    fn default() -> Self {
        Closed {
            by_reason: [0; CloseReason::COUNT],
            received: 0,
            sent: 0,
            durations: Histogram::new(LIFETIME_SECONDS),
        }
    }
}

/// The account of one listener and transport. It outlives reloads that keep the listener's name.
#[derive(Debug)]
pub struct Ledger {
    listener: Arc<str>,
    transport: Transport,
    shown: AtomicBool,
    shards: [Mutex<Shard>; SHARDS],
    rejected: [AtomicU64; RejectReason::COUNT],
    told: [Told; RejectReason::COUNT],
    accept_errors: [AtomicU64; AcceptError::COUNT],
    tls_handshakes: [AtomicU64; TlsVersion::COUNT],
    tls_failures: [AtomicU64; TlsFailure::COUNT],
    handler_errors: AtomicU64,
    handler_panics: AtomicU64,
    /// One a bound of [`WORK_SECONDS`], one above the last, and the sum in nanoseconds.
    work: Spread,
    counters: Mutex<Vec<Arc<Counters>>>,
    /// Datagrams of the listener.
    pub datagrams: Datagrams,
}

impl Ledger {
    pub(super) fn new(listener: Arc<str>, transport: Transport) -> Self {
        Ledger {
            listener,
            transport,
            shown: AtomicBool::new(true),
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard { live: HashMap::new(), closed: Closed::default() })
            }),
            rejected: Default::default(),
            told: Default::default(),
            accept_errors: Default::default(),
            tls_handshakes: Default::default(),
            tls_failures: Default::default(),
            handler_errors: AtomicU64::new(0),
            handler_panics: AtomicU64::new(0),
            work: Spread::new(WORK_SECONDS.len() + 2),
            counters: Mutex::default(),
            datagrams: Datagrams::new(),
        }
    }

    /// The listener's name.
    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// The transport.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    pub(super) fn is(&self, listener: &str, transport: Transport) -> bool {
        *self.listener == *listener && self.transport == transport
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown.load(Relaxed)
    }

    pub(super) fn hide(&self) {
        self.shown.store(false, Relaxed);
    }

    /// Counts a conn that was turned away after accept.
    pub fn reject(&self, reason: RejectReason) {
        self.rejected[reason as usize].fetch_add(1, Relaxed);
    }

    /// How many were turned away for that reason.
    pub fn rejected(&self, reason: RejectReason) -> u64 {
        self.rejected[reason as usize].load(Relaxed)
    }

    /// Whether the bus should be told that conns are turned away for that reason: at first, and then once in a while.
    pub fn should_tell(&self, reason: RejectReason, now_ms: u64) -> bool {
        self.told[reason as usize].is_due(now_ms)
    }

    /// Counts a TLS handshake.
    pub fn tls_handshake(&self, version: TlsVersion) {
        self.tls_handshakes[version as usize].fetch_add(1, Relaxed);
    }

    /// How many TLS handshakes there were.
    pub fn tls_handshakes(&self, version: TlsVersion) -> u64 {
        self.tls_handshakes[version as usize].load(Relaxed)
    }

    /// Counts a TLS handshake that failed.
    pub fn tls_failure(&self, reason: TlsFailure) {
        self.tls_failures[reason as usize].fetch_add(1, Relaxed);
    }

    /// How many TLS handshakes failed for that reason.
    pub fn tls_failures(&self, reason: TlsFailure) -> u64 {
        self.tls_failures[reason as usize].load(Relaxed)
    }

    /// Counts an error of accept.
    pub fn accept_error(&self, error: AcceptError) {
        self.accept_errors[error as usize].fetch_add(1, Relaxed);
    }

    /// How many such errors there were.
    pub fn accept_errors(&self, error: AcceptError) -> u64 {
        self.accept_errors[error as usize].load(Relaxed)
    }

    /// Counts a unit of the handler's work, in seconds.
    pub fn observe_work(&self, seconds: f64) {
        self.observe_units(1, Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }

    /// Counts units of the handler's work that took so long each.
    pub fn observe_units(&self, units: u64, each: Duration) {
        let nanos = u64::try_from(each.as_nanos()).unwrap_or(u64::MAX);
        // From the front: nearly all are short.
        let bucket = WORK_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(WORK_NANOS.len());
        self.work.add(bucket, units);
        self.work.add(WORK_NANOS.len() + 1, nanos.wrapping_mul(units));
    }

    /// The handler's units of work.
    pub fn work(&self) -> Histogram {
        let counts = (0..=WORK_SECONDS.len()).map(|bucket| self.work.read(bucket)).collect();
        Histogram::of(WORK_SECONDS, counts, self.work.read(WORK_SECONDS.len() + 1) as f64 / 1e9)
    }

    /// Counts a failure of the handler.
    pub fn handler_error(&self) {
        self.handler_errors.fetch_add(1, Relaxed);
    }

    /// Counts a panic of the handler.
    pub fn handler_panic(&self) {
        self.handler_panics.fetch_add(1, Relaxed);
    }

    /// Failures and panics of the handler.
    pub fn handler_failures(&self) -> (u64, u64) {
        (self.handler_errors.load(Relaxed), self.handler_panics.load(Relaxed))
    }

    /// The cells of a number that a handler declares; the ones that are there, so that they survive a reload.
    pub fn counters(&self, counter: Counter) -> Arc<Counters> {
        let mut all = locked(&self.counters);
        if let Some(found) = all.iter().find(|counters| counters.counter == counter) {
            return found.clone();
        }
        let new = Arc::new(Counters::new(counter));
        all.push(new.clone());
        new
    }

    pub(super) fn declared(&self) -> Vec<Arc<Counters>> {
        locked(&self.counters).clone()
    }

    /// How many conns are open.
    pub fn active(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).live.len()).sum()
    }

    fn shard(&self, id: ConnId) -> &Mutex<Shard> {
        &self.shards[(id.0 % SHARDS as u64) as usize]
    }

    pub(super) fn enter(&self, meter: &Arc<Meter>) {
        locked(self.shard(meter.id())).live.insert(meter.id(), meter.clone());
    }

    pub(super) fn settle(&self, meter: &Meter, reason: CloseReason) {
        let age_ms = meter.site().stats.now_ms().saturating_sub(meter.started_ms());
        let mut shard = locked(self.shard(meter.id()));
        // Only the first settling finds the meter, so a conn is closed once.
        let Some(entry) = shard.live.remove(&meter.id()) else { return };
        shard.closed.by_reason[reason as usize] += 1;
        shard.closed.received = shard.closed.received.wrapping_add(meter.received());
        shard.closed.sent = shard.closed.sent.wrapping_add(meter.sent());
        shard.closed.durations.observe(age_ms as f64 / 1000.0);
        let held = shard.live.len();
        if shard.live.capacity() > 64 && shard.live.capacity() / SHRINK_FACTOR > held {
            shard.live.shrink_to(held * 2);
        }
        drop(shard);
        drop(entry);
    }

    /// Takes a live conn out that no handler got. Under the shard's lock, so that it is in exactly one count.
    pub(super) fn turn_away(&self, meter: &Meter, reason: RejectReason) {
        let mut shard = locked(self.shard(meter.id()));
        if shard.live.remove(&meter.id()).is_some() {
            self.reject(reason);
        }
    }

    pub(super) fn find(&self, id: ConnId) -> Option<Arc<Meter>> {
        locked(self.shard(id)).live.get(&id).cloned()
    }

    /// The meters are collected first, so that `f` runs without a lock.
    pub(super) fn each_live(&self, f: &mut impl FnMut(&Arc<Meter>)) {
        for shard in &self.shards {
            let meters: Vec<_> = locked(shard).live.values().cloned().collect();
            meters.iter().for_each(&mut *f);
        }
    }

    /// Tells the live conns whose listener drains.
    pub fn notice_drain(&self) {
        self.each_live(&mut |meter| meter.notice_drain());
    }

    /// How many of its meters are live.
    pub(super) fn live(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).live.len()).sum()
    }

    /// Closed and live conns: what the closed ones came to with the live ones' bytes added, and how many
    /// are live. Each shard is read under its lock, so that no conn is counted twice or not at all.
    pub(super) fn totals(&self) -> (Closed, u64) {
        let mut sum = Closed::default();
        let mut active = 0;
        for shard in &self.shards {
            let shard = locked(shard);
            for (total, n) in sum.by_reason.iter_mut().zip(&shard.closed.by_reason) {
                *total += n;
            }
            sum.received = sum.received.wrapping_add(shard.closed.received);
            sum.sent = sum.sent.wrapping_add(shard.closed.sent);
            sum.durations.merge(&shard.closed.durations);
            for meter in shard.live.values() {
                active += 1;
                sum.received = sum.received.wrapping_add(meter.received());
                sum.sent = sum.sent.wrapping_add(meter.sent());
            }
        }
        (sum, active)
    }
}
