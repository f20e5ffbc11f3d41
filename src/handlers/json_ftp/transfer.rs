//! Files: put with resume, get, and the list.

use std::fs::File;
use std::io;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;

use super::{INVALID, START, Visit};
use crate::accounts::Login;
use crate::handler::Conn;
use crate::handlers::told::{self, Transfer, TransferFailure};
use crate::storage::{Entry, HomePath, How, Kind, Sink, StorageError};

/// How much of a file is held at once.
const BUFFER: usize = 64 * 1024;

/// What a put comes to before any byte is sent.
enum Put {
    /// It can go on from that many bytes.
    From(Box<Sink>, u64),
    /// The file is there already.
    Complete,
    /// It cannot be.
    Refused,
    /// It cannot be, and the client would send the file all the same.
    Closed,
}

impl Visit<'_> {
    /// Takes a file, from where it was cut the last time.
    pub(super) async fn put(
        &mut self,
        conn: &mut Conn,
        login: &Login,
        object: &Map<String, Value>,
    ) -> io::Result<bool> {
        let size = object.get("filesize").and_then(Value::as_u64);
        let owner = object.get("file_owner").map_or(Some(&*login.name), Value::as_str);
        let path = file(object).filter(|_| owner == Some(&*login.name));
        let (Some(path), Some(size)) = (path, size) else { return invalid(conn).await };
        match begin(login, &path, size).await {
            Put::From(sink, held) => {
                let answer = if held == 0 { START.to_owned() } else { held.to_string() };
                conn.write_all(answer.as_bytes()).await?;
                self.receive(conn, login, (&path, *sink), size - held).await
            }
            Put::Complete => {
                conn.write_all(size.to_string().as_bytes()).await?;
                Ok(true)
            }
            Put::Refused => invalid(conn).await,
            Put::Closed => invalid(conn).await.map(|_| false),
        }
    }

    /// Takes exactly so many bytes. Nothing is answered: that is how the client knows that all is well.
    async fn receive(
        &mut self,
        conn: &mut Conn,
        login: &Login,
        (path, mut sink): (&HomePath, Sink),
        mut left: u64,
    ) -> io::Result<bool> {
        let (began, all) = (Instant::now(), left);
        let tell = |conn: &Conn, left: u64, failure: Option<TransferFailure>| {
            let moved = all - left;
            told::transfer(conn, &of(login, "put", path, moved, began, failure));
        };
        let failed = |error: &StorageError| {
            tracing::warn!(target: "polygate::transfer", user = &*login.name, %path, %error, "upload failed");
            TransferFailure::from(error)
        };
        while left > 0 {
            let at_most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let bytes = match self.input.bytes(conn, at_most).await {
                Ok(bytes) if !bytes.is_empty() => bytes,
                cut => {
                    let failure =
                        sink.keep().await.err().map_or(TransferFailure::ClientAbort, |error| failed(&error));
                    tell(conn, left, Some(failure));
                    return cut.map(|_| false);
                }
            };
            left -= bytes.len() as u64;
            if let (_, Err(error)) = sink.write(bytes).await {
                tell(conn, left, Some(failed(&error)));
                if let Err(error) = sink.keep().await {
                    failed(&error);
                }
                // Nothing can be said to a client that is sending: it hears the end.
                return Ok(false);
            }
        }
        let failure = sink.commit().await.err().map(|error| failed(&error));
        tell(conn, 0, failure);
        Ok(failure.is_none())
    }

    /// Sends a file: its size, then, once the client says so, what is behind the offset.
    pub(super) async fn get(
        &mut self,
        conn: &mut Conn,
        login: &Login,
        object: &Map<String, Value>,
    ) -> io::Result<bool> {
        let offset = object.get("offset").map_or(Some(0), Value::as_u64);
        let (Some(path), Some(offset)) = (file(object), offset) else { return invalid(conn).await };
        let Ok(reader) = login.home.open_read(&path, offset).await else { return invalid(conn).await };
        conn.write_all(reader.size.to_string().as_bytes()).await?;
        match self.input.word(conn, START).await? {
            Some(true) => {}
            // Another command instead: the file is not wanted any more.
            Some(false) => return Ok(true),
            None => return invalid(conn).await.map(|_| false),
        }
        let (began, all) = (Instant::now(), reader.size - offset);
        let mut left = all;
        let (sent, failure) = match send(conn, login, reader.file, &mut left).await {
            Ok(()) => (Ok(true), None),
            Err((error, reason)) => (Err(error), Some(reason)),
        };
        told::transfer(conn, &of(login, "get", &path, all - left, began, failure));
        sent
    }

    /// Sends the list of files as one array, in one write while it is short.
    pub(super) async fn list(&mut self, conn: &mut Conn, login: &Login) -> io::Result<bool> {
        let Ok(mut listing) = login.home.list(&HomePath::ROOT).await else { return invalid(conn).await };
        let mut text = String::from("[");
        let mut separator = "";
        loop {
            let batch = match listing.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => return Err(io::Error::other(error)),
            };
            for entry in batch.iter().filter(|entry| matches!(entry.kind, Kind::File | Kind::Partial)) {
                text.push_str(separator);
                text.push_str(&item(entry).to_string());
                separator = ",";
            }
            if text.len() > BUFFER / 2 {
                conn.write_all(text.as_bytes()).await?;
                text.clear();
            }
        }
        text.push_str("]\n");
        conn.write_all(text.as_bytes()).await?;
        Ok(true)
    }
}

