//! The handler types: what they serve, and what their options are.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::openapi::{Fault, Refused};
use super::wire::List;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A handler type.
#[derive(Debug, Serialize, ToSchema)]
struct HandlerType {
    /// As the configuration names it.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What it can serve: `tcp`, `udp`, `unix`, `unixgram`.
    transports: Vec<&'static str>,
    /// The JSON Schema of its options.
    #[schema(value_type = Object)]
    options: Value,
}

/// Every handler type, by name.
#[utoipa::path(
    get, path = "/api/v1/handlers", tag = "gateway", security(("token" = ["read"])), operation_id = "list_handlers",
    responses((status = 200, description = "All of them.", body = List<HandlerType>), Refused, Fault)
)]
async fn list(State(api): State<Shared>) -> Json<List<HandlerType>> {
    let catalog = api.supervisor.catalog();
    let of = |kind: &&dyn crate::config::HandlerType| HandlerType {
        kind: kind.name(),
        transports: kind.transports().iter().map(|transport| transport.as_str()).collect(),
        options: kind.schema(),
    };
    Json(List::whole(catalog.types().iter().map(of).collect()))
}
