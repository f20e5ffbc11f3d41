//! What the log and the bus of events say of logins and transfers, whatever protocol they came by.

use std::fmt::Display;
use std::time::Duration;

use serde_json::json;

use crate::handler::Conn;
use crate::stats::EventKind;
use crate::storage::StorageError;

/// Says that somebody has logged in, by which method, or was refused, and why.
pub(super) fn login(conn: &Conn, user: &str, outcome: Result<&'static str, &'static str>) {
    let (listener, peer, id) = (conn.listener(), conn.peer().to_string(), conn.id().0);
    match outcome {
        Ok(method) => {
            tracing::info!(target: "polygate::login", conn = id, listener, %peer, user, method, "logged in");
        }
        Err(reason) => {
            tracing::warn!(target: "polygate::login", conn = id, listener, %peer, user, reason, "refused");
        }
    }
    conn.meter().site().stats.events().publish(EventKind::Login, || {
        let (name, value) = match outcome {
            Ok(method) => ("method", method),
            Err(reason) => ("reason", reason),
        };
        json!({
            "listener": listener, "conn": id, "peer": peer, "user": user, "ok": outcome.is_ok(), (name): value,
        })
    });
}

/// A transfer that has ended.
pub(super) struct Transfer<'a> {
    pub(super) user: &'a str,
    /// What the client asked for, in its protocol's words.
    pub(super) command: &'a str,
    /// `upload` or `download`.
    pub(super) kind: &'static str,
    pub(super) path: &'a dyn Display,
    /// How much was moved.
    pub(super) bytes: u64,
    pub(super) took: Duration,
    /// Why it failed.
    pub(super) failure: Option<&'static str>,
}

impl Transfer<'_> {
    /// The same with why it failed, if it did.
    pub(super) fn ending(self, failure: Option<&'static str>) -> Self {
        Transfer { failure, ..self }
    }
}

/// Says what came of a transfer.
pub(super) fn transfer(conn: &Conn, transfer: &Transfer<'_>) {
    let Transfer { user, command, kind, path, bytes, took, failure } = *transfer;
    let (listener, id, seconds) = (conn.listener(), conn.id().0, took.as_secs_f64());
    let outcome = failure.unwrap_or("complete");
    tracing::info!(target: "polygate::transfer", conn = id, listener, user, command, %path, bytes, duration_seconds = seconds, outcome, "transfer");
    conn.meter().site().stats.events().publish(EventKind::Transfer, || {
        json!({
            "listener": listener, "conn": id, "user": user, "kind": kind, "path": path.to_string(),
            "bytes": bytes, "duration_seconds": seconds, "ok": failure.is_none(), "reason": failure,
        })
    });
}

/// Why a storage failed a transfer, as the label `reason` has it.
pub(super) fn reason(error: &StorageError) -> &'static str {
    match error {
        StorageError::Full => "disk_full",
        StorageError::Quota => "quota",
        StorageError::Denied | StorageError::ReadOnly | StorageError::ReadOnlyDisk | StorageError::Closed => {
            "permission"
        }
        _ => "io",
    }
}
