//! The OpenAPI document, made from the routes, and the problems that they have in common.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::problem::{CONTENT_TYPE, Problem};
use crate::version::VERSION;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "gateway", security(("token" = ["read"])),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object), Refused, Fault)
)]
async fn openapi(State(api): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], api.openapi.clone())
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "polygate admin API", description = "Shows and steers a running gateway."),
    tags(
        (name = "health", description = "For probes and scrapes; open to any Host."),
        (name = "gateway", description = "The program."),
        (name = "listeners", description = "The listeners."),
        (name = "connections", description = "The live connections."),
        (name = "events", description = "What happens, as it happens."),
        (name = "consoles", description = "Conversations that operators follow and answer."),
        (name = "upstreams", description = "What connections are carried to."),
        (name = "config", description = "The configuration."),
        (name = "accounts", description = "Who may log in, and what they hold."),
        (name = "page", description = "The same for people, in a browser."),
    ),
    components(schemas(Problem)),
    modifiers(&Scheme)
)]
struct Document;

/// How a token is sent; a route names the role that it needs.
struct Scheme;

impl Modify for Scheme {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token of the configuration, needed as soon as it has one. A route names the role that it \
                 needs: read, operate or admin; a higher role includes the lower.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The document before any route is in it.
pub(super) fn document() -> OpenApi {
    let mut document = Document::openapi();
    document.info.version = VERSION.into();
    document
}

/// The document as JSON.
pub(super) fn render(document: &OpenApi) -> String {
    document.to_pretty_json().unwrap_or_else(|error| {
        // Plain data with string keys can always be written.
        tracing::error!(%error, "cannot render the OpenAPI document");
        String::new()
    })
}

/// 400, 401, 403 and 429: what every guarded route may answer.
pub(super) struct Refused;

/// 401, 403 and 429: the same where any Host will do.
pub(super) struct TokenRefused;

/// 400: the query does not fit.
pub(super) struct BadRequest;

/// 404: nothing has that name or number.
pub(super) struct NotFound;

/// 409: no listener uses accounts, or the name is taken.
pub(super) struct NoAccounts;

/// 408, 413 and 415: the body does not fit.
pub(super) struct BadBody;

/// 422: the body is understood and cannot be done.
pub(super) struct Unprocessable;

/// 500: a fault of the program.
pub(super) struct Fault;

const NO_TOKEN: (u16, &str) = (401, "A token is needed, or it is not known.");
const TOO_MANY_TOKENS: (u16, &str) = (429, "Too many wrong tokens from this address.");
const BAD_REQUEST: (u16, &str) = (400, "The path, the query or the Host header is wrong.");

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            BAD_REQUEST,
            NO_TOKEN,
            (403, "The token's role is too small, or Host, Origin or Sec-Fetch-Site is not ours."),
            TOO_MANY_TOKENS,
        ])
    }
}

impl IntoResponses for TokenRefused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[NO_TOKEN, (403, "The token's role is too small."), TOO_MANY_TOKENS])
    }
}

impl IntoResponses for BadRequest {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[BAD_REQUEST])
    }
}

impl IntoResponses for NotFound {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(404, "Nothing has that name or number.")])
    }
}

impl IntoResponses for NoAccounts {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(409, "No listener has a handler with accounts, or the name of a new one is taken.")])
    }
}

impl IntoResponses for BadBody {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            (408, "The body did not come in time."),
            (413, "The body is longer than 1 MiB."),
            (415, "The body is of another type."),
        ])
    }
}

impl IntoResponses for Unprocessable {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(422, "A value in the body does not fit.")])
    }
}

impl IntoResponses for Fault {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[(500, "A fault in polygate.")])
    }
}

/// Responses whose body is a problem.
pub(super) fn problems(statuses: &[(u16, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |description: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        ResponseBuilder::new().description(description).content(CONTENT_TYPE, content).build()
    };
    statuses.iter().map(|(status, text)| (status.to_string(), RefOr::T(problem(text)))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::super::documented;
    use super::super::guard::OPEN;
    use super::render;

    fn document() -> Value {
        serde_json::from_str(&render(&documented().into_openapi())).unwrap()
    }

    #[test]
    fn the_page_and_the_document_have_the_same_routes() {
        let document = document();
        let mut routes = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            routes.extend(item.as_object().unwrap().keys().map(|m| format!("{} {path}", m.to_uppercase())));
        }
        // Headings of the page: `GET /path`, `DELETE /path`
        let page = include_str!("../../docs/admin-api.md");
        let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
        let described: BTreeSet<_> = headings
            .flat_map(|heading| heading.split(", "))
            .map(|r| r.trim_matches('`').to_owned())
            .collect();
        assert_eq!(described, routes);
        assert!(routes.len() >= 14, "{routes:?}");
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_operation_says_how_it_succeeds_and_fails() {
        let document = document();
        let mut seen = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let at = format!("{method} {path}");
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|status| status.starts_with(['1', '2'])), "{at} never succeeds");
                assert!(responses.contains_key("500"), "{at} has no 500");
                if !OPEN.contains(&path.as_str()) {
                    assert!(responses.contains_key("400") && responses.contains_key("403"), "{at}: guards");
                }
                if path.contains('{') {
                    assert!(responses.contains_key("404"), "{at} has no 404");
                }
                if operation.get("requestBody").is_some() {
                    assert!(responses.contains_key("413") && responses.contains_key("415"), "{at}: body");
                }
                for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
                    let problem = response["content"].get("application/problem+json").is_some();
                    assert!(problem || (path == "/readyz" && status == "503"), "{at} {status} is no problem");
                }
                assert!(operation["summary"].is_string(), "{at} has no summary");
                seen.push(operation["operationId"].as_str().unwrap().to_owned());
            }
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "operation ids are unique: {seen:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    /// Two types of one name would be one schema in the document, and one of them described wrongly.
    #[test]
    fn no_two_types_share_a_schema() {
        let mut sources = String::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin")];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                match path.extension() {
                    None => folders.push(path),
                    Some(extension) if extension == "rs" => sources += &fs::read_to_string(path).unwrap(),
                    Some(_) => {}
                }
            }
        }
        // What is between the derive and the fields: `)] #[schema(as = Name)] struct Name {`
        let heads = sources.split("#[derive(").filter_map(|item| item.split_once('{')).map(|(head, _)| head);
        let name = |head: &str| {
            let after = |mark| head.split(mark).nth(1).map(str::to_owned);
            let name = after("schema(as = ").or_else(|| after("struct ")).or_else(|| after("enum ")).unwrap();
            name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
        };
        let names: Vec<_> = heads.filter(|head| head.contains("ToSchema)]")).map(name).collect();
        assert!(names.len() > 30, "{names:?}");
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    /// `routes!` documents what it registers; every other way would leave a route out of the document.
    #[test]
    fn routes_are_registered_by_the_documenting_macro_only() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
        let mut files = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !name.ends_with(".rs") || name == "tests.rs" {
                continue;
            }
            files += 1;
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for other in ["route", "route_service", "nest", "nest_service", "fallback_service"] {
                let call = format!(".{other}(");
                assert!(!code.contains(&call), "{} has {call}", path.display());
            }
            if code.contains("fn routes()") {
                let merge = format!(".merge({}::routes())", name.trim_end_matches(".rs"));
                assert!(include_str!("mod.rs").contains(&merge), "nothing says {merge}");
            }
        }
        assert!(files > 5, "the folder was read");
    }
}
