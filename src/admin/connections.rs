//! The live connections: listed, filtered, sorted, looked at one by one and killed.

mod select;
mod top;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::{Path, Query};
use super::openapi::{BadRequest, Fault, NotFound, Refused};
use super::problem::Error;
use super::wire::{List, time};
use crate::stats::{ConnId, ConnView};
use select::{Filters, Select};
use top::Top;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, kill_many)).routes(routes!(one, kill)).routes(routes!(top))
}

/// A live connection.
#[derive(Debug, Serialize, ToSchema)]
struct Connection {
    /// Its number, never used again.
    #[schema(value_type = u64)]
    id: ConnId,
    /// `conn`, or `flow` where datagrams are carried.
    kind: &'static str,
    /// The listener that accepted it.
    listener: String,
    /// `tcp` or `unix`; of flows `udp` or `unixgram`.
    transport: &'static str,
    /// The type of its handler.
    handler: &'static str,
    /// The other side: an address with its port, or `uid=…,pid=…` on Unix sockets.
    peer: String,
    /// Our side.
    local: String,
    /// When it was accepted.
    #[schema(format = DateTime)]
    started_at: String,
    /// How long ago that is.
    age_seconds: f64,
    /// How long nothing has moved.
    idle_seconds: f64,
    /// Application bytes received.
    received_bytes: u64,
    /// Application bytes sent.
    sent_bytes: u64,
    /// The configuration that accepted it, which it keeps.
    generation: u64,
    /// `handshake`, `open`, `draining` or `closing`.
    state: &'static str,
    /// What the handler says of it.
    details: BTreeMap<&'static str, String>,
}

impl From<ConnView> for Connection {
    fn from(view: ConnView) -> Self {
        Connection {
            id: view.id,
            kind: if view.transport.is_stream() { "conn" } else { "flow" },
            listener: view.listener.to_string(),
            transport: view.transport.as_str(),
            handler: view.handler,
            peer: view.peer,
            local: view.local,
            started_at: time(view.started_at),
            age_seconds: view.age_seconds,
            idle_seconds: view.idle_seconds,
            received_bytes: view.received_bytes,
            sent_bytes: view.sent_bytes,
            generation: view.generation,
            state: view.state,
            details: view.details.into_iter().collect(),
        }
    }
}

/// The live connections.
#[utoipa::path(
    get, path = "/api/v1/connections", tag = "connections", security(("token" = ["read"])), operation_id = "list_connections", params(Select),
    responses(
        (status = 200, description = "Those that match.", body = List<Connection>),
        Refused, Fault,
    )
)]
async fn list(
    State(api): State<Shared>,
    Query(select): Query<Select>,
) -> Result<Json<List<Connection>>, Error> {
    Ok(Json(select.page(api.supervisor.stats().conns())?))
}

/// One connection.
#[utoipa::path(
    get, path = "/api/v1/connections/{id}", tag = "connections", security(("token" = ["read"])), operation_id = "get_connection",
    params(("id" = u64, Path, description = "Its number.")),
    responses(
        (status = 200, description = "The connection.", body = Connection),
        Refused, NotFound, Fault,
    )
)]
async fn one(State(api): State<Shared>, Path(id): Path<u64>) -> Result<Json<Connection>, Error> {
    let stats = api.supervisor.stats();
    let meter = stats.find(ConnId(id)).ok_or_else(|| none(id))?;
    Ok(Json(ConnView::of(&meter, stats).into()))
}

/// Ends a connection at once.
#[utoipa::path(
    delete, path = "/api/v1/connections/{id}", tag = "connections", security(("token" = ["operate"])), operation_id = "kill_connection",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 204, description = "It is being closed."), Refused, NotFound, Fault)
)]
async fn kill(State(api): State<Shared>, Path(id): Path<u64>) -> Result<StatusCode, Error> {
    api.supervisor.kill(ConnId(id)).then_some(StatusCode::NO_CONTENT).ok_or_else(|| none(id))
}

/// How many were closed.
#[derive(Debug, Serialize, ToSchema)]
struct Closed {
    closed: u64,
}

/// Ends every connection that matches at once; at least one filter is needed.
#[utoipa::path(
    delete, path = "/api/v1/connections", tag = "connections", security(("token" = ["operate"])), operation_id = "kill_connections", params(Filters),
    responses((status = 200, description = "They are being closed.", body = Closed), Refused, BadRequest, Fault)
)]
async fn kill_many(State(api): State<Shared>, Query(filters): Query<Filters>) -> Result<Json<Closed>, Error> {
    let chosen = filters.choose(api.supervisor.stats().conns())?;
    let closed = chosen.into_iter().filter(|id| api.supervisor.kill(*id)).count() as u64;
    Ok(Json(Closed { closed }))
}

/// A peer or a listener with what its connections come to.
#[derive(Debug, Serialize, ToSchema)]
struct Talker {
    /// The address, the user on Unix sockets, or the listener's name.
    name: String,
    connections: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

/// Who has most connections, or has moved most bytes on those that are open.
#[utoipa::path(
    get, path = "/api/v1/connections/top", tag = "connections", security(("token" = ["read"])), operation_id = "top_talkers", params(Top),
    responses((status = 200, description = "The first ones.", body = List<Talker>), Refused, BadRequest, Fault)
)]
async fn top(State(api): State<Shared>, Query(top): Query<Top>) -> Result<Json<List<Talker>>, Error> {
    top.talkers(&api.supervisor.stats().conns()).map(Json)
}

fn none(id: u64) -> Error {
    Error::NotFound(format!("no connection has the number {id}"))
}
