//! What this program is, what it runs on and with which configuration.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::openapi::{Fault, Refused};
use super::wire::{Finding, hex, time};
use crate::metrics::file_descriptors;
use crate::supervisor::Source;
use crate::version::{REVISION, RUSTC, VERSION};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(info))
}

/// The program and its configuration.
#[derive(Serialize, ToSchema)]
struct Info {
    /// polygate's version.
    version: &'static str,
    /// The git revision that it was built from, or `unknown`.
    revision: &'static str,
    /// The compiler's version.
    rustc: &'static str,
    /// The process.
    pid: u32,
    /// When the gateway started.
    #[schema(format = DateTime)]
    started_at: String,
    /// How long ago that is.
    uptime_seconds: f64,
    /// The configuration's file; null where a program gave the text.
    config_path: Option<String>,
    /// SHA-256 of the effective configuration.
    config_hash: String,
    /// When it was taken over.
    #[schema(format = DateTime)]
    config_applied_at: String,
    /// Counts the configurations taken over; the first is 1.
    generation: u64,
    /// Where the admin API listens.
    admin: Vec<String>,
    limits: InfoLimits,
    /// Open file descriptors; null where `/proc` is not mounted.
    open_fds: Option<u64>,
    /// The warnings that the configuration came with.
    warnings: Vec<Finding>,
}

/// Limits of the whole process.
#[derive(Serialize, ToSchema)]
struct InfoLimits {
    /// Connections of all listeners together, as far as the file descriptors suffice.
    max_connections: usize,
    /// What the configuration says.
    max_connections_configured: usize,
    /// File descriptors that may be open; null where `/proc` is not mounted.
    max_fds: Option<u64>,
}

/// What this program is and which configuration runs.
#[utoipa::path(
    get, path = "/api/v1/info", tag = "gateway", security(("token" = ["read"])),
    responses((status = 200, description = "The program and its configuration.", body = Info), Refused, Fault)
)]
async fn info(State(api): State<Shared>) -> Json<Info> {
    let supervisor = &api.supervisor;
    let running = supervisor.running();
    let started_at = supervisor.stats().started_at();
    let config_path = match supervisor.source() {
        Source::File(path) => Some(path.display().to_string()),
        Source::Text(_) => None,
    };
    let (open_fds, max_fds) = file_descriptors().ok().unzip();
    Json(Info {
        version: VERSION,
        revision: REVISION,
        rustc: RUSTC,
        pid: std::process::id(),
        started_at: time(started_at),
        uptime_seconds: SystemTime::now().duration_since(started_at).unwrap_or_default().as_secs_f64(),
        config_path,
        config_hash: hex(&running.config.hash()),
        config_applied_at: time(running.applied_at),
        generation: running.generation,
        admin: (supervisor.admin_sockets().borrow().iter())
            .filter(|socket| !socket.metrics_only)
            .map(|socket| socket.url.clone())
            .collect(),
        limits: InfoLimits {
            max_connections: running.max_connections,
            max_connections_configured: running.config.limits.max_connections,
            max_fds,
        },
        open_fds,
        warnings: Finding::list(running.warnings.clone()),
    })
}
