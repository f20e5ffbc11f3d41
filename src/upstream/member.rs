//! One endpoint of an upstream with what is known of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use tokio::task::AbortHandle;

use crate::config::{Endpoint, Passive};
use crate::stats::{EventKind, Stats, UpstreamAccount};

/// What the operator says of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Admin {
    /// It gets new connections.
    Ready = 0,
    /// It keeps what it has and gets no new connection.
    Drain = 1,
    /// It is taken out: no new connection, and no probe.
    Down = 2,
}

/// One endpoint of an upstream.
#[derive(Debug)]
pub struct Member {
    endpoint: Endpoint,
    account: Arc<UpstreamAccount>,
    stats: Arc<Stats>,
    admin: AtomicU8,
    /// The operator's weight; 0 is the configured one.
    weight: AtomicU32,
    healthy: AtomicBool,
    /// Until when it is ejected, in milliseconds since the gateway's start.
    ejected_until_ms: AtomicU64,
    /// When its last connections failed.
    failures: Mutex<VecDeque<Instant>>,
    /// What a name resolved to, and when.
    pub(super) resolved: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    pub(super) probe: Mutex<Option<AbortHandle>>,
    /// The running sum of smooth weighted round-robin.
    pub(super) turn: AtomicI64,
}

/// A member as it is now.
#[derive(Debug, Clone)]
pub struct MemberView {
    /// The endpoint, as the configuration writes it.
    pub endpoint: String,
    /// What the operator says.
    pub state: Admin,
    /// Whether probes find it healthy.
    pub healthy: bool,
    /// Whether it is ejected for failing connections.
    pub ejected: bool,
    /// The weight in force.
    pub weight: u32,
    /// Whether it is used only when no other is up.
    pub backup: bool,
}

impl Member {
    pub(super) fn new(endpoint: Endpoint, account: Arc<UpstreamAccount>, stats: Arc<Stats>) -> Self {
        Member {
            endpoint,
            account,
            stats,
            admin: AtomicU8::new(0),
            weight: AtomicU32::new(0),
            healthy: AtomicBool::new(true),
            ejected_until_ms: AtomicU64::new(0),
            failures: Mutex::default(),
            resolved: Mutex::default(),
            probe: Mutex::default(),
            turn: AtomicI64::new(0),
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its account.
    pub fn account(&self) -> &Arc<UpstreamAccount> {
        &self.account
    }

    /// What the operator says.
    pub fn admin(&self) -> Admin {
        match self.admin.load(Relaxed) {
            1 => Admin::Drain,
            2 => Admin::Down,
            _ => Admin::Ready,
        }
    }

    /// Says what becomes of it.
    pub fn set_admin(&self, admin: Admin) {
        self.admin.store(admin as u8, Relaxed);
        self.publish();
    }

    /// The weight in force, where the configuration says `configured`.
    pub fn weight(&self, configured: u32) -> u32 {
        match self.weight.load(Relaxed) {
            0 => configured,
            weight => weight,
        }
    }

    /// Sets a weight that holds until the configuration changes it.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Relaxed);
    }

    /// Whether probes find it healthy.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// Says what probes find; true if that is news.
    pub(super) fn set_healthy(&self, healthy: bool) -> bool {
        let news = self.healthy.swap(healthy, Relaxed) != healthy;
        self.publish();
        news
    }

    /// Whether it is ejected for failing connections.
    pub fn is_ejected(&self) -> bool {
        self.ejected_until_ms.load(Relaxed) > self.stats.now_ms()
    }

    /// Whether new connections may go there, ejected or not.
    pub(super) fn is_eligible(&self) -> bool {
        self.admin() == Admin::Ready && self.is_healthy()
    }

    /// A connection failed; true if that ejects it.
    pub(super) fn failed(&self, passive: &Passive) -> bool {
        let Some(ejection) = passive.ejection.get() else { return false };
        let now = Instant::now();
        let mut failures = self.locked(&self.failures);
        failures.push_back(now);
        while failures.front().is_some_and(|at| now.duration_since(*at) > passive.window.get()) {
            failures.pop_front();
        }
        if failures.len() < passive.failures as usize {
            return false;
        }
        failures.clear();
        drop(failures);
        let millis = u64::try_from(ejection.as_millis()).unwrap_or(u64::MAX);
        self.ejected_until_ms.store(self.stats.now_ms().saturating_add(millis), Relaxed);
        self.account.ejections.fetch_add(1, Relaxed);
        self.publish();
        true
    }

    /// A connection succeeded.
    pub(super) fn succeeded(&self) {
        self.locked(&self.failures).clear();
        if self.ejected_until_ms.swap(0, Relaxed) > 0 {
            self.publish();
        }
    }

    /// Tells the account whether it is up.
    pub(super) fn publish(&self) {
        self.account.up.store(self.is_eligible() && !self.is_ejected(), Relaxed);
    }

    /// Says on the bus what has become of it.
    pub(super) fn tell(&self, upstream: &str, state: &str) {
        self.stats.events().publish(
            EventKind::Upstream,
            || json!({ "upstream": upstream, "endpoint": self.endpoint.to_string(), "state": state }),
        );
    }

    /// How long an ejection lasts from now on.
    pub(super) fn ejected_for(&self) -> Option<Duration> {
        let left = self.ejected_until_ms.load(Relaxed).checked_sub(self.stats.now_ms())?;
        (left > 0).then(|| Duration::from_millis(left))
    }

    pub(super) fn stop_probe(&self) {
        if let Some(probe) = self.locked(&self.probe).take() {
            probe.abort();
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a method of what is locked")]
    pub(super) fn locked<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop_probe();
    }
}
