//! Commands on names: directories, renaming, sizes, times, facts, hashes (RFC 959, 4.1.3; RFC 3659).

use std::io;
use std::time::SystemTime;

use super::digest::{self, Algorithm};
use super::listing::{self, FactOf};
use super::reply::{Reply, quoted};
use super::session::{Representation, Session};
use super::{format_time, parse_time};
use crate::handler::Conn;
use crate::storage::{Entry, Home, HomePath, Kind, StorageError};

/// The reply to what a place of files says.
pub(super) fn refusal(error: &StorageError) -> Reply {
    use StorageError as E;
    let code = match error {
        E::Name => 553,
        E::Offset => 554,
        E::Quota | E::TooLarge => 552,
        E::Full => 452,
        E::Io(_) | E::ReadOnlyDisk => 451,
        E::Busy => 450,
        E::Unsupported => 504,
        _ => 550,
    };
    if error.is_the_disk() {
        tracing::error!(target: "polygate::storage", %error, "an operation of FTP failed");
    }
    let text = match error {
        // What the system says of the disk is not the client's.
        E::Io(_) => "input/output error".to_owned(),
        error => error.to_string(),
    };
    Reply::new(code, text)
}

impl Session<'_> {
    /// The files of whoever is logged in. The dispatcher lets nobody else through.
    pub(super) fn home(&self) -> Result<Home, StorageError> {
        self.who.as_ref().map(|who| who.home.clone()).ok_or(StorageError::Closed)
    }

    pub(super) fn path(&self, argument: &[u8]) -> Result<HomePath, StorageError> {
        self.folder.join(argument)
    }

    /// The entry that an argument names.
    async fn find(&self, argument: &[u8]) -> Result<(HomePath, Entry), StorageError> {
        let path = self.path(argument)?;
        let entry = self.home()?.find(&path).await?;
        Ok((path, entry))
    }

    pub(super) async fn change_folder(&mut self, conn: &Conn, argument: &[u8]) -> Reply {
        let to = async {
            let path = self.path(argument)?;
            self.home()?.find_folder(&path).await.map(|_| path)
        };
        match to.await {
            Ok(path) => {
                self.folder = path;
                conn.describe("directory", self.folder.to_string());
                Reply::new(250, quoted(&self.folder.to_bytes(), " is the working directory."))
            }
            Err(error) => refusal(&error),
        }
    }

    pub(super) async fn make_folder(&self, argument: &[u8]) -> Reply {
        let made = async {
            let path = self.path(argument)?;
            self.home()?.make_folder(&path).await.map(|()| path)
        };
        match made.await {
            Ok(path) => Reply::new(257, quoted(&path.to_bytes(), " is made.")),
            Err(error) => refusal(&error),
        }
    }

    pub(super) async fn remove_folder(&self, argument: &[u8]) -> Reply {
        let removed = async { self.home()?.remove_folder(&self.path(argument)?).await };
        done(removed.await, "Removed.")
    }

    pub(super) async fn delete(&self, argument: &[u8]) -> Reply {
        let removed = async { self.home()?.remove(&self.path(argument)?).await };
        done(removed.await, "Deleted.")
    }

    pub(super) async fn rename_from(&mut self, argument: &[u8]) -> Reply {
        match self.find(argument).await {
            Ok((path, _)) => {
                self.rename = Some(path);
                Reply::new(350, "Now RNTO.")
            }
            Err(error) => refusal(&error),
        }
    }

    pub(super) async fn rename_to(&mut self, argument: &[u8]) -> Reply {
        let Some(from) = self.rename.take() else { return Reply::new(503, "Send RNFR first.") };
        let renamed = async { self.home()?.rename(&from, &self.path(argument)?).await };
        done(renamed.await, "Renamed.")
    }

    /// In ASCII the size on the wire is another than that of the file, and nobody should read it all to know
    /// (RFC 3659, 4).
    pub(super) async fn size(&self, argument: &[u8]) -> Reply {
        if self.representation == Representation::Ascii {
            return Reply::new(550, "The size is told in TYPE I only.");
        }
        match self.find(argument).await {
            Ok((_, entry)) if matches!(entry.kind, Kind::File | Kind::Partial) => {
                Reply::new(213, entry.size.to_string())
            }
            Ok(_) => refusal(&StorageError::NotAFile),
            Err(error) => refusal(&error),
        }
    }

    pub(super) async fn modified(&self, argument: &[u8]) -> Reply {
        match self.find(argument).await {
            Ok((_, entry)) => Reply::new(213, format_time(entry.modified)),
            Err(error) => refusal(&error),
        }
    }

    /// MFMT: a time and a name (draft-somers-ftp-mfxx).
    pub(super) async fn set_modified(&self, argument: &[u8]) -> Reply {
        let Some((time, name)) = time_and_name(argument) else {
            return Reply::new(501, "Expected YYYYMMDDHHMMSS and a name.");
        };
        let set = async { self.home()?.set_modified(&self.path(name)?, time).await };
        match set.await {
            Ok(()) => Reply::new(213, [format!("Modify={}; ", format_time(time)).as_bytes(), name].concat()),
            Err(error) => refusal(&error),
        }
    }

    /// MLST: the facts of one name, on the control connection (RFC 3659, 7).
    pub(super) async fn facts_of(&self, argument: &[u8]) -> Reply {
        match self.find(argument).await {
            Ok((path, entry)) => {
                let fact = FactOf { entry: &entry, writable: self.may_write() };
                let mut line = Vec::new();
                listing::push_facts(&mut line, self.facts, &fact);
                line.extend_from_slice(&path.to_bytes());
                Reply::lines(250, "The facts are:", [line], "End")
            }
            Err(error) => refusal(&error),
        }
    }

    /// Whether whoever is logged in may change anything.
    pub(super) fn may_write(&self) -> bool {
        self.who.as_ref().is_some_and(|who| !who.home.usage().is_read_only())
    }

    /// AVBL: what is left of the quota, in bytes (draft-peterson-streamlined-ftp-command-extensions).
    pub(super) async fn available(&self) -> Reply {
        let counted = async {
            let home = self.home()?;
            home.counted().await.map(|()| home.usage().free())
        };
        match counted.await {
            Ok(free) => Reply::new(213, free.to_string()),
            Err(error) => refusal(&error),
        }
    }

    /// RANG: which bytes the next HASH is over (draft-bryan-ftp-range); `1 0` is all of them.
    pub(super) fn set_range(&mut self, argument: &[u8]) -> Reply {
        let text = std::str::from_utf8(argument).unwrap_or_default();
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(1)), Some(Ok(0)), None) => {
                self.range = None;
                Reply::new(350, "All bytes.")
            }
            (Some(Ok(first)), Some(Ok(last)), None) if first <= last => {
                self.range = Some((first, last));
                Reply::new(350, format!("The bytes {first} to {last}; now HASH."))
            }
            _ => Reply::new(501, "Expected the first byte and the last."),
        }
    }

    /// HASH (draft-bryan-ftp-hash). A long one is done in pieces, and the client may leave meanwhile.
    pub(super) async fn hash(&mut self, conn: &mut Conn, argument: &[u8]) -> io::Result<Reply> {
        let range = self.range.take();
        let opened = async {
            let home = self.home()?;
            let path = self.path(argument)?;
            let offset = range.map_or(0, |(first, _)| first);
            let reader = home.open_read(&path, offset).await?;
            Ok::<_, StorageError>((home, reader))
        };
        let (home, reader) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return Ok(refusal(&error)),
        };
        let first = range.map_or(0, |(first, _)| first);
        let end = range.map_or(reader.size, |(_, last)| last.saturating_add(1).min(reader.size));
        conn.enter(crate::handler::Phase::Work);
        let algorithm = self.algorithm;
        let digest = tokio::select! {
            digest = digest::of(&home, reader.file, end.saturating_sub(first), algorithm) => digest,
            _ = conn.killed() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        Ok(match digest {
            Ok(digest) => {
                let text = format!("{} {first}-{end} {digest} ", algorithm.name());
                Reply::new(213, [text.as_bytes(), argument].concat())
            }
            Err(error) => refusal(&error.into()),
        })
    }

    pub(super) fn choose_algorithm(&mut self, name: &[u8]) -> Reply {
        if name.is_empty() {
            return Reply::new(200, self.algorithm.name());
        }
        match Algorithm::of(name) {
            Some(algorithm) => {
                self.algorithm = algorithm;
                Reply::new(200, algorithm.name())
            }
            None => Reply::new(504, "There are SHA-256, SHA-1, MD5 and CRC32."),
        }
    }
}

/// The reply to what has no other outcome than that it is done.
pub(super) fn done(result: Result<(), StorageError>, text: &str) -> Reply {
    match result {
        Ok(()) => Reply::new(250, text),
        Err(error) => refusal(&error),
    }
}

/// `YYYYMMDDHHMMSS NAME`.
pub(super) fn time_and_name(argument: &[u8]) -> Option<(SystemTime, &[u8])> {
    let space = argument.iter().position(|byte| *byte == b' ')?;
    let (time, name) = (&argument[..space], &argument[space + 1..]);
    parse_time(time).filter(|_| !name.is_empty()).map(|time| (time, name))
}
