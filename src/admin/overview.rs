//! The gateway at a glance: totals, rates over the last second, ten seconds and minute, warnings, the last reload.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::openapi::{Fault, Refused};
use super::wire::{Finding, time};
use crate::stats::{EventKind, Snapshot};
use crate::supervisor::{Lifecycle, State as Accepting, Supervisor};

/// The windows that rates are over, in seconds.
const WINDOWS: [u64; 3] = [1, 10, 60];

/// How often the counters are read for that.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(overview))
}

/// What has come and gone since the start.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
struct Totals {
    connections_active: u64,
    connections_accepted_total: u64,
    connections_rejected_total: u64,
    datagrams_received_total: u64,
    datagrams_dropped_total: u64,
    received_bytes: u64,
    sent_bytes: u64,
    handler_errors_total: u64,
    handler_panics_total: u64,
}

impl Totals {
    fn of(snapshot: &Snapshot) -> Self {
        let mut totals = Totals::default();
        for ledger in &snapshot.ledgers {
            totals.connections_active += ledger.active;
            totals.connections_accepted_total += ledger.accepted;
            totals.connections_rejected_total += ledger.rejected.iter().map(|(_, n)| n).sum::<u64>();
            totals.datagrams_received_total += ledger.datagrams.received;
            totals.datagrams_dropped_total += ledger.datagrams.dropped.iter().map(|(_, n)| n).sum::<u64>();
            totals.received_bytes += ledger.received_bytes;
            totals.sent_bytes += ledger.sent_bytes;
            totals.handler_errors_total += ledger.handler_errors;
            totals.handler_panics_total += ledger.handler_panics;
        }
        totals
    }
}

/// How much a second, over a window.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Rates {
    /// The window; shorter while the gateway is younger.
    window_seconds: u64,
    connections_accepted_per_second: f64,
    datagrams_received_per_second: f64,
    received_bytes_per_second: f64,
    sent_bytes_per_second: f64,
}

/// The counters of the last minute, second by second.
#[derive(Debug, Default)]
pub(super) struct Sampler(Mutex<VecDeque<(Instant, Totals)>>);

impl Sampler {
    /// Reads the counters each second for as long as the gateway lives, and tells those who follow.
    pub(super) async fn run(&self, supervisor: &Supervisor) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let totals = Totals::of(&supervisor.stats().snapshot());
            let rates = {
                let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if samples.len() > WINDOWS[2] as usize {
                    samples.pop_front();
                }
                samples.push_back((Instant::now(), totals));
                rates(&samples, totals)
            };
            supervisor
                .stats()
                .events()
                .publish(EventKind::Stats, || json!({ "totals": totals, "rates": rates }));
        }
    }

    fn rates(&self, now: Totals) -> Vec<Rates> {
        rates(&self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

fn rates(samples: &VecDeque<(Instant, Totals)>, now: Totals) -> Vec<Rates> {
    let of = |window: u64| {
        let oldest = samples.iter().find(|(at, _)| at.elapsed() <= Duration::from_secs(window) + EVERY / 2);
        let (at, before) = oldest.copied().unwrap_or((Instant::now(), now));
        let seconds = at.elapsed().as_secs_f64().max(0.5);
        let rate = |get: fn(&Totals) -> u64| get(&now).saturating_sub(get(&before)) as f64 / seconds;
        Rates {
            window_seconds: window,
            connections_accepted_per_second: rate(|t| t.connections_accepted_total),
            datagrams_received_per_second: rate(|t| t.datagrams_received_total),
            received_bytes_per_second: rate(|t| t.received_bytes),
            sent_bytes_per_second: rate(|t| t.sent_bytes),
        }
    };
    WINDOWS.map(of).into()
}

/// How the last reload, or the start, went.
#[derive(Debug, Serialize, ToSchema)]
struct Reload {
    successful: bool,
    /// When a configuration was last taken over.
    #[schema(format = DateTime)]
    success_at: String,
}

/// The gateway at a glance.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    /// `running`, `draining`, `drained` or `stopping`.
    #[schema(value_type = String)]
    state: Lifecycle,
    /// Whether /readyz says 200.
    ready: bool,
    generation: u64,
    uptime_seconds: f64,
    /// Listeners, and how many of them accept.
    listeners: u64,
    listeners_running: u64,
    totals: Totals,
    /// Over the last second, ten seconds and minute.
    rates: Vec<Rates>,
    /// The warnings that the configuration came with.
    warnings: Vec<Finding>,
    last_reload: Reload,
}

/// Totals, rates, warnings and the last reload.
#[utoipa::path(
    get, path = "/api/v1/overview", tag = "gateway", security(("token" = ["read"])), operation_id = "get_overview",
    responses((status = 200, description = "The gateway at a glance.", body = Overview), Refused, Fault)
)]
async fn overview(State(api): State<Shared>) -> Json<Overview> {
    let supervisor = &api.supervisor;
    let (running, snapshot) = (supervisor.running(), supervisor.stats().snapshot());
    let totals = Totals::of(&snapshot);
    let listeners = supervisor.listeners();
    let since = SystemTime::now().duration_since(supervisor.stats().started_at());
    let reload = snapshot.control.last_reload;
    Json(Overview {
        state: supervisor.life().state,
        ready: supervisor.readiness().iter().all(|(_, up)| up.is_ok()),
        generation: running.generation,
        uptime_seconds: since.unwrap_or_default().as_secs_f64(),
        listeners: listeners.len() as u64,
        listeners_running: listeners.iter().filter(|l| l.state == Accepting::Running).count() as u64,
        totals,
        rates: api.sampler.rates(totals),
        warnings: Finding::list(running.warnings.clone()),
        last_reload: Reload { successful: reload.successful, success_at: time(reload.success_at) },
    })
}
