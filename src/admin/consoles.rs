//! The operator's console: conversations by number, to be followed and answered.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::body::JsonBody;
use super::extract::{Path, Query};
use super::openapi::{BadBody, Fault, NotFound, Refused, Unprocessable, problems};
use super::problem::Error;
use super::wire::{List, time};
use crate::console::{self, Conversation};

/// The longest answer, in bytes.
const LONGEST: usize = 16 * 1024;

/// Between two signs of life to whoever follows.
const PING: std::time::Duration = std::time::Duration::from_secs(20);

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(reply))
        .routes(routes!(follow))
}

/// A conversation as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Console)]
struct Summary {
    /// Its number: that of its connection, or over datagrams one that no connection has.
    id: u64,
    /// The listener's name.
    listener: String,
    /// `tcp`, `udp`, `unix` or `unixgram`.
    transport: &'static str,
    /// The other side.
    peer: String,
    /// When it began.
    started_at: String,
    /// Whether it goes on.
    open: bool,
    /// Whether the peer has said something that nobody has answered.
    waiting: bool,
    /// How many entries there have been.
    entries_total: u64,
    /// When the last one was.
    last_at: Option<String>,
}

/// A conversation with what has been said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsoleConversation)]
struct Whole {
    #[serde(flatten)]
    summary: Summary,
    /// What is kept of it, the newest 256 entries or 64 KiB.
    entries: Vec<Entry>,
}

/// One thing that was said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsoleEntry)]
struct Entry {
    /// Its number in the conversation, from 1.
    number: u64,
    /// When.
    time: String,
    /// `client`, `operator` or `gateway`.
    from: &'static str,
    /// The text; bytes that are no UTF-8 are replaced.
    text: String,
}

impl From<&Conversation> for Summary {
    fn from(conversation: &Conversation) -> Self {
        let (about, state) = (&conversation.about, conversation.state());
        Summary {
            id: about.id,
            listener: about.listener.to_string(),
            transport: about.transport.as_str(),
            peer: about.peer.clone(),
            started_at: time(conversation.started),
            open: state.open,
            waiting: state.waits,
            entries_total: state.entries,
            last_at: state.last.map(time),
        }
    }
}

impl From<&console::Entry> for Entry {
    fn from(entry: &console::Entry) -> Self {
        let console::Entry { number, time: at, from, text } = entry;
        Entry { number: *number, time: time(*at), from: from.as_str(), text: text.clone() }
    }
}

/// Which conversations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only those of this listener.
    listener: Option<String>,
}

/// The conversations: those that go on and the last 100 that have ended.
#[utoipa::path(
    get, path = "/api/v1/consoles", tag = "consoles", security(("token" = ["read"])), operation_id = "list_consoles",
    params(Filter),
    responses((status = 200, description = "All of them, by number.", body = List<Summary>), Refused, Fault)
)]
async fn list(State(api): State<Shared>, Query(filter): Query<Filter>) -> Json<List<Summary>> {
    let all = api.supervisor.consoles().all();
    let wanted = all.iter().filter(|conversation| {
        filter.listener.as_deref().is_none_or(|name| *conversation.about.listener == *name)
    });
    Json(List::whole(wanted.map(|conversation| Summary::from(&**conversation)).collect()))
}

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Since {
    /// Only what was said after the entry of this number.
    #[serde(default)]
    after: u64,
}

/// One conversation with what has been said.
#[utoipa::path(
    get, path = "/api/v1/consoles/{id}", tag = "consoles", security(("token" = ["read"])), operation_id = "get_console",
    params(("id" = u64, Path, description = "Its number."), Since),
    responses((status = 200, description = "The conversation.", body = Whole), Refused, NotFound, Fault)
)]
async fn one(
    State(api): State<Shared>,
    Path(id): Path<u64>,
    Query(from): Query<Since>,
) -> Result<Json<Whole>, Error> {
    let conversation = find(&api, id)?;
    // The summary first: no entry may be counted and missing.
    let summary = Summary::from(&*conversation);
    let entries = conversation.after(from.after).iter().map(|entry| Entry::from(&**entry)).collect();
    Ok(Json(Whole { summary, entries }))
}

