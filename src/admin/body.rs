//! Bodies of requests: text of a limited length, within a limited time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::Error;

/// The longest body.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// How long a body may take; bytes that drip in do not extend it.
const DEADLINE: Duration = Duration::from_secs(30);

/// The text of a configuration.
pub(super) struct TomlText(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for TomlText {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        // The last is what curl sends with --data-binary when it is told nothing else.
        const TAKEN: [&str; 4] = [
            "application/toml",
            "text/plain",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
        ];
        let (parts, body) = request.into_parts();
        if let Some(given) = media_type(&parts.headers)
            && !TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(given))
        {
            let detail = format!("the body is a configuration: application/toml or text/plain, not {given}");
            return Err(Error::UnsupportedMediaType(detail));
        }
        Ok(TomlText(read(&parts.headers, body).await?))
    }
}

/// A body that is one JSON object of that shape.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        match media_type(&parts.headers) {
            Some(given) if given.eq_ignore_ascii_case("application/json") => {}
            given => {
                let given = given.unwrap_or("one without a type");
                let detail = format!("the body is application/json, not {given}");
                return Err(Error::UnsupportedMediaType(detail));
            }
        }
        let text = read(&parts.headers, body).await?;
        let wrong = |why: String| Error::Unprocessable(format!("the body: {why}"), Vec::new());
        // The fields of a struct could stand in an array, too, by their places; that is nobody's intention.
        if text.trim_start().starts_with('[') {
            return Err(wrong("expected an object, not an array".into()));
        }
        serde_json::from_str(&text).map(JsonBody).map_err(|error| wrong(error.to_string()))
    }
}

/// The same, where nothing, or null, stands for the default.
pub(super) struct MaybeJson<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        if media_type(request.headers()).is_none() && hyper::body::Body::is_end_stream(request.body()) {
            return Ok(MaybeJson(T::default()));
        }
        JsonBody::<Option<T>>::from_request(request, state)
            .await
            .map(|JsonBody(body)| MaybeJson(body.unwrap_or_default()))
    }
}

/// The content type without its parameters; none where it is not given. One that cannot be read is not
/// any that is taken.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    Some(value.split(';').next().unwrap_or_default().trim())
}

async fn read(headers: &HeaderMap, body: Body) -> Result<String, Error> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > MAX_BYTES as u64) {
        return Err(Error::TooLarge(MAX_BYTES));
    }
    let collected = tokio::time::timeout(DEADLINE, Limited::new(body, MAX_BYTES).collect()).await;
    let bytes = match collected {
        Err(_) => return Err(Error::Timeout(DEADLINE.as_secs())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Error::TooLarge(MAX_BYTES)),
        Ok(Err(error)) => return Err(Error::BadRequest(format!("the body cannot be read: {error}"))),
        Ok(Ok(body)) => body.to_bytes(),
    };
    String::from_utf8(bytes.into()).map_err(|_| Error::BadRequest("the body is not UTF-8".into()))
}
