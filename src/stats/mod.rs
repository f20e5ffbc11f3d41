//! Statistics: what happened, counted once and read in one place.
//!
//! A [`Meter`] is the account of one conn; only its own task writes it, so the hot path touches no
//! shared counter. A [`Ledger`] holds what the closed conns of one listener and transport came to, and
//! the live ones. [`Stats`] holds the ledgers and what the control plane counts. [`Stats::snapshot`] is
//! the only reader: metrics and admin API are two views of what it returns.

#[macro_use]
mod labels;

mod control;
mod counters;
mod events;
mod histogram;
mod ledger;
mod meter;
mod peer;
mod snapshot;
mod spread;
mod upstreams;

pub use control::{AdminRequest, Control, LastReload};
pub use counters::{Cell, Counter, CounterKind, Counters, Datagrams};
pub use events::{Event, EventKind, EventKinds, Events, MAX_SUBSCRIBERS, REPLAY, Subscription};
pub use histogram::{Histogram, LIFETIME_SECONDS, WORK_SECONDS};
pub use labels::{
    AcceptError, AdminCut, CloseReason, ConnectFailure, DatagramDrop, LogLevel, ProcessFailure, RejectReason,
    Stage, TlsFailure, TlsVersion, Trigger,
};
pub use ledger::Ledger;
pub use meter::{Meter, Phase, Site};
pub use peer::{ConnId, Peer};
pub use snapshot::{ConnView, ControlSnapshot, CounterSnapshot, DatagramSnapshot, LedgerSnapshot, Snapshot};

pub use upstreams::{UpstreamAccount, UpstreamSnapshot};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::config::Transport;

/// Every counter of one gateway.
#[derive(Debug)]
pub struct Stats {
    epoch: Instant,
    started_at: SystemTime,
    next_id: AtomicU64,
    ledgers: Mutex<Vec<Arc<Ledger>>>,
    upstreams: Mutex<Vec<Arc<UpstreamAccount>>>,
    control: Control,
    events: Events,
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

impl Stats {
    /// Empty, starting now.
    pub fn new() -> Self {
        Stats {
            epoch: Instant::now(),
            started_at: SystemTime::now(),
            next_id: AtomicU64::new(1),
            ledgers: Mutex::default(),
            upstreams: Mutex::default(),
            control: Control::default(),
            events: Events::default(),
        }
    }

    /// Milliseconds since the gateway started, on the monotonic clock.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When the gateway started.
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// The wall-clock time of an instant given in milliseconds since the start.
    pub fn at(&self, ms: u64) -> SystemTime {
        self.started_at + Duration::from_millis(ms)
    }

    /// What the control plane counts.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The bus of events.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// A number for a new conn; never used twice.
    pub fn next_id(&self) -> ConnId {
        ConnId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The ledger of a listener's transport: the one that is there, so that counters survive a reload, or a new one.
    pub fn open(&self, listener: &str, transport: Transport) -> Arc<Ledger> {
        let mut ledgers = locked(&self.ledgers);
        if let Some(found) = ledgers.iter().find(|l| l.is(listener, transport) && l.is_shown()) {
            return found.clone();
        }
        let ledger = Arc::new(Ledger::new(listener.into(), transport));
        ledgers.push(ledger.clone());
        ledger
    }

    /// Ends the series of every ledger that `keep` refuses. Their conns stay listed until they end.
    pub fn retain(&self, keep: impl Fn(&str, Transport) -> bool) {
        for ledger in locked(&self.ledgers).iter() {
            if !keep(ledger.listener(), ledger.transport()) {
                ledger.hide();
            }
        }
    }

    /// The account of an upstream's endpoint: the one that is there, so that it survives a reload, or a new one.
    pub fn upstream(&self, upstream: &str, endpoint: &str) -> Arc<UpstreamAccount> {
        let mut all = locked(&self.upstreams);
        if let Some(found) = all.iter().find(|a| a.is(upstream, endpoint) && a.is_shown()) {
            return found.clone();
        }
        let account = Arc::new(UpstreamAccount::new(upstream, endpoint));
        all.push(account.clone());
        account
    }

    /// Ends the series of every upstream endpoint that `keep` refuses.
    pub fn retain_upstreams(&self, keep: impl Fn(&UpstreamAccount) -> bool) {
        locked(&self.upstreams).retain(|account| {
            let kept = keep(account);
            if !kept {
                account.hide();
            }
            kept
        });
    }

    /// Calls `f` with every live meter, removed listeners' included.
    pub fn each_live(&self, mut f: impl FnMut(&Arc<Meter>)) {
        for ledger in self.all() {
            ledger.each_live(&mut f);
        }
    }

    /// How many live meters are those of datagrams.
    pub fn flows(&self) -> usize {
        self.all().iter().filter(|ledger| !ledger.transport().is_stream()).map(|ledger| ledger.live()).sum()
    }

    /// The live meter of that number.
    pub fn find(&self, id: ConnId) -> Option<Arc<Meter>> {
        self.all().iter().find_map(|ledger| ledger.find(id))
    }

    /// What all meters and ledgers say now. Reading a ledger locks one of its shards at a time, so totals
    /// never run backwards from one snapshot to the next.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self)
    }

    /// The live conns, oldest first.
    pub fn conns(&self) -> Vec<ConnView> {
        let mut views = Vec::new();
        self.each_live(|meter| views.push(ConnView::of(meter, self)));
        views.sort_unstable_by_key(|view| view.id);
        views
    }

    /// Shown ledgers, and hidden ones that somebody still holds: a conn, or a loop that takes what is queued.
    fn all(&self) -> Vec<Arc<Ledger>> {
        let mut ledgers = locked(&self.ledgers);
        ledgers.retain(|l| l.is_shown() || Arc::strong_count(l) > 1);
        ledgers.clone()
    }
}

/// Locks; a panic in another holder leaves plain counters behind, which stay usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
