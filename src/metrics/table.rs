//! The table of all metrics, in the order in which a scrape shows them. A new metric is one row here, and
//! one in `docs/metrics.md` (a test compares the two).

use super::series::Kind::{self, Counter, Gauge, Histogram};
use super::series::{Label, Metric, Series};
use super::view::{View, is_up};
use crate::config::Transport;
use crate::stats::{
    AcceptError, CloseReason, ConnectFailure, DatagramDrop, LogLevel, RejectReason, Stage, TlsFailure,
    TlsVersion, Trigger,
};
use crate::version::{REVISION, RUSTC, VERSION};

/// A label whose values are a closed set of the code.
macro_rules! closed {
    ($name:literal, $set:ident) => {
        Label { name: $name, values: Some(|| $set::ALL.iter().map(|word| word.as_str()).collect()) }
    };
}

/// A label whose values come from the configuration, or from the program itself.
const fn open(name: &'static str) -> Label {
    Label { name, values: None }
}

const LISTENER: Label = open("listener");
const TRANSPORT: Label = closed!("transport", Transport);
const HANDLER: Label = open("handler");
/// Of every metric of a listener.
const L: &[Label] = &[LISTENER, TRANSPORT];
const UPSTREAM: Label = open("upstream");
const ENDPOINT: Label = open("endpoint");
/// Of every metric of an upstream's endpoint.
const U: &[Label] = &[UPSTREAM, ENDPOINT];
/// Of what a handler does.
const LH: &[Label] = &[LISTENER, TRANSPORT, HANDLER];

const fn row(
    name: &'static str,
    kind: Kind,
    labels: &'static [Label],
    help: &'static str,
    read: fn(&View, &mut Series),
) -> Metric {
    Metric { name, kind, labels, help, read }
}