/// What an operator says.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ConsoleReply)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// The text, which is sent as it is: a line end must be in it. At most 16 KiB.
    text: String,
}

/// 409: the conversation has ended. 503: the peer does not take what is sent.
struct NotSent;

impl utoipa::IntoResponses for NotSent {
    fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        problems(&[
            (409, "The conversation has ended."),
            (503, "The peer does not take what is sent to it; this answer may still arrive."),
        ])
    }
}

/// Answers in a conversation; returns once the answer has been sent.
#[utoipa::path(
    post, path = "/api/v1/consoles/{id}/reply", tag = "consoles", security(("token" = ["operate"])), operation_id = "reply",
    params(("id" = u64, Path, description = "The conversation's number.")),
    request_body = Answer,
    responses(
        (status = 200, description = "The answer as it stands in the conversation.", body = Entry),
        Refused, NotFound, NotSent, BadBody, Unprocessable, Fault,
    )
)]
async fn reply(
    State(api): State<Shared>,
    Path(id): Path<u64>,
    JsonBody(answer): JsonBody<Answer>,
) -> Result<Json<Entry>, Error> {
    let conversation = find(&api, id)?;
    if answer.text.is_empty() || answer.text.len() > LONGEST {
        return Err(Error::Unprocessable(format!("text has 1 to {LONGEST} bytes"), Vec::new()));
    }
    match conversation.reply(answer.text).await {
        Ok(entry) => Ok(Json(Entry::from(&*entry))),
        Err(error @ console::NotSent::Ended) => Err(Error::Conflict(error.to_string())),
        Err(error @ console::NotSent::Busy) => Err(Error::Unavailable(error.to_string())),
    }
}

/// 503: too many follow already.
struct TooMany;

impl utoipa::IntoResponses for TooMany {
    fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        problems(&[(503, "Too many WebSockets are open.")])
    }
}

/// Follows a conversation over a WebSocket: each entry as a text message with its JSON, first those that are kept, and
/// `{"ended": true}` at the end. What the client sends is ignored.
#[utoipa::path(
    get, path = "/api/v1/consoles/{id}/ws", tag = "consoles", security(("token" = ["read"])), operation_id = "follow_console",
    params(("id" = u64, Path, description = "The conversation's number."), Since),
    responses(
        (status = 101, description = "The WebSocket."),
        Refused, NotFound, TooMany, Fault,
    )
)]
async fn follow(
    State(api): State<Shared>,
    Path(id): Path<u64>,
    Query(from): Query<Since>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let conversation = find(&api, id)?;
    let upgrade = upgrade.map_err(|error| Error::BadRequest(error.body_text()))?;
    let too_many = |_| Error::Unavailable("too many WebSockets are open".into());
    let permit = api.followers.clone().try_acquire_owned().map_err(too_many)?;
    // Nothing that a client sends is of use here.
    let upgrade = upgrade.max_message_size(4096).max_frame_size(4096);
    Ok(upgrade.on_upgrade(move |socket| tell(socket, conversation, from.after, permit)))
}

/// Tells of a conversation until its end or the follower's.
async fn tell(
    mut socket: WebSocket,
    conversation: Arc<Conversation>,
    mut after: u64,
    _permit: OwnedSemaphorePermit,
) {
    let mut news = conversation.news();
    let mut pings = tokio::time::interval(PING);
    loop {
        // Marked as seen first, so that what is said meanwhile is news again.
        news.borrow_and_update();
        let open = conversation.state().open;
        for entry in conversation.after(after) {
            after = entry.number;
            let text = json!(Entry::from(&*entry)).to_string();
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
        if !open {
            let _ = socket.send(Message::text(json!({ "ended": true }).to_string())).await;
            let _ = socket.send(Message::Close(None)).await;
            return;
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            _ = pings.tick() => if socket.send(Message::Ping(Default::default())).await.is_err() { return },
            message = socket.recv() => if !matches!(message, Some(Ok(_))) { return },
        }
    }
}

fn find(api: &Shared, id: u64) -> Result<Arc<Conversation>, Error> {
    let none = || Error::NotFound(format!("there is no conversation {id}"));
    api.supervisor.consoles().find(id).ok_or_else(none)
}
