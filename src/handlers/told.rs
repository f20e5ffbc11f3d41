//! What the log and the bus of events say of logins and transfers, whatever protocol they came by.

use std::fmt::Display;
use std::time::Duration;

use serde_json::json;

use crate::accounts::LoginError;
use crate::handler::Conn;
use crate::stats::EventKind;
use crate::storage::StorageError;

closed! {
    /// Why a login failed.
    LoginFailure {
        Credentials = "credentials",
        Disabled = "disabled",
        TlsRequired = "tls_required",
        Limit = "limit",
        Address = "address",
    }
}

closed! {
    /// Why a transfer failed.
    TransferFailure {
        ClientAbort = "client_abort",
        DiskFull = "disk_full",
        Quota = "quota",
        Permission = "permission",
        Timeout = "timeout",
        Io = "io",
    }
}

impl LoginFailure {
    /// What a refused login is told as: whether the name is known is not. None: nobody was refused, the accounts do not
    /// work.
    pub(super) fn of(error: &LoginError) -> Option<Self> {
        match error {
            LoginError::UnknownName | LoginError::WrongPassword => Some(LoginFailure::Credentials),
            LoginError::Disabled => Some(LoginFailure::Disabled),
            LoginError::TooMany => Some(LoginFailure::Address),
            LoginError::Unavailable(_) => None,
        }
    }
}

impl From<&StorageError> for TransferFailure {
    fn from(error: &StorageError) -> Self {
        match error {
            StorageError::Full => TransferFailure::DiskFull,
            StorageError::Quota => TransferFailure::Quota,
            StorageError::ReadOnly
            | StorageError::Closed
            | StorageError::Denied
            | StorageError::ReadOnlyDisk => TransferFailure::Permission,
            _ => TransferFailure::Io,
        }
    }
}

/// Says that somebody has logged in, by which method, or was refused, and why.
pub(super) fn login(conn: &Conn, user: &str, outcome: Result<&'static str, LoginFailure>) {
    let (listener, peer, id) = (conn.listener(), conn.peer().to_string(), conn.id().0);
    let outcome = outcome.map_err(LoginFailure::name);
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
    pub(super) failure: Option<TransferFailure>,
}

/// Says what came of a transfer.
pub(super) fn transfer(conn: &Conn, transfer: &Transfer<'_>) {
    let Transfer { user, command, kind, path, bytes, took, failure } = *transfer;
    let (listener, id, seconds) = (conn.listener(), conn.id().0, took.as_secs_f64());
    let failure = failure.map(TransferFailure::name);
    let outcome = failure.unwrap_or("complete");
    tracing::info!(target: "polygate::transfer", conn = id, listener, user, command, %path, bytes, duration_seconds = seconds, outcome, "transfer");
    conn.meter().site().stats.events().publish(EventKind::Transfer, || {
        json!({
            "listener": listener, "conn": id, "user": user, "kind": kind, "path": path.to_string(),
            "bytes": bytes, "duration_seconds": seconds, "ok": failure.is_none(), "reason": failure,
        })
    });
}
