//! What is measured of the gateway itself: the process, the control plane and the data plane's threads.

use super::super::series::Kind::{Counter, Gauge, Histogram};
use super::super::series::{Label, Metric};
use super::{closed, open, row};
use crate::stats::{AdminCut, LogLevel, Stage, Trigger};
use crate::version::{REVISION, RUSTC, VERSION};

/// The process, the configuration, the log.
pub(super) const GATEWAY: &[Metric] = &[
    // The process.
    row("process_cpu_seconds_total", Counter, &[], "User and system CPU time of the process.", |v, s| {
        v.process.iter().for_each(|p| s.add(&[], p.cpu_seconds));
    }),
    row("process_open_fds", Gauge, &[], "Open file descriptors.", |v, s| {
        v.process.iter().for_each(|p| s.add(&[], p.open_fds));
    }),
    row("process_max_fds", Gauge, &[], "File descriptors that may be open.", |v, s| {
        v.process.iter().for_each(|p| s.add(&[], p.max_fds));
    }),
    row("process_resident_memory_bytes", Gauge, &[], "Memory in RAM.", |v, s| {
        v.process.iter().for_each(|p| s.add(&[], p.resident_bytes));
    }),
    row("process_virtual_memory_bytes", Gauge, &[], "Address space.", |v, s| {
        v.process.iter().for_each(|p| s.add(&[], p.virtual_bytes));
    }),
    row("process_start_time_seconds", Gauge, &[], "When the process started, since 1970.", |v, s| {
        v.process.iter().for_each(|p| s.add(&[], p.start_seconds));
    }),
    row("process_threads", Gauge, &[], "Threads of the process.", |v, s| {
        v.process.iter().for_each(|p| s.add(&[], p.threads));
    }),
    // The gateway.
    row(
        "polygate_build_info",
        Gauge,
        &[open("version"), open("revision"), open("rustc")],
        "What the program was built from; always 1.",
        |_, s| s.add(&[VERSION, REVISION, RUSTC], true),
    ),
    row("polygate_ready", Gauge, &[], "Whether /readyz says 200.", |v, s| s.add(&[], v.ready)),
    row("polygate_draining", Gauge, &[], "Whether the gateway drains.", |v, s| {
        s.add(&[], v.snapshot.control.draining);
    }),
    row(
        "polygate_config_reloads_total",
        Counter,
        &[closed!("trigger", Trigger)],
        "Reloads asked for, failed ones and those with nothing to do included; dry runs are not.",
        |v, s| v.snapshot.control.reloads.iter().for_each(|(trigger, n)| s.add(&[trigger.as_str()], *n)),
    ),
    row(
        "polygate_config_reload_failures_total",
        Counter,
        &[closed!("trigger", Trigger), closed!("stage", Stage)],
        "Reloads that failed and changed nothing, by where.",
        |v, s| {
            for (trigger, stage, n) in &v.snapshot.control.reload_failures {
                s.add(&[trigger.as_str(), stage.as_str()], *n);
            }
        },
    ),
    row(
        "polygate_config_last_reload_successful",
        Gauge,
        &[],
        "Whether the last reload succeeded.",
        |v, s| {
            s.add(&[], v.snapshot.control.last_reload.successful);
        },
    ),
    row(
        "polygate_config_last_reload_success_timestamp_seconds",
        Gauge,
        &[],
        "When a configuration was last taken over.",
        |v, s| {
            let at = v.snapshot.control.last_reload.success_at.duration_since(std::time::UNIX_EPOCH);
            s.add(&[], at.unwrap_or_default().as_secs_f64());
        },
    ),
    row(
        "polygate_config_hash",
        Gauge,
        &[],
        "First 48 bits of the effective configuration's SHA-256: equal gateways show equal numbers.",
        |v, s| s.add(&[], v.snapshot.control.last_reload.config_hash),
    ),
    row(
        "polygate_events_dropped_total",
        Counter,
        &[],
        "Log events, and events for followers of the admin API, dropped because nobody read them in time.",
        |v, s| s.add(&[], v.snapshot.control.events_dropped),
    ),
    row("polygate_log_events_total", Counter, &[closed!("level", LogLevel)], "Log events.", |v, s| {
        v.snapshot.control.log_events.iter().for_each(|(level, n)| s.add(&[level.as_str()], *n));
    }),
];

/// The admin API, and what the data plane runs on.
pub(super) const ADMIN: &[Metric] = &[
    // The admin API.
    row(
        "polygate_admin_auth_failures_total",
        Counter,
        &[],
        "Requests to the admin API whose token was missing, wrong or of too small a role.",
        |v, s| s.add(&[], v.snapshot.control.admin_auth_failures),
    ),
    row(
        "polygate_admin_connections_cut_total",
        Counter,
        &[closed!("reason", AdminCut)],
        "Connections to the admin API that were cut off.",
        |v, s| v.snapshot.control.admin_cuts.iter().for_each(|(cut, n)| s.add(&[cut.as_str()], *n)),
    ),
    row(
        "polygate_admin_requests_total",
        Counter,
        &[open("route"), open("method"), open("code")],
        "Requests to the admin API; route is the matched path or \"unmatched\".",
        |v, s| {
            for (request, n) in &v.snapshot.control.admin_requests {
                s.add(&[&request.route, request.method, &request.code.to_string()], *n);
            }
        },
    ),
    row(
        "polygate_admin_request_duration_seconds",
        Histogram,
        &[open("route"), open("method")],
        "How long requests to the admin API took.",
        |v, s| {
            v.snapshot
                .control
                .admin_durations
                .iter()
                .for_each(|(route, method, h)| s.add(&[route, method], h));
        },
    ),
    // The data plane's runtime.
    row("polygate_runtime_workers", Gauge, &[], "Worker threads of the data plane.", |v, s| {
        s.add(&[], v.runtime.workers);
    }),
    row("polygate_runtime_alive_tasks", Gauge, &[], "Tasks of the data plane.", |v, s| {
        s.add(&[], v.runtime.alive_tasks);
    }),
    row("polygate_runtime_global_queue_depth", Gauge, &[], "Tasks that wait for any worker.", |v, s| {
        s.add(&[], v.runtime.global_queue_depth);
    }),
    row(
        "polygate_runtime_worker_busy_seconds_total",
        Counter,
        &[],
        "Time that workers were busy.",
        |v, s| {
            s.add(&[], v.runtime.busy_seconds);
        },
    ),
];
