//! The upstreams: their endpoints with their state, and the handle to take one out and bring it back.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::Object;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::body::JsonBody;
use super::extract::Path;
use super::openapi::{BadBody, Fault, NotFound, Refused, Unprocessable};
use super::problem::Error;
use super::wire::{List, one_of};
use crate::config::Balance;
use crate::upstream::{Admin, Member, MemberView, Pool};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one)).routes(routes!(steer))
}

/// An upstream as it is now.
#[derive(Debug, Serialize, ToSchema)]
struct Upstream {
    /// Its name.
    name: String,
    /// `round_robin`, `least_connections`, `source`, `random_two` or `maglev`.
    #[schema(value_type = Option<String>)]
    balance: Option<Balance>,
    endpoints: Vec<Endpoint>,
}

/// One endpoint of an upstream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UpstreamEndpoint)]
struct Endpoint {
    /// As the configuration writes it.
    endpoint: String,
    /// Whether it gets new connections: ready, healthy and not ejected.
    up: bool,
    /// What the operator says: `ready`, `drain` or `down`.
    #[schema(schema_with = states)]
    state: Admin,
    /// Whether probes find it healthy; true without any.
    healthy: bool,
    /// Whether it is out for a while because its connections failed.
    ejected: bool,
    /// The weight in force.
    weight: u32,
    /// Whether it is used only when no other is up.
    backup: bool,
    /// Connections that it carries.
    connections_active: u64,
    /// Connections tried.
    connects_total: u64,
    /// Those that failed.
    connect_failures_total: u64,
}

impl Endpoint {
    fn of(member: &Member, view: MemberView) -> Self {
        let account = member.account().snapshot();
        Endpoint {
            endpoint: view.endpoint,
            up: account.up,
            state: view.state,
            healthy: view.healthy,
            ejected: view.ejected,
            weight: view.weight,
            backup: view.backup,
            connections_active: account.active,
            connects_total: account.connects,
            connect_failures_total: account.failures.iter().map(|(_, n)| n).sum(),
        }
    }
}

impl From<&Pool> for Upstream {
    fn from(pool: &Pool) -> Self {
        Upstream {
            name: pool.name().into(),
            balance: pool.config().map(|config| config.balance),
            endpoints: pool.members().into_iter().map(|(member, view)| Endpoint::of(&member, view)).collect(),
        }
    }
}

/// The upstreams.
#[utoipa::path(
    get, path = "/api/v1/upstreams", tag = "upstreams", security(("token" = ["read"])), operation_id = "list_upstreams",
    responses((status = 200, description = "All of them.", body = List<Upstream>), Refused, Fault)
)]
async fn list(State(api): State<Shared>) -> Json<List<Upstream>> {
    let all = api.supervisor.upstreams().all();
    Json(List::whole(all.iter().map(|pool| Upstream::from(&**pool)).collect()))
}

/// One upstream.
#[utoipa::path(
    get, path = "/api/v1/upstreams/{name}", tag = "upstreams", security(("token" = ["read"])), operation_id = "get_upstream",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The upstream.", body = Upstream), Refused, NotFound, Fault)
)]
async fn one(State(api): State<Shared>, Path(name): Path<String>) -> Result<Json<Upstream>, Error> {
    Ok(Json(Upstream::from(&*find(&api, &name)?)))
}

/// What becomes of an endpoint. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Steering {
    /// `ready`: it gets new connections. `drain`: it keeps what it has and gets no new connection. `down`: it is
    /// taken out, and not probed either.
    #[schema(schema_with = states)]
    state: Option<Admin>,
    /// Its share in relation to the others, 1 to 1000; holds until a reload changes the upstream.
    #[schema(minimum = 1, maximum = 1000)]
    weight: Option<u32>,
}

/// Takes an endpoint out, brings it back, or gives it another weight.
#[utoipa::path(
    patch, path = "/api/v1/upstreams/{name}/{endpoint}", tag = "upstreams", security(("token" = ["operate"])), operation_id = "steer_endpoint",
    params(
        ("name" = String, Path, description = "The upstream's name."),
        ("endpoint" = String, Path, description = "The endpoint as the configuration writes it, percent-encoded."),
    ),
    request_body = Steering,
    responses(
        (status = 200, description = "The upstream as it is now.", body = Upstream),
        Refused, NotFound, BadBody, Unprocessable, Fault,
    )
)]
async fn steer(
    State(api): State<Shared>,
    Path((name, endpoint)): Path<(String, String)>,
    JsonBody(steering): JsonBody<Steering>,
) -> Result<Json<Upstream>, Error> {
    let pool = find(&api, &name)?;
    if steering.weight.is_some_and(|weight| !(1..=1000).contains(&weight)) {
        return Err(Error::Unprocessable("weight is from 1 to 1000".into(), Vec::new()));
    }
    if !pool.steer(&endpoint, steering.state, steering.weight) {
        return Err(Error::NotFound(format!("the upstream {name:?} has no endpoint {endpoint:?}")));
    }
    Ok(Json(Upstream::from(&*pool)))
}

/// The operator's words, as [`Admin`] is written.
fn states() -> Object {
    one_of(&["ready", "drain", "down"])
}

fn find(api: &Shared, name: &str) -> Result<std::sync::Arc<Pool>, Error> {
    let none = || Error::NotFound(format!("there is no upstream {name:?}"));
    api.supervisor.upstreams().find(name).ok_or_else(none)
}
