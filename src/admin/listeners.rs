//! The listeners: what the configuration says of them, and what they have done.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::Path;
use super::openapi::{Fault, NotFound, Refused};
use super::problem::Error;
use super::wire::{List, time};
use crate::config::{self, Overload, Timeout, Timeouts};
use crate::stats::{LedgerSnapshot, Snapshot};
use crate::supervisor::{ListenerView, State as Accepting};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one))
}

/// A listener as it is now. Counters are sums over its transports.
#[derive(Debug, Serialize, ToSchema)]
struct Listener {
    /// Its name.
    name: String,
    /// `running`, `paused`, `draining` or `stopped`.
    #[schema(value_type = String)]
    state: Accepting,
    /// The handler as the listener names it: an entry of `[handlers]`, or a type.
    handler: String,
    /// The handler's type.
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<Endpoint>,
    /// The handler's options, defaults filled in.
    #[schema(value_type = Object)]
    options: Value,
    /// Networks that may connect; empty is all.
    allow: Vec<String>,
    /// Networks that may not.
    deny: Vec<String>,
    limits: Limits,
    timeouts: TimeoutSeconds,
    /// Its certificate; null: there is none.
    tls: Option<Certificate>,
    /// Networks that may say in a PROXY header where a connection comes from; null: no header is read.
    proxy_protocol: Option<Vec<String>>,
    /// The configuration that last changed it.
    generation: u64,
    connections_active: u64,
    connections_accepted_total: u64,
    connections_rejected_total: u64,
    connections_closed_total: u64,
    received_bytes: u64,
    sent_bytes: u64,
    handler_errors_total: u64,
    handler_panics_total: u64,
    datagrams_received_total: u64,
    datagrams_sent_total: u64,
    /// Without those that the kernel dropped before they were received.
    datagrams_dropped_total: u64,
    datagrams_truncated_total: u64,
}

/// A bound socket.
#[derive(Debug, Serialize, ToSchema)]
struct Endpoint {
    /// As the configuration writes it.
    bind: String,
    /// What is bound in fact.
    address: String,
    /// `tcp`, `udp`, `unix` or `unixgram`.
    transport: &'static str,
}

/// How much at once, over all endpoints.
#[derive(Debug, Serialize, ToSchema)]
struct Limits {
    max_connections: usize,
    max_connections_per_ip: usize,
    /// Connections a second; 0 is no limit.
    accept_rate: u32,
    /// After so many connections or datagrams the listener stops; 0 is no limit.
    accept_total: u64,
    /// `defer`, `refuse` or `reset`; null: `max_connections` defers, every other limit refuses.
    #[schema(value_type = Option<String>)]
    overload: Overload,
}

/// A certificate.
#[derive(Debug, Serialize, ToSchema)]
struct Certificate {
    /// The file that it was read from.
    cert: String,
    /// Whether clients must show one of theirs.
    client_certificates: bool,
    not_before: String,
    not_after: String,
}

/// How long; null is off.
#[derive(Debug, Serialize, ToSchema)]
struct TimeoutSeconds {
    handshake_seconds: Option<f64>,
    first_byte_seconds: Option<f64>,
    request_seconds: Option<f64>,
    idle_seconds: Option<f64>,
    stall_seconds: Option<f64>,
    lifetime_seconds: Option<f64>,
}

impl From<&Timeouts> for TimeoutSeconds {
    fn from(timeouts: &Timeouts) -> Self {
        let Timeouts { handshake, first_byte, request, idle, stall, lifetime } = *timeouts;
        let seconds = |timeout: Timeout| Some(timeout.get()?.as_secs_f64());
        TimeoutSeconds {
            handshake_seconds: seconds(handshake),
            first_byte_seconds: seconds(first_byte),
            request_seconds: seconds(request),
            idle_seconds: seconds(idle),
            stall_seconds: seconds(stall),
            lifetime_seconds: seconds(lifetime),
        }
    }
}

impl From<&config::Limits> for Limits {
    fn from(limits: &config::Limits) -> Self {
        Limits {
            max_connections: limits.max_connections,
            max_connections_per_ip: limits.max_connections_per_ip,
            accept_rate: limits.accept_rate,
            accept_total: limits.accept_total,
            overload: limits.overload,
        }
    }
}

