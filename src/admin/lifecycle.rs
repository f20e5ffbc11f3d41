//! Steering: listeners paused, resumed and drained; the gateway drained, resumed and shut down.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::body::{JsonBody, MaybeJson};
use super::extract::Path;
use super::openapi::{BadBody, Fault, NotFound, Refused, Unprocessable};
use super::problem::{Error, Problem};
use super::wire::time;
use crate::supervisor::{Lifecycle, Shutdown, State as Accepting};

/// The longest time that anything may be given, in seconds: a day.
const LONGEST: f64 = 86_400.0;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(drain_listener))
        .routes(routes!(drained, drain, undrain))
        .routes(routes!(shutdown))
}

/// A listener after it has been steered.
#[derive(Debug, Serialize, ToSchema)]
struct Steered {
    /// Its name.
    name: String,
    /// `running`, `paused`, `draining` or `stopped`.
    #[schema(value_type = String)]
    state: Accepting,
    connections_active: u64,
}

/// Stops accepting and keeps the ports: what comes waits with the kernel, as far as its queues reach.
#[utoipa::path(
    post, path = "/api/v1/listeners/{name}/pause", tag = "listeners", security(("token" = ["operate"])), operation_id = "pause_listener",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It is paused.", body = Steered), Refused, NotFound, Fault)
)]
async fn pause(State(api): State<Shared>, Path(name): Path<String>) -> Result<Json<Steered>, Error> {
    steered(&api, &name, api.supervisor.pause(&name))
}

/// Accepts again.
#[utoipa::path(
    post, path = "/api/v1/listeners/{name}/resume", tag = "listeners", security(("token" = ["operate"])), operation_id = "resume_listener",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "It accepts.", body = Steered), Refused, NotFound, Fault)
)]
async fn resume(State(api): State<Shared>, Path(name): Path<String>) -> Result<Json<Steered>, Error> {
    steered(&api, &name, api.supervisor.resume(&name))
}

/// How a listener is drained.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Drain {
    /// How long its connections may take before they are killed, above 0 and at most a day; none: for ever.
    #[schema(exclusive_minimum = 0, maximum = 86_400)]
    timeout_seconds: Option<f64>,
}

/// Pauses a listener and asks its connections to finish.
#[utoipa::path(
    post, path = "/api/v1/listeners/{name}/drain", tag = "listeners", security(("token" = ["operate"])), operation_id = "drain_listener",
    params(("name" = String, Path, description = "Its name.")),
    request_body = Option<Drain>,
    responses(
        (status = 202, description = "It drains.", body = Steered),
        Refused, NotFound, BadBody, Unprocessable, Fault,
    )
)]
async fn drain_listener(
    State(api): State<Shared>,
    Path(name): Path<String>,
    MaybeJson(drain): MaybeJson<Drain>,
) -> Result<(StatusCode, Json<Steered>), Error> {
    let seconds = drain.timeout_seconds;
    if seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= LONGEST)) {
        return Err(Error::Unprocessable("timeout_seconds is above 0 and at most 86400".into(), Vec::new()));
    }
    let found = api.supervisor.drain_listener(&name, seconds.map(Duration::from_secs_f64));
    Ok((StatusCode::ACCEPTED, steered(&api, &name, found)?))
}

fn steered(api: &Shared, name: &str, found: bool) -> Result<Json<Steered>, Error> {
    let listeners = api.supervisor.listeners();
    let view = listeners.into_iter().find(|view| view.config.name == name).filter(|_| found);
    let view = view.ok_or_else(|| Error::NotFound(format!("there is no listener {name:?}")))?;
    let snapshot = api.supervisor.stats().snapshot();
    let connections_active = snapshot.of_listener(name).map(|ledger| ledger.active).sum();
    Ok(Json(Steered { name: view.config.name, state: view.state, connections_active }))
}

/// Where the gateway is in its life, and what is left.
#[derive(Debug, Serialize, ToSchema)]
struct Left {
    /// `running`, `draining`, `drained` or `stopping`.
    #[schema(value_type = String)]
    state: Lifecycle,
    /// When that state began.
    since: String,
    /// Whether new connections are taken, as far as it is the gateway's to say; a listener may be paused.
    accepting: bool,
    /// How it is ending: `graceful` or `now`; null if it is not.
    #[schema(value_type = Option<String>)]
    ending: Option<Shutdown>,
    connections_active: u64,
    /// Each listener with what it still has.
    listeners: Vec<Steered>,
}

impl Left {
    fn of(api: &Shared) -> Self {
        let snapshot = api.supervisor.stats().snapshot();
        let active = |name: &str| snapshot.of_listener(name).map(|ledger| ledger.active).sum();
        let listeners = api.supervisor.listeners().into_iter().map(|view| Steered {
            connections_active: active(&view.config.name),
            name: view.config.name,
            state: view.state,
        });
        let life = api.supervisor.life();
        Left {
            state: life.state,
            since: time(life.since),
            accepting: api.supervisor.is_accepting(),
            ending: life.ending,
            connections_active: api.supervisor.active() as u64,
            listeners: listeners.collect(),
        }
    }
}

/// What is left of a drain.
#[utoipa::path(
    get, path = "/api/v1/drain", tag = "gateway", security(("token" = ["read"])), operation_id = "get_drain",
    responses((status = 200, description = "The state, and what is left.", body = Left), Refused, Fault)
)]
async fn drained(State(api): State<Shared>) -> Json<Left> {
    Json(Left::of(&api))
}

/// Drains the gateway: /readyz says 503, after `shutdown.delay` every listener is paused with its ports kept, and
/// connections are asked to finish. It does not end.
#[utoipa::path(
    post, path = "/api/v1/drain", tag = "gateway", security(("token" = ["operate"])), operation_id = "drain",
    responses((status = 202, description = "It drains.", body = Left), Refused, Fault)
)]
async fn drain(State(api): State<Shared>) -> (StatusCode, Json<Left>) {
    api.supervisor.drain();
    (StatusCode::ACCEPTED, Json(Left::of(&api)))
}

/// Takes a drain back.
#[utoipa::path(
    delete, path = "/api/v1/drain", tag = "gateway", security(("token" = ["operate"])), operation_id = "undrain",
    responses(
        (status = 200, description = "It accepts again.", body = Left),
        (status = 409, description = "It ends, which is not taken back.", body = Problem, content_type = "application/problem+json"),
        Refused, Fault,
    )
)]
async fn undrain(State(api): State<Shared>) -> Result<Json<Left>, Error> {
    match api.supervisor.undrain() {
        true => Ok(Json(Left::of(&api))),
        false => Err(Error::Conflict("the gateway is shutting down".into())),
    }
}

/// How to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// As on SIGTERM: drain, close, kill at the end of the grace.
    Graceful,
    /// Without waiting for anybody.
    Now,
}

/// How the gateway is ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ending {
    mode: Mode,
}

/// Ends the gateway, or hurries an end that is under way.
#[utoipa::path(
    post, path = "/api/v1/shutdown", tag = "gateway", security(("token" = ["admin"])), operation_id = "shutdown",
    request_body = Ending,
    responses(
        (status = 202, description = "It ends.", body = Left),
        Refused, BadBody, Unprocessable, Fault,
    )
)]
async fn shutdown(State(api): State<Shared>, JsonBody(ending): JsonBody<Ending>) -> (StatusCode, Json<Left>) {
    api.supervisor.shut_down(match ending.mode {
        Mode::Graceful => Shutdown::Graceful,
        Mode::Now => Shutdown::Now,
    });
    (StatusCode::ACCEPTED, Json(Left::of(&api)))
}
