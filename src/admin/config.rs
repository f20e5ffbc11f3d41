//! The configuration: shown, checked and read again.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::body::TomlText;
use super::extract::Query;
use super::openapi::{BadBody, Fault, Refused, problems};
use super::problem::{Error, What};
use super::wire::{Finding, Plan, hex};
use crate::config::{LoadError, schema_text};
use crate::stats::Trigger;
use crate::supervisor::{ReloadError, Report};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(effective))
        .routes(routes!(validate))
        .routes(routes!(reload))
        .routes(routes!(schema))
}

/// The configuration that runs, with every default filled in. As TOML with `Accept: application/toml`.
#[utoipa::path(
    get, path = "/api/v1/config", tag = "config", security(("token" = ["read"])), operation_id = "get_config",
    params(
        ("Accept" = Option<String>, Header, description = "`application/toml` for TOML."),
        ("If-None-Match" = Option<String>, Header, description = "An ETag that is known already."),
    ),
    responses(
        (status = 200, description = "The configuration.", headers(("ETag" = String)),
            content((Object = "application/json"), (String = "application/toml"))),
        (status = 304, description = "It is the one that is known."),
        Refused, Fault,
    )
)]
async fn effective(State(api): State<Shared>, headers: HeaderMap) -> Response {
    let config = &api.supervisor.running().config;
    let toml = wants_toml(&headers);
    // The two forms have different bytes, so their strong tags differ.
    let tag = format!("\"{}{}\"", hex(&config.hash()), if toml { "-toml" } else { "" });
    let known = is_known(&headers, &tag);
    let described = [(header::ETAG, tag.as_str()), (header::VARY, "accept")];
    match (known, toml) {
        (true, _) => (StatusCode::NOT_MODIFIED, described).into_response(),
        (false, true) => {
            (described, [(header::CONTENT_TYPE, "application/toml")], config.to_toml()).into_response()
        }
        (false, false) => (described, Json(config.to_json())).into_response(),
    }
}

/// Whether the client names TOML, and JSON not before it.
fn wants_toml(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (name, refused)
    });
    types.find_map(|(name, refused)| match name.as_str() {
        "application/toml" if !refused => Some(true),
        "application/json" if !refused => Some(false),
        _ => None,
    }) == Some(true)
}

/// Whether `If-None-Match` has the tag.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == tag)
}

/// Whether a text could be the configuration.
#[derive(Serialize, ToSchema)]
struct Verdict {
    /// Whether a reload would take it, as far as can be said without building and binding anything.
    valid: bool,
    /// Every finding, sorted by position; warnings alone leave it valid.
    diagnostics: Vec<Finding>,
    /// What a reload would do; null where it is not valid.
    plan: Option<Plan>,
}

/// Checks a configuration without touching anything.
#[utoipa::path(
    post, path = "/api/v1/config/validate", tag = "config", security(("token" = ["read"])), operation_id = "validate_config",
    request_body(content = String, content_type = "application/toml", description = "The configuration."),
    responses(
        (status = 200, description = "What there is to say of it, good or bad.", body = Verdict),
        Refused, BadBody, Fault,
    )
)]
async fn validate(State(api): State<Shared>, TomlText(text): TomlText) -> Result<Json<Verdict>, Error> {
    let (valid, found, plan) = match api.supervisor.validate(text).await {
        Ok((plan, warnings)) => (true, warnings, Some(plan.into())),
        Err(LoadError::Syntax(found, _) | LoadError::Invalid(found, _)) => (false, found, None),
        Err(error @ LoadError::Unreadable(..)) => return Err(ReloadError::Load(error).into()),
    };
    Ok(Json(Verdict { valid, diagnostics: Finding::list(found), plan }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Reload {
    /// Only rehearse: build and bind everything, then undo it.
    #[serde(default)]
    dry_run: bool,
}

/// What a reload did, or a rehearsal would do.
#[derive(Serialize, ToSchema)]
struct Reloaded {
    /// The configuration that runs now; the same as before where there was nothing to do.
    generation: u64,
    /// Whether it was a rehearsal.
    dry_run: bool,
    /// How long it took.
    duration_seconds: f64,
    /// The difference.
    plan: Plan,
    /// What is not wrong but worth a look.
    warnings: Vec<Finding>,
}

impl From<Report> for Reloaded {
    fn from(report: Report) -> Self {
        let Report { generation, dry_run, duration, plan, warnings } = report;
        Reloaded {
            generation,
            dry_run,
            duration_seconds: duration.as_secs_f64(),
            plan: plan.into(),
            warnings: Finding::list(warnings),
        }
    }
}

/// 409, 422 and 503: a reload that changed nothing.
struct NotReloaded;

impl utoipa::IntoResponses for NotReloaded {
    fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        problems(&[
            (409, "An endpoint could not be bound. Nothing has changed."),
            (422, "The configuration is wrong or a handler could not be built. Nothing has changed."),
            (503, "The gateway is shutting down."),
        ])
    }
}

/// Reads the configuration again and takes it over: all of it, or nothing.
#[utoipa::path(
    post, path = "/api/v1/config/reload", tag = "config", security(("token" = ["operate"])), operation_id = "reload_config", params(Reload),
    responses(
        (status = 200, description = "It was taken over, or could be.", body = Reloaded),
        Refused, NotReloaded, Fault,
    )
)]
async fn reload(
    State(api): State<Shared>,
    Query(Reload { dry_run }): Query<Reload>,
) -> Result<(Extension<What>, Json<Reloaded>), Error> {
    let report = api.supervisor.reload(Trigger::Api, dry_run).await?;
    let what =
        What(format!("generation {}{}", report.generation, if dry_run { ", a rehearsal" } else { "" }));
    Ok((Extension(what), Json(report.into())))
}

/// The JSON Schema of the configuration, with the options of every handler type.
#[utoipa::path(
    get, path = "/api/v1/config/schema", tag = "config", security(("token" = ["read"])), operation_id = "get_config_schema",
    responses((status = 200, description = "JSON Schema.", body = Object, content_type = "application/schema+json"), Refused, Fault)
)]
async fn schema(State(api): State<Shared>) -> impl IntoResponse {
    let kind = HeaderValue::from_static("application/schema+json");
    ([(header::CONTENT_TYPE, kind)], schema_text(&*api.supervisor.catalog()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn toml_is_for_those_who_name_it() {
        let check = |values: &[&str], expected: bool| {
            let mut map = HeaderMap::new();
            values.iter().for_each(|value| {
                map.append(header::ACCEPT, value.parse().unwrap());
            });
            assert_eq!(wants_toml(&map), expected, "{values:?}");
        };
        check(&[], false);
        check(&["*/*"], false);
        check(&["application/toml"], true);
        check(&["Application/TOML; q=0.9, */*"], true);
        check(&["text/html", "application/toml"], true);
        check(&["application/json, application/toml"], false);
        check(&["application/toml;q=0, application/json"], false);
    }

    #[test]
    fn a_tag_that_is_known_is_found_in_the_list() {
        let check = |value: &str, expected: bool| {
            assert_eq!(is_known(&headers(header::IF_NONE_MATCH, &[value]), "\"ab\""), expected, "{value}");
        };
        check("\"ab\"", true);
        check("W/\"ab\"", true);
        check("\"x\", \"ab\"", true);
        check("*", true);
        check("\"ab-toml\"", false);
        check("ab", false);
        assert!(!is_known(&HeaderMap::new(), "\"ab\""));
    }
}
