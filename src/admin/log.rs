//! The level of the log, changed for a while or until the next change.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::body::JsonBody;
use super::openapi::{BadBody, Fault, Refused, Unprocessable};
use super::problem::Error;
use crate::config::check_log_filter;

/// The longest time that a level may hold, in seconds: a day.
const LONGEST: f64 = 86_400.0;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(level, set_level))
}

/// The level of the log.
#[derive(Debug, Serialize, ToSchema)]
struct Level {
    /// The filter in force.
    level: String,
    /// How long it still holds; null: until it is changed.
    for_seconds: Option<f64>,
}

/// A new level.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLevel {
    /// A filter as in `log.level`, for example `debug` or `info,polygate::conn=warn`.
    #[schema(min_length = 1)]
    level: String,
    /// After so long the configured one is back, above 0 and at most a day; none: it stays until it is changed.
    #[schema(exclusive_minimum = 0, maximum = 86_400)]
    for_seconds: Option<f64>,
}

/// The level of the log.
#[utoipa::path(
    get, path = "/api/v1/log", tag = "gateway", security(("token" = ["read"])), operation_id = "get_log_level",
    responses((status = 200, description = "The filter in force.", body = Level), Refused, Fault)
)]
async fn level(State(api): State<Shared>) -> Json<Level> {
    Json(of(&api))
}

fn of(api: &Shared) -> Level {
    let configured = || api.supervisor.running().config.log.level.clone();
    match api.supervisor.log_level() {
        Some((level, left)) => Level { level, for_seconds: left.map(|left| left.as_secs_f64()) },
        None => Level { level: configured(), for_seconds: None },
    }
}

/// Changes the level of the log, perhaps for a while.
#[utoipa::path(
    put, path = "/api/v1/log", tag = "gateway", security(("token" = ["operate"])), operation_id = "set_log_level",
    request_body = NewLevel,
    responses(
        (status = 200, description = "The filter in force now.", body = Level),
        Refused, BadBody, Unprocessable, Fault,
    )
)]
async fn set_level(
    State(api): State<Shared>,
    JsonBody(new): JsonBody<NewLevel>,
) -> Result<Json<Level>, Error> {
    let wrong = |what: String| Error::Unprocessable(what, Vec::new());
    check_log_filter(&new.level).map_err(|error| wrong(format!("level: {error}")))?;
    if new.for_seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= LONGEST)) {
        return Err(wrong("for_seconds is above 0 and at most 86400".into()));
    }
    api.supervisor.set_log_level(new.level, new.for_seconds.map(Duration::from_secs_f64));
    Ok(Json(of(&api)))
}
