//! Everything that can go wrong with a request, rendered once as a problem (RFC 9457).

use std::any::Any;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::wire::Finding;
use crate::config::LoadError;
use crate::supervisor::ReloadError;

/// The content type of every error.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request is not answered as asked. The texts are for whoever sent it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The request's path, query or headers are wrong.
    #[error("{0}")]
    BadRequest(String),
    /// There is no token, or not one that is known.
    #[error("{0}")]
    Unauthorized(String),
    /// The token's role is too small, or `Host`, `Origin` or `Sec-Fetch-Site` say that it comes from somewhere else.
    #[error("{0}")]
    Forbidden(String),
    /// Nothing has that name, number or path.
    #[error("{0}")]
    NotFound(String),
    /// The path is there, the method is not.
    #[error("the methods that this path takes are in the Allow header")]
    MethodNotAllowed(String),
    /// The body did not come in time.
    #[error("the body was not complete after {0} s")]
    Timeout(u64),
    /// Something in the way: an address in use.
    #[error("{0}")]
    Conflict(String),
    /// The body is too long.
    #[error("a body may have {0} bytes")]
    TooLarge(usize),
    /// The body is not what the route takes.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A configuration is at fault.
    #[error("{0}")]
    Unprocessable(String, Vec<Finding>),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
    /// Too many wrong tokens; in so many seconds it may be tried again.
    #[error("too many wrong tokens came from this address")]
    TooManyRequests(u64),
    /// A fault of this program.
    #[error("this is a fault in polygate; its log says more")]
    Internal,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Error::BadRequest(_) => StatusCode::BAD_REQUEST,
            Error::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Error::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Error::Unprocessable(..) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What the audit log says of an answer besides its status. A route adds it as an `Extension`.
#[derive(Debug, Clone)]
pub(super) struct What(pub(super) String);

/// An error as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// What is wrong with the configuration, where one is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Finding>>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        let detail = self.to_string();
        let what = What(detail.clone());
        let allow = match &self {
            Error::MethodNotAllowed(allow) => {
                HeaderValue::from_str(allow).ok().filter(|allow| !allow.is_empty())
            }
            _ => None,
        };
        let wait = if let Error::TooManyRequests(wait) = self { Some(wait) } else { None };
        let errors = match self {
            Error::Unprocessable(_, findings) => Some(findings),
            _ => None,
        };
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail,
            errors,
        };
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750, 3.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"polygate\""));
        }
        allow.map(|allow| headers.insert(header::ALLOW, allow));
        wait.map(|wait| headers.insert(header::RETRY_AFTER, wait.into()));
        // What is left of a body that was not read would be taken for the next request.
        if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(what);
        response
    }
}

impl From<ReloadError> for Error {
    fn from(error: ReloadError) -> Self {
        let text = error.to_string();
        match error {
            ReloadError::Load(error) => load_error(error),
            ReloadError::Build { listener, .. } => {
                let finding = Finding::of_listener(&listener, &text);
                Error::Unprocessable(text, vec![finding])
            }
            ReloadError::Bind { .. } => Error::Conflict(text),
            ReloadError::ShuttingDown => Error::Unavailable(text),
        }
    }
}

/// A configuration that cannot be loaded.
fn load_error(error: LoadError) -> Error {
    let text = error.to_string();
    let findings = match error {
        LoadError::Unreadable(path, _) => vec![Finding::of_file(&path, &text)],
        LoadError::Syntax(found, _) | LoadError::Invalid(found, _) => Finding::list(found),
    };
    Error::Unprocessable(text, findings)
}

/// Answers what no route matches.
pub(super) async fn no_such_route(request: Request) -> Error {
    Error::NotFound(format!("nothing is at {}", request.uri().path()))
}

/// Answers a method that a route does not have; axum adds the Allow header.
pub(super) async fn no_such_method() -> Error {
    Error::MethodNotAllowed(String::new())
}

/// Answers for a route that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown");
    tracing::error!(panic = text, "an admin request panicked");
    Error::Internal.into_response()
}
