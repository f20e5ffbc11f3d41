//! A small client of FTP: passive (EPSV), binary, with REST to go on and MLSD to list (RFC 959, 2428, 3659).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::super::exit::{Exit, Failure};
use super::super::terminal::escape;
use super::address::Address;
use super::progress::{Broken, copy};
use super::reply::{Control, Reply, broken};
use super::{Entry, Moved, Open, Remote, set};

/// The largest listing.
const LARGEST_LISTING: u64 = 64 * 1024 * 1024;

/// A session that is logged in.
pub(super) struct Ftp {
    control: Control,
    timeout: Duration,
    server: String,
}

impl Ftp {
    pub(super) fn login(
        stream: TcpStream,
        timeout: Duration,
        url: &Address,
        user: &str,
        password: &str,
    ) -> Result<Self, Failure> {
        let server = url.server();
        let mut control = Control::new(stream, server.clone());
        let greeting = control.hear()?;
        if greeting.code != 220 {
            return Err(control.refused("the connection", &greeting));
        }
        let mut reply = control.ask(&format!("USER {user}"))?;
        if reply.code == 331 {
            let command = format!("PASS {password}");
            reply = control.ask(&command)?;
        }
        if reply.code / 100 != 2 {
            return Err(control.refused(&format!("the login of {user}"), &reply));
        }
        control.must("TYPE I", 2)?;
        Ok(Ftp { control, timeout, server })
    }

    /// The size of a file, or of the beginning of one that was cut; none where there is nothing, or the server
    /// does not tell.
    fn size(&mut self, path: &str) -> Result<Option<u64>, Failure> {
        let reply = self.control.ask(&format!("SIZE {path}"))?;
        match reply.code {
            213 => Ok(reply.text.split_whitespace().nth(1).and_then(|size| size.parse().ok())),
            _ => Ok(None),
        }
    }

    /// A data connection for the next command.
    fn passive(&mut self) -> Result<TcpStream, Failure> {
        let reply = self.control.must("EPSV", 2)?;
        let Some(port) = extended_port(&reply.text) else {
            return Err(self.control.refused("EPSV", &reply));
        };
        let at = SocketAddr::new(self.control.peer()?, port);
        let stream =
            TcpStream::connect_timeout(&at, self.timeout).and_then(|stream| set(stream, self.timeout));
        stream.map_err(|error| {
            let message = format!("cannot connect to {at} for the data: {error}");
            Failure::new(Exit::Unavailable, message)
        })
    }

    /// Lets a transfer begin; its reply must say so.
    fn begin(&mut self, command: &str, offset: u64) -> Result<TcpStream, Failure> {
        let data = self.passive()?;
        if offset > 0 {
            self.control.must(&format!("REST {offset}"), 3)?;
        }
        self.control.must(command, 1)?;
        Ok(data)
    }

    /// The reply that says what became of a transfer. It says more than the connection that broke.
    fn end(&mut self, command: &str, error: Option<Broken>) -> Result<Reply, Failure> {
        if let Some(Broken::Source(error) | Broken::Sink(error)) = error {
            return match self.control.hear() {
                Ok(reply) if reply.code >= 400 => Err(self.control.refused(command, &reply)),
                _ => Err(broken(&self.server, &error)),
            };
        }
        match self.control.hear()? {
            reply if reply.code / 100 == 2 => Ok(reply),
            reply => Err(self.control.refused(command, &reply)),
        }
    }
}

impl Remote for Ftp {
    fn put(&mut self, path: &str, file: &mut File, size: u64, resume: bool) -> Result<Moved, Failure> {
        let offset = if resume { self.size(path)?.unwrap_or(0) } else { 0 };
        if offset > size {
            let message = format!(
                "{} holds {offset} bytes of {}, which has {size} only: it is another file",
                self.server,
                escape(path)
            );
            return Err(Failure::new(Exit::Failure, message));
        }
        if offset == size && size > 0 && self.is_complete(path)? {
            return Ok(Moved { offset, bytes: 0 });
        }
        file.seek(SeekFrom::Start(offset)).map_err(here)?;
        let command = format!("STOR {path}");
        let mut data = self.begin(&command, offset)?;
        let copied = copy(file, &mut data, size - offset, offset, Some(size));
        match copied {
            Ok(bytes) if bytes == size - offset => {
                let ended = data.shutdown(Shutdown::Write);
                drop(data);
                self.end(&command, ended.err().map(Broken::Sink))?;
                Ok(Moved { offset, bytes })
            }
            Ok(_) => Err(Failure::new(Exit::Failure, "the file has become shorter while it was sent")),
            Err(Broken::Source(error)) => Err(here(error)),
            Err(error) => Err(self.end(&command, Some(error)).err().unwrap_or_else(cut)),
        }
    }