/// One metric a row: name, type, labels, help, how it is read.
pub(super) const TABLE: &[Metric] = &[
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
    // Listeners.
    row(
        "polygate_listener_info",
        Gauge,
        &[LISTENER, TRANSPORT, HANDLER, open("address"), open("tls")],
        "What an endpoint is; always 1.",
        |v, s| {
            for (l, e) in v.endpoints() {
                let tls = if l.config.tls.is_some() && e.transport.is_stream() { "true" } else { "false" };
                let labels =
                    [&*l.config.name, e.transport.as_str(), &*l.config.handler.kind, &*e.address, tls];
                s.add(&labels, true);
            }
        },
    ),
    row("polygate_listener_up", Gauge, L, "Whether every endpoint accepts.", |v, s| {
        v.sites().for_each(|(l, t)| s.add(&[&l.config.name, t.as_str()], is_up(l, t)));
    }),
    row(
        "polygate_connections_accepted_total",
        Counter,
        L,
        "Connections accepted: those rejected after that, active and closed.",
        |v, s| v.streams().for_each(|l| s.of(l, &[], l.accepted)),
    ),
    row(
        "polygate_connections_rejected_total",
        Counter,
        &[LISTENER, TRANSPORT, closed!("reason", RejectReason)],
        "Connections turned away after accept.",
        |v, s| {
            v.streams().for_each(|l| l.rejected.iter().for_each(|(why, n)| s.of(l, &[why.as_str()], *n)));
        },
    ),
    row(
        "polygate_accept_errors_total",
        Counter,
        &[LISTENER, TRANSPORT, closed!("error", AcceptError)],
        "Errors of accepting connections and of receiving datagrams.",
        |v, s| {
            v.ledgers().for_each(|l| l.accept_errors.iter().for_each(|(e, n)| s.of(l, &[e.as_str()], *n)));
        },
    ),
    row(
        "polygate_tls_handshakes_total",
        Counter,
        &[LISTENER, TRANSPORT, closed!("version", TlsVersion)],
        "TLS handshakes, by the version agreed on.",
        |v, s| {
            v.streams()
                .for_each(|l| l.tls_handshakes.iter().for_each(|(what, n)| s.of(l, &[what.as_str()], *n)));
        },
    ),
    row(
        "polygate_tls_handshake_failures_total",
        Counter,
        &[LISTENER, TRANSPORT, closed!("reason", TlsFailure)],
        "TLS handshakes that failed.",
        |v, s| {
            v.streams().for_each(|l| l.tls_failures.iter().for_each(|(why, n)| s.of(l, &[why.as_str()], *n)));
        },
    ),
    row(
        "polygate_tls_certificate_not_after_timestamp_seconds",
        Gauge,
        L,
        "When the listener's certificate ends.",
        |v, s| {
            for (l, t) in v.sites().filter(|(_, t)| t.is_stream()) {
                if let Some(validity) = l.certificate {
                    let until = validity.until.duration_since(std::time::UNIX_EPOCH);
                    s.add(&[&l.config.name, t.as_str()], until.unwrap_or_default().as_secs_f64());
                }
            }
        },
    ),
    row("polygate_connections_active", Gauge, L, "Open connections.", |v, s| {
        v.streams().for_each(|l| s.of(l, &[], l.active));
    }),
    row(
        "polygate_connections_limit",
        Gauge,
        L,
        "Connections that the listener may have, over all its endpoints.",
        |v, s| {
            for (l, t) in v.sites().filter(|(_, t)| t.is_stream()) {
                s.add(&[&l.config.name, t.as_str()], l.config.limits.max_connections as u64);
            }
        },
    ),
    row(
        "polygate_connections_closed_total",
        Counter,
        &[LISTENER, TRANSPORT, closed!("reason", CloseReason)],
        "Connections that ended, by why.",
        |v, s| v.streams().for_each(|l| l.closed.iter().for_each(|(why, n)| s.of(l, &[why.as_str()], *n))),
    ),
    row(
        "polygate_connection_duration_seconds",
        Histogram,
        L,
        "How long closed connections were open.",
        |v, s| v.streams().for_each(|l| s.of(l, &[], &l.durations)),
    ),
    row("polygate_received_bytes_total", Counter, L, "Application bytes received.", |v, s| {
        v.snapshot.ledgers.iter().for_each(|l| s.of(l, &[], l.received_bytes));
    }),
    row("polygate_sent_bytes_total", Counter, L, "Application bytes sent.", |v, s| {
        v.snapshot.ledgers.iter().for_each(|l| s.of(l, &[], l.sent_bytes));
    }),
    row("polygate_accept_queue_length", Gauge, L, "Connections that the kernel holds for accept.", |v, s| {
        v.accept_queues().for_each(|(name, t, length, _)| s.add(&[name, t.as_str()], length));
    }),
    row(
        "polygate_accept_queue_limit",
        Gauge,
        L,
        "Connections that the kernel may hold for accept.",
        |v, s| v.accept_queues().for_each(|(name, t, _, limit)| s.add(&[name, t.as_str()], limit)),
    ),
    // Handlers.
    row(
        "polygate_handler_duration_seconds",
        Histogram,
        LH,
        "Duration of the handler's units of work, such as requests and commands; a chunk of a stream is none.",
        |v, s| v.snapshot.ledgers.iter().for_each(|l| s.of(l, &[v.handler(l)], &l.work)),
    ),
    row("polygate_handler_errors_total", Counter, LH, "Failures of the handler.", |v, s| {
        v.snapshot.ledgers.iter().for_each(|l| s.of(l, &[v.handler(l)], l.handler_errors));
    }),
    row("polygate_handler_panics_total", Counter, LH, "Panics of the handler.", |v, s| {
        v.snapshot.ledgers.iter().for_each(|l| s.of(l, &[v.handler(l)], l.handler_panics));
    }),
    // Datagrams.
    row("polygate_datagrams_received_total", Counter, L, "Datagrams received.", |v, s| {
        v.datagrams().for_each(|l| s.of(l, &[], l.datagrams.received));
    }),
    row("polygate_datagrams_sent_total", Counter, L, "Datagrams sent.", |v, s| {
        v.datagrams().for_each(|l| s.of(l, &[], l.datagrams.sent));
    }),
    row(
        "polygate_datagrams_dropped_total",
        Counter,
        &[LISTENER, TRANSPORT, closed!("reason", DatagramDrop)],
        "Datagrams not answered; kernel_buffer: lost before they were received, read from the kernel.",
        |v, s| v.datagrams().for_each(|l| v.dropped(l).for_each(|(why, n)| s.of(l, &[why.as_str()], n))),
    ),
    row("polygate_datagrams_truncated_total", Counter, L, "Datagrams longer than max_size.", |v, s| {
        v.datagrams().for_each(|l| s.of(l, &[], l.datagrams.truncated));
    }),
    row("polygate_datagram_batch_size", Histogram, L, "Datagrams that one call received.", |v, s| {
        v.datagrams().for_each(|l| s.of(l, &[], &l.datagrams.batches));
    }),
    // Upstreams.
    row("polygate_upstream_up", Gauge, U, "Whether the endpoint gets new connections.", |v, s| {
        v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.up));
    }),
    row(
        "polygate_upstream_connections_active",
        Gauge,
        U,
        "Connections that the endpoint carries.",
        |v, s| {
            v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.active));
        },
    ),
    row(
        "polygate_upstream_connects_total",
        Counter,
        U,
        "Connections tried, failed ones included.",
        |v, s| {
            v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.connects));
        },
    ),
    row(
        "polygate_upstream_connect_failures_total",
        Counter,
        &[UPSTREAM, ENDPOINT, closed!("reason", ConnectFailure)],
        "Connections that failed.",
        |v, s| {
            v.upstreams(|u| {
                u.failures.iter().for_each(|(why, n)| s.add(&[&u.upstream, &u.endpoint, why.as_str()], *n));
            });
        },
    ),
    row("polygate_upstream_connect_duration_seconds", Histogram, U, "How long connecting took.", |v, s| {
        v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], &u.durations));
    }),
    row("polygate_upstream_received_bytes_total", Counter, U, "Bytes received from the endpoint.", |v, s| {
        v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.received_bytes));
    }),
    row("polygate_upstream_sent_bytes_total", Counter, U, "Bytes sent to the endpoint.", |v, s| {
        v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.sent_bytes));
    }),
    row("polygate_upstream_health_checks_total", Counter, U, "Probes, failed ones included.", |v, s| {
        v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.health_checks));
    }),
    row("polygate_upstream_health_check_failures_total", Counter, U, "Probes that failed.", |v, s| {
        v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.health_check_failures));
    }),
    row(
        "polygate_upstream_ejections_total",
        Counter,
        U,
        "How often the endpoint was ejected because its connections failed.",
        |v, s| v.upstreams(|u| s.add(&[&u.upstream, &u.endpoint], u.ejections)),
    ),
    // The admin API.
    row(
        "polygate_admin_auth_failures_total",
        Counter,
        &[],
        "Requests to the admin API whose token was missing, wrong or of too small a role.",
        |v, s| s.add(&[], v.snapshot.control.admin_auth_failures),
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
