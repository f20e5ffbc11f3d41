//! Whether the gateway lives and is ready, and its metrics: for probes and scrapes, open to any name.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::Query;
use super::openapi::{BadRequest, Fault, TokenRefused};
use crate::metrics;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(scrape))
}

/// Whether the program runs: always, if it can answer.
#[utoipa::path(
    get, path = "/livez", tag = "health", security(("token" = ["read"])),
    responses((status = 200, description = "It runs.", body = String, content_type = "text/plain"), TokenRefused, Fault)
)]
async fn livez() -> &'static str {
    "ok\n"
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Readyz {
    /// Say a line a listener: `ok NAME`, or `fail NAME` and why.
    #[param(allow_reserved)]
    verbose: Option<String>,
}

/// Whether the gateway does what its configuration says: every listener that should be up is, and nothing drains.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(("token" = ["read"])), params(Readyz),
    responses(
        (status = 200, description = "It does.", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not.", body = String, content_type = "text/plain"),
        BadRequest, TokenRefused, Fault,
    )
)]
async fn readyz(State(api): State<Shared>, Query(query): Query<Readyz>) -> (StatusCode, String) {
    readiness(&api.supervisor.readiness(), query.verbose.is_some_and(|word| word != "false" && word != "0"))
}

fn readiness(checks: &[(String, Result<(), String>)], verbose: bool) -> (StatusCode, String) {
    let ready = checks.iter().all(|(_, check)| check.is_ok());
    let mut text = String::new();
    for (name, check) in checks.iter().filter(|_| verbose) {
        // Writing to a string cannot fail.
        let _ = match check {
            Ok(()) => writeln!(text, "ok {name}"),
            Err(why) => writeln!(text, "fail {name} {why}"),
        };
    }
    match ready {
        true => (StatusCode::OK, text + "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, text + "not ready\n"),
    }
}

/// The metrics in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "health", security(("token" = ["read"])),
    responses((status = 200, description = "Prometheus text.", body = String, content_type = "text/plain"), TokenRefused, Fault)
)]
async fn scrape(State(api): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], api.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(checks: &[(&str, Result<(), &str>)], verbose: bool, expected: (u16, &str)) {
        let owned: Vec<_> =
            checks.iter().map(|(name, check)| ((*name).to_owned(), check.map_err(str::to_owned))).collect();
        let (status, text) = readiness(&owned, verbose);
        assert_eq!((status.as_u16(), text.as_str()), expected);
    }

    #[test]
    fn one_listener_that_is_down_makes_the_gateway_not_ready() {
        check(&[], false, (200, "ready\n"));
        check(&[("echo", Ok(()))], false, (200, "ready\n"));
        check(&[("echo", Ok(())), ("ftp", Err("paused"))], false, (503, "not ready\n"));
        check(&[("echo", Ok(())), ("drain", Ok(()))], true, (200, "ok echo\nok drain\nready\n"));
        check(
            &[("echo", Ok(())), ("ftp", Err("not bound"))],
            true,
            (503, "ok echo\nfail ftp not bound\nnot ready\n"),
        );
    }
}
