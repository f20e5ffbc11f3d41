//! What the session is set to: TYPE, REST, ALLO, where data goes, FEAT, OPTS, SITE, STAT.

use std::net::IpAddr;

use super::counts::DataMode;
use super::data::Data;
use super::digest::Algorithm;
use super::listing::Facts;
use super::names::{done, refusal, time_and_name};
use super::reply::Reply;
use super::session::{Representation, Session};
use super::{Extended, Port, Verb, epsv_reply, pasv_reply};
use crate::accounts::AccountError;
use crate::handler::Conn;
use crate::storage::StorageError;

impl Session<'_> {
    /// `A`, `A N`, `I`, `L 8` (RFC 959, 3.1.1).
    pub(super) fn set_type(&mut self, argument: &[u8]) -> Reply {
        let asked = argument.trim_ascii().to_ascii_uppercase();
        self.representation = match &*asked {
            b"A" | b"A N" => Representation::Ascii,
            b"I" | b"L 8" => Representation::Image,
            [b'A' | b'E' | b'I' | b'L', ..] => {
                return Reply::new(504, "There are the types A (ASCII) and I (image).");
            }
            _ => return Reply::new(501, "Expected TYPE A or TYPE I."),
        };
        Reply::new(200, "OK.")
    }

    /// REST counts for the next transfer, whatever comes of it (RFC 3659, 5).
    pub(super) fn restart(&mut self, argument: &[u8]) -> Reply {
        match number(argument.trim_ascii()) {
            Some(offset) => {
                self.rest = offset;
                Reply::new(350, format!("The next transfer begins at {offset}."))
            }
            None => Reply::new(501, "Expected a number of bytes."),
        }
    }

    /// ALLO says how long the next upload is: it is refused at once if it does not fit, and an upload that turns out
    /// shorter is not complete.
    pub(super) fn allocate(&mut self, argument: &[u8]) -> Reply {
        let first = argument.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        match number(first) {
            Some(bytes) => {
                self.allocated = Some(bytes);
                Reply::new(200, "Noted.")
            }
            None => Reply::new(501, "Expected a number of bytes."),
        }
    }

    /// The addresses of the control connection, ours first.
    fn addresses(conn: &Conn) -> Option<(IpAddr, IpAddr)> {
        Some((conn.local()?.ip(), conn.peer().ip()?))
    }

    pub(super) fn set_active(&mut self, conn: &Conn, verb: Verb, argument: &[u8]) -> Reply {
        self.data = None;
        if !self.ftp.options.active {
            return Reply::new(502, "Active mode is off; use EPSV or PASV.");
        }
        if self.epsv_only {
            return Reply::new(503, "After EPSV ALL there is only EPSV.");
        }
        let Some((local, peer)) = Self::addresses(conn) else { return no_addresses() };
        let (port, mode) = match verb {
            Verb::Port => (Port::parse_port(argument).ok_or(501), DataMode::Port),
            _ => (Port::parse_eprt(argument), DataMode::Eprt),
        };
        match port {
            // RFC 2577, 3: neither a third party nor a service of the system.
            Ok(port) if !port.is_allowed(peer) => {
                Reply::new(504, "Expected your own address and a port of 1024 or above.")
            }
            Ok(port) => {
                self.data = Some(Data::active(mode, port.0, local, &self.counts));
                Reply::new(200, "OK.")
            }
            Err(522) => Reply::new(522, "There are the network protocols (1,2)."),
            Err(code) => Reply::new(code, "The address is malformed."),
        }
    }

    pub(super) async fn set_passive(&mut self, conn: &Conn) -> Reply {
        self.data = None;
        if self.epsv_only {
            return Reply::new(503, "After EPSV ALL there is only EPSV.");
        }
        let Some((local, peer)) = Self::addresses(conn) else { return no_addresses() };
        let Some(told) = self.ftp.addresses.of(peer, local).await else {
            return Reply::new(425, "There is no IPv4 address here; use EPSV.");
        };
        match self.listen(DataMode::Pasv, local, peer) {
            Some(port) => Reply::new(227, pasv_reply(told, port)),
            None => no_port(),
        }
    }

    pub(super) fn set_extended_passive(&mut self, conn: &Conn, argument: &[u8]) -> Reply {
        let Some((local, peer)) = Self::addresses(conn) else { return no_addresses() };
        match (Extended::parse(argument), local.to_canonical()) {
            (Ok(Extended::All), _) => {
                self.epsv_only = true;
                return Reply::new(200, "From now on there is only EPSV.");
            }
            (Ok(Extended::Same), _)
            | (Ok(Extended::Family(1)), IpAddr::V4(_))
            | (Ok(Extended::Family(_)), IpAddr::V6(_)) => {}
            (Ok(Extended::Family(_)), IpAddr::V4(_)) => {
                return Reply::new(522, "Use the network protocol (1).");
            }
            (Err(522), _) => return Reply::new(522, "There are the network protocols (1,2)."),
            (Err(code), _) => return Reply::new(code, "Expected a network protocol or ALL."),
        }
        self.data = None;
        match self.listen(DataMode::Epsv, local, peer) {
            Some(port) => Reply::new(229, epsv_reply(port)),
            None => no_port(),
        }
    }

    fn listen(&mut self, mode: DataMode, local: IpAddr, peer: IpAddr) -> Option<u16> {
        let data = Data::passive(mode, self.ftp.ports.as_ref(), (local, peer), &self.counts).ok()?;
        let port = data.port();
        self.data = port.is_some().then_some(data);
        port
    }

    /// What there is besides RFC 959 (RFC 2389).
    pub(super) fn features(&self) -> Reply {
        let hashes = Algorithm::ALL.map(|algorithm| {
            let chosen = if algorithm == self.algorithm { "*" } else { "" };
            format!("{}{chosen}", algorithm.name())
        });
        let mut lines = vec![
            "UTF8".to_owned(),
            "SIZE".into(),
            "MDTM".into(),
            "MFMT".into(),
            format!("MLST {}", self.facts.feature()),
            "REST STREAM".into(),
            "EPSV".into(),
            "TVFS".into(),
            "HOST".into(),
            "CLNT".into(),
            "CSID".into(),
            "AVBL".into(),
            format!("HASH {}", hashes.join(";")),
            "RANG STREAM".into(),
            "SITE HELP;QUOTA;REGISTER;UTIME".into(),
        ];
        if self.ftp.options.active {
            lines.push("EPRT".into());
        }
        if self.ftp.acceptor.is_some() {
            lines.extend(["AUTH TLS".to_owned(), "PBSZ".into(), "PROT".into()]);
        }
        Reply::lines(211, "Features:", lines.into_iter().map(String::into_bytes), "End")
    }

    /// `OPTS UTF8 ON`, `OPTS MLST FACTS`, `OPTS HASH NAME`.
    pub(super) fn options(&mut self, argument: &[u8]) -> Reply {
        let (what, value) = split_word(argument);
        match &*what.to_ascii_uppercase() {
            b"UTF8" | b"UTF-8" if value.is_empty() || value.eq_ignore_ascii_case(b"ON") => {
                Reply::new(200, "Names are UTF-8.")
            }
            b"UTF8" | b"UTF-8" => Reply::new(504, "Names are UTF-8, always."),
            b"MLST" => {
                self.facts = Facts::chosen(value);
                Reply::new(200, format!("MLST OPTS {}", self.facts.names()))
            }
            b"HASH" => self.choose_algorithm(value),
            _ => Reply::new(501, "There are the options UTF8, MLST and HASH."),
        }
    }

    pub(super) async fn site(&mut self, conn: &Conn, argument: &[u8]) -> Reply {
        let (what, rest) = split_word(argument);
        let what = what.to_ascii_uppercase();
        let open = matches!(&*what, b"HELP" | b"REGISTER");
        if self.who.is_none() && !open {
            return Reply::new(530, "Log in with USER and PASS first.");
        }
        match &*what {
            b"HELP" => {
                let mut lines = vec!["HELP", "QUOTA", "REGISTER NAME PASSWORD", "UTIME YYYYMMDDHHMMSS NAME"];
                if self.ftp.options.site_chmod {
                    lines.push("CHMOD MODE NAME");
                }
                Reply::lines(214, "SITE has:", lines.into_iter().map(|line| line.into()), "End")
            }
            b"QUOTA" => self.quota().await,
            b"REGISTER" => self.register(conn, rest).await,
            b"UTIME" => {
                let Some((time, name)) = utime(rest) else {
                    return Reply::new(501, "Expected YYYYMMDDHHMMSS and a name.");
                };
                let set = async { self.home()?.set_modified(&self.path(name)?, time).await };
                done(set.await, "The time is set.")
            }
            b"CHMOD" if self.ftp.options.site_chmod => {
                let (mode, name) = split_word(rest);
                let mode = std::str::from_utf8(mode).ok().and_then(|mode| u32::from_str_radix(mode, 8).ok());
                let Some(mode) = mode.filter(|mode| *mode <= 0o777 && !name.is_empty()) else {
                    return Reply::new(501, "Expected a mode like 640 and a name.");
                };
                let set = async { self.home()?.set_mode(&self.path(name)?, mode).await };
                done(set.await, "The mode is set.")
            }
            b"CHMOD" => Reply::new(502, "SITE CHMOD is off."),
            _ => Reply::new(504, "There is no such SITE command; see SITE HELP."),
        }
    }

    async fn quota(&self) -> Reply {
        let counted = async {
            let home = self.home()?;
            home.counted().await.map(|()| home)
        };
        match counted.await {
            Ok(home) => {
                let usage = home.usage();
                Reply::new(200, format!("{} bytes of {} are used.", usage.used(), usage.quota()))
            }
            Err(error) => refusal(&error),
        }
    }

    /// Makes an account, where `accounts.registration` allows it.
    async fn register(&self, conn: &Conn, argument: &[u8]) -> Reply {
        let (name, password) = split_word(argument);
        let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text: &&str| !text.is_empty());
        let (Some(name), Some(password)) = (text(name), text(password)) else {
            return Reply::new(501, "Expected a name and a password.");
        };
        match self.ftp.accounts.register(name, password).await {
            Ok(()) => {
                tracing::info!(target: "polygate::accounts", conn = conn.id().0, account = name, "registered");
                Reply::new(200, "Registered; log in with USER and PASS.")
            }
            Err(AccountError::RegistrationOff) => Reply::new(502, "Registration is off."),
            Err(AccountError::Unavailable(error)) => {
                tracing::error!(target: "polygate::accounts", %error, "cannot register");
                Reply::new(451, "Registration does not work at the moment.")
            }
            Err(error) => Reply::new(553, error.to_string()),
        }
    }

    /// STAT without a path, while nothing is transferred.
    pub(super) fn status(&self, conn: &Conn) -> Reply {
        let who = self.who.as_ref().map_or("nobody", |who| &who.name);
        let kind = match self.representation {
            Representation::Ascii => "ASCII",
            Representation::Image => "image",
        };
        let data = if self.data.is_some() { "ready" } else { "none" };
        let lines = [
            format!("Connected from {}", conn.peer()),
            format!("Logged in: {who}"),
            format!("Type: {kind}; structure: file; mode: stream"),
            format!("Data connection: {data}"),
        ];
        Reply::lines(211, "polygate:", lines.map(String::into_bytes), "End")
    }
}