    fn get(&mut self, path: &str, have: u64, open: Open<'_>) -> Result<Moved, Failure> {
        let size = self.size(path)?;
        match size {
            Some(size) if have > size => {
                let message = format!(
                    "the file here has {have} bytes, {} at {} has {size} only: it is another file",
                    escape(path),
                    self.server
                );
                return Err(Failure::new(Exit::Failure, message));
            }
            Some(size) if have == size && size > 0 => return Ok(Moved { offset: have, bytes: 0 }),
            _ => {}
        }
        let command = format!("RETR {path}");
        let mut data = self.begin(&command, have)?;
        let mut sink = open()?;
        match copy(&mut data, &mut *sink, u64::MAX, have, size) {
            Ok(bytes) => {
                drop(data);
                self.end(&command, None)?;
                match size {
                    Some(size) if have + bytes != size => Err(cut()),
                    _ => Ok(Moved { offset: have, bytes }),
                }
            }
            Err(Broken::Sink(error)) => Err(here(error)),
            Err(error) => Err(self.end(&command, Some(error)).err().unwrap_or_else(cut)),
        }
    }

    fn list(&mut self, path: &str) -> Result<Vec<Entry>, Failure> {
        let command = if path.is_empty() { "MLSD".to_owned() } else { format!("MLSD {path}") };
        let data = self.passive()?;
        let reply = self.control.ask(&command)?;
        if reply.code / 100 == 5 && !path.is_empty() {
            // Of a file there is no folder to list, but its own facts.
            let facts = self.control.ask(&format!("MLST {path}"))?;
            if facts.code / 100 == 2 {
                return Ok(facts.text.lines().filter_map(|line| entry(line.strip_prefix(' ')?)).collect());
            }
        }
        if reply.code / 100 != 1 {
            return Err(self.control.refused(&command, &reply));
        }
        let mut text = Vec::new();
        let read = data.take(LARGEST_LISTING).read_to_end(&mut text);
        self.end(&command, read.err().map(Broken::Source))?;
        Ok(String::from_utf8_lossy(&text).lines().filter_map(entry).collect())
    }
}

impl Ftp {
    /// Whether a complete file has the name: a part of one that was cut can be added to, not fetched.
    fn is_complete(&mut self, path: &str) -> Result<bool, Failure> {
        Ok(self.control.ask(&format!("MLST {path}"))?.code / 100 == 2)
    }
}

/// A file here that cannot be read or written.
fn here(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("the file here: {error}"))
}

fn cut() -> Failure {
    Failure::new(Exit::Failure, "the transfer was cut: --continue goes on with it")
}

/// The port in `229 ... (|||PORT|)`; the separator is the server's choice (RFC 2428, 3).
fn extended_port(text: &str) -> Option<u16> {
    let (_, inside) = text.split_once('(')?;
    let separator = inside.chars().next()?;
    inside.split(separator).nth(3)?.parse().ok().filter(|port| *port > 0)
}

/// A line of MLSD: `fact=value;fact=value; NAME` (RFC 3659, 7.2). The folder itself and its parent are none.
fn entry(line: &str) -> Option<Entry> {
    let (facts, name) = line.trim_end_matches('\r').split_once(' ')?;
    let fact = |wanted: &str| {
        let mut pairs = facts.split(';').filter_map(|fact| fact.split_once('='));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let kind = fact("type").unwrap_or("file").to_ascii_lowercase();
    if matches!(kind.as_str(), "cdir" | "pdir") {
        return None;
    }
    Some(Entry {
        name: name.to_owned(),
        size_bytes: fact("size").and_then(|size| size.parse().ok()),
        modified: fact("modify").and_then(time),
        kind,
    })
}

/// `YYYYMMDDHHMMSS` as RFC 3339 has it, both UTC.
fn time(text: &str) -> Option<String> {
    let digits = text.get(..14).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (date, time) = digits.split_at(8);
    let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
    Some(format!("{year}-{month}-{day}T{}:{}:{}Z", &time[..2], &time[2..4], &time[4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_epsv_is_between_the_third_and_fourth_separator() {
        assert_eq!(extended_port("229 Entering (|||6446|)"), Some(6446));
        assert_eq!(extended_port("229 ok (!!!21!)"), Some(21));
        for wrong in ["229 ok", "229 (|||x|)", "229 (|||0|)", "229 (||6446|)"] {
            assert_eq!(extended_port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_of_mlsd_are_entries() {
        let shown = |line| entry(line).map(|it| (it.name, it.kind, it.size_bytes, it.modified));
        let modified = Some("2000-02-28T23:59:59Z".to_owned());
        let file = shown("type=file;size=12;modify=20000228235959.123;perm=r; a  b\r");
        assert_eq!(file, Some(("a  b".into(), "file".into(), Some(12), modified)));
        assert_eq!(shown("Type=dir; d"), Some(("d".into(), "dir".into(), None, None)));
        assert_eq!(shown("type=cdir; ."), None);
        assert_eq!(shown("nonsense"), None);
        assert_eq!(time("2000022823595x"), None);
    }
}
