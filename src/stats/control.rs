//! What the control plane counts: reloads, admin requests, log events.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use super::histogram::{Histogram, WORK_SECONDS};
use super::labels::{AdminCut, LogLevel, Stage, Trigger};
use super::locked;

/// The series of one kind of admin request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdminRequest {
    /// The matched path, or `unmatched`.
    pub route: String,
    /// The method, or `OTHER`.
    pub method: &'static str,
    /// The status.
    pub code: u16,
}

/// Counters of the control plane.
#[derive(Debug, Default)]
pub struct Control {
    reloads: [AtomicU64; Trigger::COUNT],
    failures: [[AtomicU64; Stage::COUNT]; Trigger::COUNT],
    last: Mutex<LastReload>,
    draining: AtomicBool,
    log_events: [AtomicU64; LogLevel::COUNT],
    events_dropped: AtomicU64,
    auth_failures: AtomicU64,
    admin_cuts: [AtomicU64; AdminCut::COUNT],
    admin: Mutex<AdminCounters>,
}

/// How the last reload (or the start) went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastReload {
    /// Whether it succeeded.
    pub successful: bool,
    /// When a configuration was last taken over.
    pub success_at: SystemTime,
    /// First 48 bits of the effective configuration's SHA-256.
    pub config_hash: u64,
}

impl Default for LastReload {
    fn default() -> Self {
        LastReload { successful: true, success_at: SystemTime::UNIX_EPOCH, config_hash: 0 }
    }
}

#[derive(Debug, Default)]
pub(super) struct AdminCounters {
    pub(super) requests: BTreeMap<AdminRequest, u64>,
    pub(super) durations: BTreeMap<(String, &'static str), Histogram>,
}

impl Control {
    /// Counts an attempt to reload. Start-up and dry runs are none.
    pub fn reload_attempted(&self, trigger: Trigger) {
        self.reloads[trigger as usize].fetch_add(1, Relaxed);
    }

    /// A reload failed; what ran before runs on.
    pub fn reload_failed(&self, trigger: Trigger, stage: Stage) {
        self.failures[trigger as usize][stage as usize].fetch_add(1, Relaxed);
        locked(&self.last).successful = false;
    }

    /// A configuration was taken over, at start or by a reload.
    pub fn config_applied(&self, config_hash: &[u8; 32]) {
        let mut first = [0; 8];
        first[2..].copy_from_slice(&config_hash[..6]);
        *locked(&self.last) = LastReload {
            successful: true,
            success_at: SystemTime::now(),
            config_hash: u64::from_be_bytes(first),
        };
    }

    /// How the last reload went.
    pub fn last_reload(&self) -> LastReload {
        *locked(&self.last)
    }

    /// The gateway drains, or no longer does.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Relaxed);
    }

    /// Whether the gateway drains.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Counts a log event.
    pub fn log_event(&self, level: LogLevel) {
        self.log_events[level as usize].fetch_add(1, Relaxed);
    }

    /// Log events of a level.
    pub fn log_events(&self, level: LogLevel) -> u64 {
        self.log_events[level as usize].load(Relaxed)
    }

    /// Log events that nobody took in time; a total that only grows.
    pub fn set_events_dropped(&self, total: u64) {
        self.events_dropped.fetch_max(total, Relaxed);
    }

    /// Log events that were dropped.
    pub fn events_dropped(&self) -> u64 {
        self.events_dropped.load(Relaxed)
    }

    /// Counts a request to the admin API whose token was missing, wrong or of too small a role.
    pub fn admin_auth_failed(&self) {
        self.auth_failures.fetch_add(1, Relaxed);
    }

    /// Such requests.
    pub fn admin_auth_failures(&self) -> u64 {
        self.auth_failures.load(Relaxed)
    }

    /// Counts a connection to the admin API that was cut off.
    pub fn admin_cut(&self, reason: AdminCut) {
        self.admin_cuts[reason as usize].fetch_add(1, Relaxed);
    }

    /// Such connections.
    pub fn admin_cuts(&self, reason: AdminCut) -> u64 {
        self.admin_cuts[reason as usize].load(Relaxed)
    }

    /// Reloads asked for by a trigger.
    pub fn reloads(&self, trigger: Trigger) -> u64 {
        self.reloads[trigger as usize].load(Relaxed)
    }

    /// Reloads by a trigger that failed at a stage.
    pub fn reload_failures(&self, trigger: Trigger, stage: Stage) -> u64 {
        self.failures[trigger as usize][stage as usize].load(Relaxed)
    }

    /// Counts an admin request that took so many seconds.
    pub fn admin_request(&self, request: AdminRequest, seconds: f64) {
        let mut admin = locked(&self.admin);
        let series = (request.route.clone(), request.method);
        admin.durations.entry(series).or_insert_with(|| Histogram::new(WORK_SECONDS)).observe(seconds);
        *admin.requests.entry(request).or_default() += 1;
    }

    pub(super) fn admin_requests(&self) -> Vec<(AdminRequest, u64)> {
        locked(&self.admin).requests.iter().map(|(k, v)| (k.clone(), *v)).collect()
    }

    pub(super) fn admin_durations(&self) -> Vec<(String, &'static str, Histogram)> {
        locked(&self.admin).durations.iter().map(|((r, m), h)| (r.clone(), *m, h.clone())).collect()
    }
}
