//! The admin page: files that are part of the program, which see the gateway through the public API only.
//!
//! They are plain modules of the browser's own language, with nothing to build and nothing from elsewhere; the policy
//! (CSP level 3) that they come with allows no inline script, no other origin and no frame around them. Whatever a peer
//! has said of itself is shown as text, and if it were not, could still not run.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::Path;
use super::openapi::{Fault, NotFound, Refused};
use super::problem::Error;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("page/", $name)).as_slice())),*]
    };
}

/// The files: the first is the page, the others are what it loads.
const FILES: [(&str, &[u8]); 15] = files![
    "index.html" "accounts.js" "api.js" "app.js" "config.js" "connections.js" "consoles.js" "dom.js" "events.js"
    "icon.svg" "listeners.js" "live.js" "overview.js" "style.css"
    "upstreams.js"
];

/// Each file's ETag: the first half of its SHA-256. Weak, since an answer may be compressed or not (RFC 9110, 8.8.3).
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tag = |bytes: &[u8]| {
        let digest = Sha256::digest(bytes);
        format!("W/\"{}\"", digest[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    FILES.iter().map(|(_, bytes)| tag(bytes)).collect()
});

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(file))
}

/// The admin page.
#[utoipa::path(
    get, path = "/", tag = "page", security(("token" = ["read"])), operation_id = "get_page",
    responses(
        (status = 200, description = "HTML that shows and steers the gateway over this API.", content_type = "text/html", body = String),
        (status = 304, description = "It is what `If-None-Match` names."),
        Refused, Fault,
    )
)]
async fn page(headers: HeaderMap) -> Response {
    answer(0, &headers)
}

/// A file of the admin page.
#[utoipa::path(
    get, path = "/page/{file}", tag = "page", security(("token" = ["read"])), operation_id = "get_page_file",
    params(("file" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "A script, the style sheet or the icon.", content_type = "text/javascript", body = String),
        (status = 304, description = "It is what `If-None-Match` names."),
        Refused, NotFound, Fault,
    )
)]
async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let at = FILES.iter().skip(1).position(|(file, _)| *file == name);
    let at = at.ok_or_else(|| Error::NotFound(format!("the page has no file {name:?}")))?;
    Ok(answer(at + 1, &headers))
}

fn answer(at: usize, asked: &HeaderMap) -> Response {
    let ((name, bytes), tag) = (FILES[at], TAGS[at].as_str());
    let has_it = asked.get_all(header::IF_NONE_MATCH).iter().any(|tags| {
        let mut tags = tags.to_str().unwrap_or_default().split(',');
        // Compared weakly (RFC 9110, 13.1.2).
        tags.any(|one| matches!(one.trim(), one if one == tag || one == "*"))
    });
    let kind = match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    let mut response = match has_it {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Body::from(bytes).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Kept, and asked for again: another version of the program has other files.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