fn no_addresses() -> Reply {
    Reply::new(425, "There is no internet address here.")
}

fn no_port() -> Reply {
    Reply::new(425, "No port is free for a data connection; try again later.")
}

/// Digits alone.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The first word, and what is behind the spaces that follow it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

/// `YYYYMMDDHHMMSS NAME`, or as older clients write it: `NAME ATIME MTIME CTIME UTC`.
fn utime(argument: &[u8]) -> Option<(std::time::SystemTime, &[u8])> {
    if let Some(found) = time_and_name(argument) {
        return Some(found);
    }
    let mut parts = argument.rsplitn(5, |byte| *byte == b' ');
    let (zone, _, modified, _, name) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let time = super::parse_time(modified)?;
    (zone.eq_ignore_ascii_case(b"UTC") && !name.is_empty()).then_some((time, name))
}

impl From<StorageError> for Reply {
    fn from(error: StorageError) -> Self {
        refusal(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn site_utime_is_written_in_two_ways() {
        for text in ["20200101000000 a b", "a b 20190101000000 20200101000000 20190101000000 UTC"] {
            let (time, name) = utime(text.as_bytes()).unwrap();
            assert_eq!((super::super::format_time(time).as_str(), name), ("20200101000000", &b"a b"[..]));
        }
        for wrong in ["", "20200101000000", "x y", "a 1 2 3 UTC", "a 1 20200101000000 3 GMT"] {
            assert!(utime(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(number(b"12"), Some(12));
        for wrong in [&b""[..], b"+1", b"-1", b"1x", b"99999999999999999999"] {
            assert_eq!(number(wrong), None);
        }
    }
}
