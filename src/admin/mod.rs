//! The admin API: HTTP on its own thread, a view of the gateway and the handle to steer it.
//!
//! Each concern is a file with its routes, all merged in `documented`. Routes are registered with
//! `routes!` only, so the OpenAPI document holds every one of them. What applies to all (guards, problems
//! for what no route answers, headers, counting) is put around them in `dress`.

mod access;
mod accounts;
mod body;
mod config;
mod connections;
mod consoles;
mod events;
mod extract;
mod guard;
mod handlers;
mod health;
mod info;
mod lifecycle;
mod listeners;
mod log;
mod openapi;
mod overview;
mod page;
mod problem;
mod server;
mod strikes;
mod timed;
mod upstreams;
mod wire;

pub use server::serve;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::metrics::Metrics;
use crate::stats::{AdminRequest, Stats};
use crate::supervisor::Supervisor;
use access::{Access, Routes, Who};
use extract::Client;
use overview::Sampler;
use problem::What;

/// What the routes work with.
struct Api {
    supervisor: Supervisor,
    metrics: Metrics,
    /// The OpenAPI document, which does not change while the program runs.
    openapi: String,
    /// The counters of the last minute.
    sampler: Sampler,
    /// Places of those who follow something over a WebSocket.
    followers: Arc<Semaphore>,
}

/// How many may follow something over a WebSocket at once; each holds a connection beside those that are counted.
const FOLLOWERS: usize = 32;

/// The state of every route.
type Shared = Arc<Api>;

/// Every route with its documentation: the only place where routes come together.
fn documented() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::document())
        .merge(health::routes())
        .merge(info::routes())
        .merge(listeners::routes())
        .merge(connections::routes())
        .merge(events::routes())
        .merge(handlers::routes())
        .merge(lifecycle::routes())
        .merge(log::routes())
        .merge(overview::routes())
        .merge(consoles::routes())
        .merge(config::routes())
        .merge(upstreams::routes())
        .merge(accounts::routes())
        .merge(openapi::routes())
        .merge(page::routes())
}

/// What is served on the two kinds of sockets.
#[derive(Clone)]
struct Routers {
    /// `admin.bind`: the whole API.
    api: Router,
    /// `admin.metrics_bind`: health and metrics, for anybody.
    metrics: Router,
}

/// The API of a gateway.
fn routers(supervisor: Supervisor) -> Routers {
    let (routes, document) = documented().split_for_parts();
    let stats = supervisor.stats().clone();
    let running = supervisor.clone();
    let current = Box::new(move || running.running().config.clone());
    let access = Arc::new(Access::new(current, stats.clone(), Routes::of(&document)));
    let metrics = Metrics::new(supervisor.clone());
    let api = Arc::new(Api {
        supervisor,
        metrics,
        openapi: openapi::render(&document),
        sampler: Sampler::default(),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
    });
    let sampled = Arc::downgrade(&api);
    tokio::spawn(async move {
        // Ends with the API.
        if let Some(api) = sampled.upgrade() {
            api.sampler.run(&api.supervisor).await;
        }
    });
    let (open, _) = health::routes().split_for_parts();
    Routers {
        api: dress(routes.with_state(api.clone()), &access),
        metrics: finish(answers(open.with_state(api)), stats),
    }
}

/// Puts around the routes what applies to all of them; the last is the outermost.
fn dress(routes: Router, access: &Arc<Access>) -> Router {
    let guarded = answers(routes)
        .layer(from_fn_with_state(access.clone(), guard::check))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn_with_state(access.clone(), audit));
    finish(guarded, access.stats.clone())
}

/// Answers what the routes do not.
fn answers(routes: Router) -> Router {
    routes.fallback(problem::no_such_route).method_not_allowed_fallback(problem::no_such_method)
}

fn finish(routes: Router, stats: Arc<Stats>) -> Router {
    // Streams of events are not compressed: they would wait for a block to be full.
    routes
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn_with_state(stats, observe))
}

/// Writes a line for each request that changes something, or was refused to. It runs in a task of its own: a
/// client that hangs up must not leave a change half done or unaudited. The query is left out, where a token
/// could stand that somebody put there.
async fn audit(
    State(access): State<Arc<Access>>,
    matched: Option<MatchedPath>,
    client: Client,
    request: Request,
    next: Next,
) -> Response {
    let matched = matched.as_ref().map(MatchedPath::as_str);
    let Some(route) = access.change(matched, request.method()).cloned() else {
        return next.run(request).await;
    };
    let task = tokio::spawn(async move {
        let path = request.uri().path().to_owned();
        let response = next.run(request).await;
        let status = response.status();
        let who = response.extensions().get().map_or_else(|| "nobody".into(), Who::to_string);
        let what = response.extensions().get().map_or("", |What(what)| what);
        let (action, done) = (route.operation, status.is_success());
        tracing::info!(
            target: "polygate::audit",
            action, path, who, client = %client, done, status = status.as_u16(), what,
            "admin change"
        );
        response
    });
    task.await.unwrap_or_else(|error| problem::panicked(Box::new(error.to_string())))
}

/// Counts and logs a request, and sets the headers that every answer has.
async fn observe(
    State(stats): State<Arc<Stats>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let route = matched.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = known(request.method());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let code = response.status().as_u16();
    let duration_seconds = started.elapsed().as_secs_f64();
    tracing::debug!(method, route, code, duration_seconds, "admin request");
    stats.control().admin_request(AdminRequest { route, method, code }, duration_seconds);
    response
}

/// The method as a label: a client can make up any word.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests;
