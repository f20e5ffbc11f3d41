//! What all meters and ledgers say at one moment. Metrics and admin API render nothing else.

use std::sync::Arc;
use std::time::SystemTime;

use super::control::{AdminRequest, LastReload};
use super::counters::{Cell, Counter};
use super::histogram::Histogram;
use super::labels::{
    AcceptError, AdminCut, CloseReason, DatagramDrop, LogLevel, RejectReason, Stage, TlsFailure, TlsVersion,
    Trigger,
};
use super::ledger::Ledger;
use super::meter::{Meter, Phase};
use super::peer::ConnId;
use super::upstreams::UpstreamSnapshot;
use super::{Stats, locked};
use crate::config::Transport;

/// Everything that is counted.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// One a listener and transport, sorted by both.
    pub ledgers: Vec<LedgerSnapshot>,
    /// One an upstream and endpoint, in the order in which they were configured.
    pub upstreams: Vec<UpstreamSnapshot>,
    /// The control plane.
    pub control: ControlSnapshot,
}

/// One listener and transport.
#[derive(Debug, Clone)]
pub struct LedgerSnapshot {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The transport.
    pub transport: Transport,
    /// Accepted conns: rejected after accept, active and closed ones, each in exactly one of these.
    pub accepted: u64,
    /// Turned away after accept, by [`RejectReason`].
    pub rejected: Vec<(RejectReason, u64)>,
    /// TLS handshakes, by version.
    pub tls_handshakes: Vec<(TlsVersion, u64)>,
    /// TLS handshakes that failed.
    pub tls_failures: Vec<(TlsFailure, u64)>,
    /// Errors of accept, by [`AcceptError`].
    pub accept_errors: Vec<(AcceptError, u64)>,
    /// Open conns.
    pub active: u64,
    /// Closed conns, by [`CloseReason`].
    pub closed: Vec<(CloseReason, u64)>,
    /// How long the closed ones were open, in seconds.
    pub durations: Histogram,
    /// Application bytes received, by conns and datagrams.
    pub received_bytes: u64,
    /// Application bytes sent, by conns and datagrams.
    pub sent_bytes: u64,
    /// The handler's units of work, in seconds.
    pub work: Histogram,
    /// Failures of the handler.
    pub handler_errors: u64,
    /// Panics of the handler.
    pub handler_panics: u64,
    /// Datagrams; zeros on stream transports.
    pub datagrams: DatagramSnapshot,
    /// What the handler declared.
    pub counters: Vec<CounterSnapshot>,
}

/// The datagrams of one listener and transport.
#[derive(Debug, Clone)]
pub struct DatagramSnapshot {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
    /// Not answered, by [`DatagramDrop`]; the kernel's own drops are not in here.
    pub dropped: Vec<(DatagramDrop, u64)>,
    /// Cut by the kernel.
    pub truncated: u64,
    /// Datagrams a receive call.
    pub batches: Histogram,
}

/// One number that a handler declared.
#[derive(Debug, Clone)]
pub struct CounterSnapshot {
    /// What was declared.
    pub counter: Counter,
    /// Each combination of label values.
    pub cells: Vec<(Vec<&'static str>, Cell)>,
}

/// The control plane.
#[derive(Debug, Clone)]
pub struct ControlSnapshot {
    /// Reloads asked for.
    pub reloads: Vec<(Trigger, u64)>,
    /// Reloads that failed.
    pub reload_failures: Vec<(Trigger, Stage, u64)>,
    /// The last reload.
    pub last_reload: LastReload,
    /// Whether the gateway drains.
    pub draining: bool,
    /// Log events.
    pub log_events: Vec<(LogLevel, u64)>,
    /// Log events that were dropped because nobody read them.
    pub events_dropped: u64,
    /// Admin requests whose token was missing, wrong or of too small a role.
    pub admin_auth_failures: u64,
    /// Connections to the admin API that were cut off.
    pub admin_cuts: Vec<(AdminCut, u64)>,
    /// Admin requests.
    pub admin_requests: Vec<(AdminRequest, u64)>,
    /// How long they took, by route and method, in seconds.
    pub admin_durations: Vec<(String, &'static str, Histogram)>,
}

impl Snapshot {
    pub(super) fn of(stats: &Stats) -> Self {
        let mut shown: Vec<_> = locked(&stats.ledgers).iter().filter(|l| l.is_shown()).cloned().collect();
        shown.sort_by(|a, b| (a.listener(), a.transport()).cmp(&(b.listener(), b.transport())));
        let control = stats.control();
        let failures = |trigger: &Trigger| {
            let trigger = *trigger;
            Stage::ALL.iter().map(move |stage| (trigger, *stage, control.reload_failures(trigger, *stage)))
        };
        Snapshot {
            ledgers: shown.iter().map(|ledger| LedgerSnapshot::of(ledger)).collect(),
            upstreams: locked(&stats.upstreams).iter().map(|account| account.snapshot()).collect(),
            control: ControlSnapshot {
                reloads: Trigger::ALL.iter().map(|t| (*t, control.reloads(*t))).collect(),
                reload_failures: Trigger::ALL.iter().flat_map(failures).collect(),
                last_reload: control.last_reload(),
                draining: control.is_draining(),
                log_events: LogLevel::ALL.iter().map(|l| (*l, control.log_events(*l))).collect(),
                events_dropped: control.events_dropped() + stats.events().dropped(),
                admin_auth_failures: control.admin_auth_failures(),
                admin_cuts: AdminCut::ALL.iter().map(|cut| (*cut, control.admin_cuts(*cut))).collect(),
                admin_requests: control.admin_requests(),
                admin_durations: control.admin_durations(),
            },
        }
    }