/// Sends what is left of a file. An error comes with the reason that is told.
async fn send(
    conn: &mut Conn,
    login: &Login,
    mut file: File,
    left: &mut u64,
) -> Result<(), (io::Error, TransferFailure)> {
    while *left > 0 {
        let at_most = usize::try_from(*left).unwrap_or(BUFFER).min(BUFFER);
        let (back, bytes) = login.home.read_some(file, at_most).await;
        file = back;
        let bytes = bytes.map_err(|error| (error, TransferFailure::Io))?;
        if bytes.is_empty() {
            return Err((io::ErrorKind::UnexpectedEof.into(), TransferFailure::Io));
        }
        conn.write_all(&bytes).await.map_err(|error| (error, TransferFailure::ClientAbort))?;
        *left -= bytes.len() as u64;
    }
    Ok(())
}

/// What is told of a transfer that has moved so many bytes.
fn of<'a>(
    login: &'a Login,
    command: &'static str,
    path: &'a HomePath,
    bytes: u64,
    began: Instant,
    failure: Option<TransferFailure>,
) -> Transfer<'a> {
    let kind = if command == "put" { "upload" } else { "download" };
    Transfer { user: &login.name, command, kind, path, bytes, took: began.elapsed(), failure }
}

fn item(entry: &Entry) -> Value {
    let modified = jiff::Timestamp::try_from(entry.modified).unwrap_or_default();
    let seconds = jiff::Timestamp::from_second(modified.as_second()).unwrap_or_default();
    json!({
        "name": entry.name.to_string_lossy(),
        "size": entry.size,
        "modified": seconds.to_string(),
    })
}

/// The name that an object gives: of a file, not a path.
fn file(object: &Map<String, Value>) -> Option<HomePath> {
    object.get("filename").and_then(Value::as_str).and_then(|name| HomePath::file(name).ok())
}

async fn begin(login: &Login, path: &HomePath, size: u64) -> Put {
    let held = match login.home.find(path).await {
        Ok(entry) if entry.kind == Kind::File && entry.size == size => return Put::Complete,
        Ok(entry) if entry.kind == Kind::File => return Put::Closed,
        // A partial that is longer belongs to another file.
        Ok(entry) if entry.kind == Kind::Partial && entry.size <= size => entry.size,
        Ok(entry) if entry.kind == Kind::Partial => 0,
        Err(StorageError::NotFound) => 0,
        Ok(_) | Err(_) => return Put::Refused,
    };
    let open = |held: u64| {
        let how = if held == 0 { How::Create } else { How::At { offset: held, keep_tail: false } };
        login.home.open_write(path, how, Some(size))
    };
    match open(held).await {
        Ok(sink) => Put::From(Box::new(sink), held),
        // Somebody else has taken the partial meanwhile, or it is another name's that is listed like this one.
        Err(StorageError::Offset) => match open(0).await {
            Ok(sink) => Put::From(Box::new(sink), 0),
            Err(_) => Put::Refused,
        },
        Err(_) => Put::Refused,
    }
}

async fn invalid(conn: &mut Conn) -> io::Result<bool> {
    conn.write_all(INVALID.as_bytes()).await?;
    Ok(true)
}
