//! Transfers: RETR, STOR, APPE, STOU and the listings, from the open file to the one final reply.
//!
//! What can be known is answered before anything is promised: the file is opened, or the place for it reserved,
//! then the data connection is waited for, then 150 is sent, then the bytes move.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::Verb;
use super::counts::{DataFailure, Kind};
use super::listing::{self, Format};
use super::names::refusal;
use super::options::RestTail;
use super::pacer::Pacer;
use super::progress::Progress;
use super::pump::{self, Failure};
use super::reply::{Reply, push_name};
use super::security::protect;
use super::session::{Representation, Session};
use crate::config::Size;
use crate::handler::Conn;
use crate::handlers::told::{self, Transfer, TransferFailure};
use crate::net::Stream;
use crate::storage::{Home, HomePath, How, Listing, Sink, StorageError};

/// How often a name is tried that is to be unique.
const TRIES: usize = 16;

type Work = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What is done once the data connection is there.
type Begin = Box<dyn FnOnce(Stream, Progress, CancellationToken) -> Work + Send>;

impl Session<'_> {
    pub(super) async fn retrieve(&mut self, conn: &mut Conn, argument: &[u8]) -> io::Result<Reply> {
        let (rest, ascii) = (std::mem::take(&mut self.rest), self.representation == Representation::Ascii);
        if ascii && rest > 0 {
            return Ok(Reply::new(504, "REST needs TYPE I."));
        }
        let opened = async {
            let (home, path) = (self.home()?, self.path(argument)?);
            let reader = home.open_read(&path, rest).await?;
            Ok::<_, StorageError>((home, path, reader))
        };
        let (home, path, reader) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return Ok(refusal(&error)),
        };
        let size = reader.size - rest;
        let at_most = self.ftp.options.data_timeout.get();
        let pacer = self.pacer(&home);
        let begin: Begin = Box::new(move |data, progress, abort| {
            Box::pin(async move {
                let send =
                    pump::Send { home, file: reader.file.into(), from: rest, left: size, at_most, pacer };
                if ascii {
                    send.text(data, &progress, &abort).await
                } else {
                    send.image(data, &progress, &abort).await
                }
            })
        });
        let opening = format!("Opening a data connection for {size} bytes.");
        self.transfer(conn, (Verb::Retr, Kind::Download, path), opening.into(), begin).await
    }

    pub(super) async fn store(&mut self, conn: &mut Conn, verb: Verb, argument: &[u8]) -> io::Result<Reply> {
        let rest = std::mem::take(&mut self.rest);
        let how = match (verb, rest) {
            (Verb::Appe, 0) => How::Append,
            (Verb::Appe, _) => {
                self.allocated = None;
                return Ok(Reply::new(503, "REST does not go with APPE."));
            }
            (_, 0) => How::Create,
            (_, offset) => How::At { offset, keep_tail: self.ftp.options.rest_tail == RestTail::Keep },
        };
        if rest > 0 && self.representation == Representation::Ascii {
            self.allocated = None;
            return Ok(Reply::new(504, "REST needs TYPE I."));
        }
        match self.path(argument) {
            Ok(path) => self.upload(conn, verb, path, how, "Opening a data connection.".into()).await,
            Err(error) => {
                self.allocated = None;
                Ok(refusal(&error))
            }
        }
    }

    /// STOU: the name is ours to choose, near the one that was asked for (RFC 1123, 4.1.2.9).
    pub(super) async fn store_unique(&mut self, conn: &mut Conn, argument: &[u8]) -> io::Result<Reply> {
        self.rest = 0;
        let asked = if argument.is_empty() { b"upload" } else { argument };
        for try_ in 0..TRIES {
            let mut name = asked.to_vec();
            if try_ > 0 || argument.is_empty() {
                let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
                name.extend_from_slice(format!(".{random}").as_bytes());
            }
            let free = async {
                let path = self.path(&name)?;
                match self.home()?.find(&path).await {
                    Err(StorageError::NotFound) => Ok(Some(path)),
                    Ok(_) => Ok(None),
                    Err(error) => Err(error),
                }
            };
            match free.await {
                Ok(Some(path)) => {
                    let mut opening = b"FILE: ".to_vec();
                    push_name(&mut opening, &name);
                    return self.upload(conn, Verb::Stou, path, How::Create, opening).await;
                }
                Ok(None) => {}
                Err(error) => {
                    self.allocated = None;
                    return Ok(refusal(&error));
                }
            }
        }
        self.allocated = None;
        Ok(Reply::new(450, "No free name was found."))
    }

    async fn upload(
        &mut self,
        conn: &mut Conn,
        verb: Verb,
        path: HomePath,
        how: How,
        opening: Vec<u8>,
    ) -> io::Result<Reply> {
        let allocated = self.allocated.take();
        let expected = allocated.map(|bytes| match how {
            How::At { offset, .. } => bytes.max(offset),
            How::Create | How::Append => bytes,
        });
        let opened = async {
            let home = self.home()?;
            let sink = home.open_write(&path, how, expected).await?;
            Ok::<(Sink, Pacer), StorageError>((sink, self.pacer(&home)))
        };
        let (sink, pacer) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return Ok(refusal(&error)),
        };
        let (ascii, at_most) =
            (self.representation == Representation::Ascii, self.ftp.options.data_timeout.get());
        let begin: Begin = Box::new(move |data, progress, abort| {
            Box::pin(async move {
                let receive = pump::Receive { sink, at_most, pacer, ascii, allocated };
                receive.run(data, &progress, &abort).await
            })
        });
        self.transfer(conn, (verb, Kind::Upload, path), opening, begin).await
    }

    pub(super) async fn list(&mut self, conn: &mut Conn, verb: Verb, argument: &[u8]) -> io::Result<Reply> {
        self.rest = 0;
        let found = match self.listing(verb, argument).await {
            Ok(found) => found,
            Err(error) => return Ok(refusal(&error)),
        };
        let Found { path, listing, pattern, format } = found;
        let at_most = self.ftp.options.data_timeout.get();
        let begin: Begin = Box::new(move |data, progress, abort| {
            Box::pin(async move {
                pump::send_list(data, listing, (&format, pattern.as_deref()), at_most, &progress, &abort)
                    .await
            })
        });
        self.transfer(conn, (verb, Kind::List, path), "Here comes the listing.".into(), begin).await
    }

    async fn listing(&self, verb: Verb, argument: &[u8]) -> Result<Found, StorageError> {
        let argument = if verb == Verb::Mlsd { argument } else { without_options(argument) };
        let home = self.home()?;
        let format = match verb {
            Verb::Mlsd => Format::Facts(self.facts, self.may_write()),
            Verb::Nlst => Format::Names(Vec::new()),
            _ => Format::Long,
        };
        let path = self.path(argument)?;
        if verb == Verb::Mlsd {
            // MLSD is of directories only (RFC 3659, 7.2).
            home.find_folder(&path).await?;
            return Ok(Found { listing: home.list(&path).await?, path, pattern: None, format });
        }
        let last = argument.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        match home.list(&path).await {
            Ok(listing) => {
                let is_folder = home.find_folder(&path).await.is_ok();
                // Names as the client can use them again: with the folder that it named before them.
                let prefix = match (&format, is_folder) {
                    (Format::Names(_), true) if !argument.is_empty() && argument != b"." => {
                        let slash = if argument.ends_with(b"/") { &b""[..] } else { b"/" };
                        Some([argument, slash].concat())
                    }
                    (Format::Names(_), false) => Some(argument[..last].to_vec()),
                    _ => None,
                };
                let format = prefix.map_or(format, Format::Names);
                Ok(Found { path, listing, pattern: None, format })
            }
            Err(StorageError::NotFound) if listing::is_pattern(&argument[last..]) => {
                let folder = self.path(&argument[..last])?;
                let format = match format {
                    Format::Names(_) => Format::Names(argument[..last].to_vec()),
                    format => format,
                };
                let listing = home.list(&folder).await?;
                Ok(Found { path, listing, pattern: Some(argument[last..].to_vec()), format })
            }
            Err(error) => Err(error),
        }
    }

    /// STAT with a path: the listing on the control connection.
    pub(super) async fn list_here(&mut self, conn: &mut Conn, argument: &[u8]) -> io::Result<Reply> {
        let mut found = match self.listing(Verb::List, argument).await {
            Ok(found) => found,
            Err(error) => return Ok(refusal(&error)),
        };
        self.counts.reply(213);
        self.send(conn, b"213-Here comes the listing.\r\n").await?;
        let now = std::time::SystemTime::now();
        loop {
            let batch = match found.listing.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(target: "polygate::storage", %error, "a listing was cut");
                    break;
                }
            };
            let mut text = Vec::new();
            let fits = |name| found.pattern.as_ref().is_none_or(|pattern| listing::fits(pattern, name));
            for entry in batch.iter().filter(|entry| fits(&entry.name)) {
                text.push(b' ');
                found.format.push(&mut text, entry, now);
            }
            self.send(conn, &text).await?;
        }
        Ok(Reply::new(213, "End"))
    }

    fn pacer(&self, home: &Home) -> Pacer {
        Pacer::new(home.clone(), self.ftp.options.bandwidth.map(Size::bytes))
    }

    /// Connects, says 150, does the work and says what came of it.
    async fn transfer(
        &mut self,
        conn: &mut Conn,
        (verb, kind, path): (Verb, Kind, HomePath),
        opening: Vec<u8>,
        begin: Begin,
    ) -> io::Result<Reply> {
        let Some(data) = self.data.take() else {
            return Ok(Reply::new(425, "Send EPSV or PASV first."));
        };
        let mode = data.mode();
        let progress = Progress::new(verb, kind, path, &self.counts);
        let abort = CancellationToken::new();
        let connect = Box::pin({
            let (at_most, abort) = (self.ftp.options.data_timeout.get(), abort.clone());
            async move {
                tokio::select! {
                    connected = data.connect(at_most) => connected.map_err(Some),
                    () = abort.cancelled() => Err(None),
                }
            }
        });
        let stream = match self.accompany(conn, &progress, &abort, connect).await? {
            Ok(stream) => stream,
            Err(None) => return Ok(Reply::new(426, "Aborted.")),
            Err(Some(why)) => return Ok(no_data(why)),
        };
        self.say(&Reply::new(150, opening));
        self.flush(conn).await?;
        let counts = self.counts.clone();
        let under_way = counts.transfer(kind);
        let began = Instant::now();
        let (protection, at_most) = (self.protection(), self.ftp.options.data_timeout.get());
        let shake = {
            let abort = abort.clone();
            Box::pin(async move {
                tokio::select! {
                    stream = protect(stream, protection.as_ref(), at_most) => stream.ok_or(DataFailure::Tls),
                    () = abort.cancelled() => Err(DataFailure::Io),
                }
            })
        };
        let stream = match self.accompany(conn, &progress, &abort, shake).await? {
            Ok(stream) => stream,
            Err(why) => {
                counts.not_connected(mode, why);
                counts.transfer_failed(kind, TransferFailure::Io);
                return Ok(match why {
                    DataFailure::Tls => Reply::new(522, "The data connection has no TLS as it should."),
                    _ => Reply::new(426, "Aborted."),
                });
            }
        };
        let work = begin(stream, progress.clone(), abort.clone());
        let result = self.accompany(conn, &progress, &abort, work).await;
        drop(under_way);
        counts.took(kind, began.elapsed());
        let (reply, failure) = match &result {
            Ok(Ok(())) => (Reply::new(226, "Complete."), None),
            Ok(Err(failure)) => (failure.reply(), Some(failure.reason())),
            Err(_) => (Reply::new(426, "The client has gone."), Some(TransferFailure::ClientAbort)),
        };
        if let Some(why) = failure {
            counts.transfer_failed(kind, why);
        }
        self.tell(conn, &progress, failure, began);
        result.map(|_| reply)
    }

    /// Says in the log and to whoever listens what came of a transfer.
    fn tell(&self, conn: &Conn, progress: &Progress, failure: Option<TransferFailure>, began: Instant) {
        let (verb, kind, path) = progress.about();
        if kind == Kind::List {
            return;
        }
        told::transfer(
            conn,
            &Transfer {
                user: self.who.as_ref().map_or("", |who| &who.name),
                command: verb.name(),
                kind: kind.name(),
                path: &path,
                bytes: progress.bytes(),
                took: began.elapsed(),
                failure,
            },
        );
    }
}

/// A directory to be listed.
struct Found {
    path: HomePath,
    listing: Listing,
    /// Of which only the names are told that fit.
    pattern: Option<Vec<u8>>,
    format: Format,
}

/// LIST takes a path; what looks like an option of `ls` before it is passed over.
fn without_options(argument: &[u8]) -> &[u8] {
    let mut rest = argument.trim_ascii_start();
    while rest.first() == Some(&b'-') {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        rest = rest[end..].trim_ascii_start();
    }
    rest
}

fn no_data(why: DataFailure) -> Reply {
    Reply::new(
        425,
        match why {
            DataFailure::Timeout => "The data connection did not come in time.",
            DataFailure::Refused => "The data connection was refused.",
            _ => "There is no data connection.",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ls_are_passed_over() {
        for (argument, expected) in
            [("", ""), ("-la", ""), ("-l -a  d", "d"), ("a -l", "a -l"), (" x", "x"), ("-", "")]
        {
            assert_eq!(without_options(argument.as_bytes()), expected.as_bytes(), "{argument}");
        }
    }
}