    /// The ledgers of one listener.
    pub fn of_listener<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a LedgerSnapshot> {
        self.ledgers.iter().filter(move |l| *l.listener == *name)
    }
}

impl LedgerSnapshot {
    fn of(ledger: &Ledger) -> Self {
        let (closed, active) = ledger.totals();
        let rejected: Vec<_> = RejectReason::ALL.iter().map(|r| (*r, ledger.rejected(*r))).collect();
        let turned_away: u64 = rejected.iter().map(|(_, n)| n).sum();
        let (handler_errors, handler_panics) = ledger.handler_failures();
        let d = &ledger.datagrams;
        // Of a flow's bytes the datagrams are counted already.
        let streams = ledger.transport().is_stream();
        let read = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        LedgerSnapshot {
            listener: ledger.listener().clone(),
            transport: ledger.transport(),
            accepted: turned_away + active + closed.by_reason.iter().sum::<u64>(),
            rejected,
            tls_handshakes: TlsVersion::ALL.iter().map(|v| (*v, ledger.tls_handshakes(*v))).collect(),
            tls_failures: TlsFailure::ALL.iter().map(|r| (*r, ledger.tls_failures(*r))).collect(),
            accept_errors: AcceptError::ALL.iter().map(|e| (*e, ledger.accept_errors(*e))).collect(),
            active,
            closed: CloseReason::ALL.iter().map(|r| (*r, closed.by_reason[*r as usize])).collect(),
            durations: closed.durations,
            received_bytes: if streams { closed.received } else { read(&d.received_bytes) },
            sent_bytes: if streams { closed.sent } else { read(&d.sent_bytes) },
            work: ledger.work(),
            handler_errors,
            handler_panics,
            datagrams: DatagramSnapshot {
                received: read(&d.received),
                sent: read(&d.sent),
                dropped: DatagramDrop::ALL.iter().map(|r| (*r, d.dropped(*r))).collect(),
                truncated: read(&d.truncated),
                batches: d.batches(),
            },
            counters: (ledger.declared().iter())
                .map(|c| CounterSnapshot { counter: c.counter, cells: c.read() })
                .collect(),
        }
    }
}

/// One live conn.
#[derive(Debug, Clone)]
pub struct ConnView {
    /// Its number.
    pub id: ConnId,
    /// The listener that accepted it.
    pub listener: Arc<str>,
    /// Its transport.
    pub transport: Transport,
    /// The type of the handler that serves it.
    pub handler: &'static str,
    /// The other side.
    pub peer: String,
    /// Our side.
    pub local: String,
    /// When it was accepted.
    pub started_at: SystemTime,
    /// How long ago that is.
    pub age_seconds: f64,
    /// How long nothing has moved, to the precision of the clocks' ticks (at most half a second).
    pub idle_seconds: f64,
    /// Application bytes received.
    pub received_bytes: u64,
    /// Application bytes sent.
    pub sent_bytes: u64,
    /// The configuration that accepted it.
    pub generation: u64,
    /// `handshake`, `open`, `draining` or `closing`.
    pub state: &'static str,
    /// What the handler says of it.
    pub details: Vec<(&'static str, String)>,
}

impl ConnView {
    /// What a meter says now.
    pub fn of(meter: &Meter, stats: &Stats) -> Self {
        let now = stats.now_ms();
        let site = meter.site();
        let state = match (meter.verdict(), meter.phase().0) {
            (Some(_), _) => "closing",
            (None, _) if site.drain.is_cancelled() => "draining",
            (None, Phase::Handshake) => "handshake",
            (None, _) => "open",
        };
        ConnView {
            id: meter.id(),
            listener: site.ledger.listener().clone(),
            transport: site.ledger.transport(),
            handler: site.handler,
            peer: meter.peer().to_string(),
            local: meter.local().map_or_else(|| site.address.clone(), |at| at.to_string()),
            started_at: stats.at(meter.started_ms()),
            age_seconds: now.saturating_sub(meter.started_ms()) as f64 / 1000.0,
            idle_seconds: now.saturating_sub(meter.tick(now)) as f64 / 1000.0,
            received_bytes: meter.received(),
            sent_bytes: meter.sent(),
            generation: site.generation,
            state,
            details: meter.details(),
        }
    }
}
