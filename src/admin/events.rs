//! What happens, as it happens: server-sent events (WHATWG HTML, 9.2) with numbers, so that whoever was away hears what
//! is remembered of the time between.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Interval, interval};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::extract::Query;
use super::openapi::{BadRequest, Fault, Refused};
use super::problem::{Error, Problem};
use super::wire::time;
use crate::stats::{Event, EventKind, EventKinds, Subscription};

/// How often a comment says that the stream is alive, so that nobody in between takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Select {
    /// Kinds, separated by commas: `config`, `listener`, `lifecycle`, `connection`, `login`, `transfer`, `limit`,
    /// `panic`, `upstream`, `stats`. All but `connection` and `stats` if it is not given.
    kind: Option<String>,
}

impl Select {
    fn kinds(&self) -> Result<EventKinds, Error> {
        let Some(names) = &self.kind else { return Ok(EventKinds::default()) };
        let kind = |name: &str| EventKind::ALL.iter().copied().find(|kind| kind.as_str() == name);
        let known = |name: &str| {
            let all: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
            kind(name).ok_or_else(|| {
                Error::BadRequest(format!("{name:?} is no kind of event; there are {}", all.join(", ")))
            })
        };
        names.split(',').map(|name| known(name.trim())).collect()
    }
}

/// Events as they happen.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", security(("token" = ["read"])), operation_id = "follow_events", params(Select),
    responses(
        (status = 200, description = "Server-sent events; `Last-Event-ID` brings what is remembered since.", content_type = "text/event-stream", body = String),
        (status = 503, description = "Too many follow already.", body = Problem, content_type = "application/problem+json"),
        Refused, BadRequest, Fault,
    )
)]
async fn events(
    State(api): State<Shared>,
    Query(select): Query<Select>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let since = match headers.get("last-event-id") {
        None => None,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok());
            Some(id.ok_or_else(|| Error::BadRequest("Last-Event-ID is not a number that was sent".into()))?)
        }
    };
    let kinds = select.kinds()?;
    let subscribed = api.supervisor.stats().events().subscribe(kinds, since);
    let (missed, gap, subscription) =
        subscribed.ok_or_else(|| Error::Unavailable("too many follow the events already".into()))?;
    let mut first = String::from(": events of polygate\n\n");
    if gap {
        first.push_str(": some events of the time between are not remembered\n\n");
    }
    missed.iter().for_each(|event| write_event(&mut first, event));
    let body = Stream { first: Some(first), subscription, heartbeat: interval(HEARTBEAT) };
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response())
}

fn write_event(text: &mut String, event: &Arc<Event>) {
    let mut data = event.data.clone();
    if let Value::Object(fields) = &mut data {
        fields.insert("time".into(), time(event.at).into());
    }
    // Writing into a String cannot fail; JSON has no line end.
    let _ = write!(text, "id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind.as_str());
}

/// The body of an answer that goes on until its reader or the gateway ends.
struct Stream {
    first: Option<String>,
    subscription: Subscription,
    heartbeat: Interval,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let mut text = this.first.take().unwrap_or_default();
        let lost = this.subscription.take_lost();
        if lost > 0 {
            let _ = write!(text, ": {lost} events were lost, for they were not read in time\n\n");
        }
        let ended = loop {
            match this.subscription.poll_next(cx) {
                Poll::Ready(Some(event)) => write_event(&mut text, &event),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
            if text.len() > 64 * 1024 {
                break false;
            }
        };
        while this.heartbeat.poll_tick(cx).is_ready() {
            if text.is_empty() {
                text.push_str(": alive\n\n");
            }
        }
        match (text.is_empty(), ended) {
            (false, _) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }
}
