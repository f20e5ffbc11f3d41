//! The control connection of FTP: commands out, replies in, one for one (RFC 959, 4.2).

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};

use super::super::dial::plain;
use super::super::exit::{Exit, Failure};
use super::super::terminal::escape;

/// The longest reply, all its lines together.
const LONGEST_REPLY: usize = 64 * 1024;

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// All of it, the code too, lines separated by line feeds.
    pub(super) text: String,
}

/// A connection that lines are said over.
pub(super) struct Control {
    stream: TcpStream,
    server: String,
    /// What came and is no whole line yet.
    heard: Vec<u8>,
}

impl Control {
    pub(super) fn new(stream: TcpStream, server: String) -> Self {
        Control { stream, server, heard: Vec::new() }
    }

    /// Whom data connections go to: never to where a reply points.
    pub(super) fn peer(&self) -> Result<IpAddr, Failure> {
        self.stream.peer_addr().map(|at| at.ip()).map_err(|error| self.broken(&error))
    }

    pub(super) fn ask(&mut self, command: &str) -> Result<Reply, Failure> {
        let line = format!("{command}\r\n");
        self.stream.write_all(line.as_bytes()).map_err(|error| self.broken(&error))?;
        self.hear()
    }

    /// A command that must get a reply of that class: 2 done, 3 more is needed, 1 it begins.
    pub(super) fn must(&mut self, command: &str, class: u16) -> Result<Reply, Failure> {
        let reply = self.ask(command)?;
        if reply.code / 100 == class { Ok(reply) } else { Err(self.refused(command, &reply)) }
    }

    /// The next reply, all its lines.
    pub(super) fn hear(&mut self) -> Result<Reply, Failure> {
        let mut text = self.line()?;
        let code = text.get(..3).and_then(|code| code.parse().ok());
        let Some(code @ 100..600) = code else {
            let said = escape(&text);
            let message = format!("{} does not speak FTP: it said \"{said}\"", self.server);
            return Err(Failure::new(Exit::Failure, message));
        };
        if text.as_bytes().get(3) == Some(&b'-') {
            let last = format!("{code} ");
            loop {
                let line = self.line()?;
                text.push('\n');
                text.push_str(&line);
                if line.starts_with(&last) {
                    break;
                }
                if text.len() > LONGEST_REPLY {
                    return Err(self.broken(&io::Error::other("a reply without an end")));
                }
            }
        }
        Ok(Reply { code, text })
    }

    fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(at) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.heard.len() > LONGEST_REPLY {
                return Err(self.broken(&io::Error::other("a line without an end")));
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(self.broken(&io::Error::other("it closed the connection"))),
                Ok(count) => self.heard.extend_from_slice(&piece[..count]),
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    /// What a reply comes to that is none of success.
    pub(super) fn refused(&self, command: &str, reply: &Reply) -> Failure {
        let exit = if reply.code == 530 { Exit::NoPermission } else { Exit::Failure };
        // A password does not belong on a screen.
        let command = if command.starts_with("PASS ") { "PASS" } else { command };
        let (command, said) = (escape(command), escape(&reply.text));
        Failure::new(exit, format!("{} refuses {command}: {said}", self.server))
    }

    pub(super) fn broken(&self, error: &io::Error) -> Failure {
        broken(&self.server, error)
    }
}

/// A connection that did not hold.
pub(super) fn broken(server: &str, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time (--timeout)".to_owned(),
        _ => plain(error),
    };
    Failure::new(Exit::Failure, format!("the connection to {server} broke: {why}"))
}