impl Listener {
    fn of(view: ListenerView, snapshot: &Snapshot) -> Self {
        let ListenerView { config, state, endpoints, generation, certificate } = view;
        let sum = |read: fn(&LedgerSnapshot) -> u64| snapshot.of_listener(&config.name).map(read).sum();
        let endpoints = endpoints.into_iter().map(|endpoint| Endpoint {
            bind: endpoint.bind,
            address: endpoint.address,
            transport: endpoint.transport.as_str(),
        });
        Listener {
            state,
            endpoints: endpoints.collect(),
            allow: config.allow.iter().map(ToString::to_string).collect(),
            deny: config.deny.iter().map(ToString::to_string).collect(),
            limits: (&config.limits).into(),
            timeouts: (&config.timeouts).into(),
            tls: config.tls.as_ref().zip(certificate).map(|(tls, validity)| Certificate {
                cert: tls.cert.display().to_string(),
                client_certificates: tls.client_ca.is_some(),
                not_before: time(validity.from),
                not_after: time(validity.until),
            }),
            proxy_protocol: (config.proxy_protocol.as_ref())
                .map(|proxy| proxy.from.iter().map(ToString::to_string).collect()),
            generation,
            connections_active: sum(|l| l.active),
            connections_accepted_total: sum(|l| l.accepted),
            connections_rejected_total: sum(|l| l.rejected.iter().map(|(_, n)| n).sum()),
            connections_closed_total: sum(|l| l.closed.iter().map(|(_, n)| n).sum()),
            received_bytes: sum(|l| l.received_bytes),
            sent_bytes: sum(|l| l.sent_bytes),
            handler_errors_total: sum(|l| l.handler_errors),
            handler_panics_total: sum(|l| l.handler_panics),
            datagrams_received_total: sum(|l| l.datagrams.received),
            datagrams_sent_total: sum(|l| l.datagrams.sent),
            datagrams_dropped_total: sum(|l| l.datagrams.dropped.iter().map(|(_, n)| n).sum()),
            datagrams_truncated_total: sum(|l| l.datagrams.truncated),
            name: config.name,
            handler: config.handler.name,
            kind: config.handler.kind,
            options: config.handler.options,
        }
    }
}

/// Every listener, in the order of the configuration.
#[utoipa::path(
    get, path = "/api/v1/listeners", tag = "listeners", security(("token" = ["read"])),
    responses((status = 200, description = "The listeners.", body = List<Listener>), Refused, Fault)
)]
async fn list(State(api): State<Shared>) -> Json<List<Listener>> {
    let snapshot = api.supervisor.stats().snapshot();
    let listeners = api.supervisor.listeners().into_iter();
    Json(List::whole(listeners.map(|view| Listener::of(view, &snapshot)).collect()))
}

/// One listener.
#[utoipa::path(
    get, path = "/api/v1/listeners/{name}", tag = "listeners", security(("token" = ["read"])), operation_id = "get_listener",
    params(("name" = String, Path, description = "Its name in the configuration.")),
    responses(
        (status = 200, description = "The listener.", body = Listener),
        Refused, NotFound, Fault,
    )
)]
async fn one(State(api): State<Shared>, Path(name): Path<String>) -> Result<Json<Listener>, Error> {
    let found = api.supervisor.listeners().into_iter().find(|view| view.config.name == name);
    let view = found.ok_or_else(|| Error::NotFound(format!("no listener is called {name:?}")))?;
    Ok(Json(Listener::of(view, &api.supervisor.stats().snapshot())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;
    use crate::metrics::samples;
    use crate::stats::{RejectReason, Stats};

    #[test]
    fn a_listener_sums_its_transports_and_gives_seconds() {
        let stats = Stats::new();
        stats.open("echo", Transport::Tcp).reject(RejectReason::Rate);
        stats.open("echo", Transport::Unix).reject(RejectReason::Acl);
        stats.open("other", Transport::Unix).reject(RejectReason::Acl);
        let body = Listener::of(samples::listener("echo"), &stats.snapshot());
        let body = serde_json::to_value(body).unwrap();
        assert_eq!(body["connections_rejected_total"], 2);
        assert_eq!(body["connections_accepted_total"], 2);
        assert_eq!(body["state"], "running");
        assert_eq!((&body["handler"], &body["type"]), (&"greeter".into(), &"echo".into()));
        assert_eq!(body["timeouts"]["idle_seconds"], 300.0);
        assert_eq!(body["timeouts"]["lifetime_seconds"], Value::Null);
        assert_eq!(body["endpoints"][1]["transport"], "udp");
        assert_eq!(body["limits"]["overload"], "defer");
    }
}
