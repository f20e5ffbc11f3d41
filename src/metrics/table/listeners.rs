//! What is measured of listeners, their handlers and upstreams.

use super::super::series::Kind::{Counter, Gauge, Histogram};
use super::super::series::{Label, Metric};
use super::super::view::is_up;
use super::{LISTENER, TRANSPORT, closed, open, row};
use crate::stats::{
    AcceptError, CloseReason, ConnectFailure, DatagramDrop, RejectReason, TlsFailure, TlsVersion,
};

const HANDLER: Label = open("handler");
/// Of every metric of a listener.
const L: &[Label] = &[LISTENER, TRANSPORT];
const UPSTREAM: Label = open("upstream");
const ENDPOINT: Label = open("endpoint");
/// Of every metric of an upstream's endpoint.
const U: &[Label] = &[UPSTREAM, ENDPOINT];
/// Of what a handler does.
const LH: &[Label] = &[LISTENER, TRANSPORT, HANDLER];

/// Connections, datagrams and what handlers do.
pub(super) const LISTENERS: &[Metric] = &[
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
];

/// What connections are carried to.
pub(super) const UPSTREAMS: &[Metric] = &[
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
];
