//! `reply`: the same answer to whatever comes, or to whoever connects.

use std::fmt::{Display, Write as _};
use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::{DEFAULT_CHUNK, check_chunk};
use crate::config::{Finding, Findings, Size, Transports};
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// The longest body: what fits into one write, and nearly into one datagram.
const MAX_BODY: usize = 64 * 1024;

/// When a stream is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Each chunk is answered.
    Data,
    /// The answer is sent at once, and the conn is closed.
    Connect,
}

/// Options of `reply`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "reply")]
pub struct Options {
    /// The answer, at most 64 KiB. `{peer}`, `{local}`, `{listener}` and `{now}` stand for what they say, `{{`
    /// for `{`; anything else stays as it is.
    body: String,
    /// When a stream is answered: `"data"` (each chunk) or `"connect"` (at once, then it is closed).
    on: On,
    /// The most that one read takes, and so one answer is for, on streams: 1 B to 64 KiB.
    chunk: Size,
}

impl Default for Options {
    fn default() -> Self {
        Options { body: "ok".into(), on: On::Data, chunk: DEFAULT_CHUNK }
    }
}

/// The `reply` handler.
#[derive(Debug)]
pub struct Reply {
    body: Vec<Piece>,
    on: On,
    chunk: usize,
}

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Peer,
    Local,
    Listener,
    Now,
}

/// What a body may name.
const NAMES: [(&str, Piece); 4] = [
    ("{peer}", Piece::Peer),
    ("{local}", Piece::Local),
    ("{listener}", Piece::Listener),
    ("{now}", Piece::Now),
];

impl Handler for Reply {
    const NAME: &'static str = "reply";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn check(options: &Options, transports: Transports) -> Findings {
        let mut findings = Vec::from_iter(check_chunk(options.chunk));
        if options.body.len() > MAX_BODY {
            findings.push(Finding::error(&["body"], "expected at most 64 KiB"));
        }
        if options.on == On::Connect && !transports.intersects(Transports::STREAMS) {
            let message =
                "`connect` is for streams, and a listener with this handler has datagram endpoints only";
            findings.push(Finding::error(&["on"], message).help("remove it: each datagram is answered"));
        }
        findings
    }

    /// The empty datagram is answered too, so that any body is longer than some question.
    fn amplifies(options: &Options) -> bool {
        !options.body.is_empty()
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let chunk = usize::try_from(options.chunk.bytes()).map_err(|e| BuildError::new(e.to_string()))?;
        Ok(Reply { body: parse(&options.body), on: options.on, chunk })
    }
}

impl StreamHandler for Reply {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let meter = conn.meter().clone();
        let (peer, site) = (meter.peer(), meter.site());
        let body = || match meter.local() {
            Some(local) => self.render(peer, &local, site.ledger.listener()),
            None => self.render(peer, &site.address, site.ledger.listener()),
        };
        if self.on == On::Connect {
            return conn.write_all(body().as_bytes()).await;
        }
        while let Some(chunk) = conn.read_chunk(self.chunk).await? {
            drop(chunk);
            // One write: clients take what one recv gives for one message.
            conn.write_all(body().as_bytes()).await?;
        }
        Ok(())
    }
}

impl DatagramHandler for Reply {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        let body = self.render(packet.peer(), &packet.local(), packet.listener());
        packet.replace(body.as_bytes())
    }
}

impl Reply {
    fn render(&self, peer: &dyn Display, local: &dyn Display, listener: &str) -> String {
        let mut body = String::new();
        for piece in &self.body {
            // Writing into a String cannot fail.
            let _ = match piece {
                Piece::Text(text) => body.write_str(text),
                Piece::Peer => write!(body, "{peer}"),
                Piece::Local => write!(body, "{local}"),
                Piece::Listener => body.write_str(listener),
                Piece::Now => {
                    let second = jiff::Timestamp::now().as_second();
                    write!(body, "{}", jiff::Timestamp::from_second(second).unwrap_or_default())
                }
            };
        }
        body
    }
}

/// Splits a body at what it names.
fn parse(body: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = body;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, piece)) = NAMES.iter().find(|(name, _)| rest.starts_with(name)) {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece.clone());
            rest = &rest[name.len()..];
        } else {
            text.push('{');
            rest = rest.strip_prefix("{{").unwrap_or(&rest[1..]);
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &str) {
        let options = Options { body: body.into(), ..Options::default() };
        let reply = Reply::new(options, &Context::new("l", "/".as_ref())).unwrap();
        assert_eq!(reply.render(&"P", &"L", "web"), expected, "{body}");
    }

    #[test]
    fn names_in_braces_are_replaced_and_all_else_stays() {
        check("ok", "ok");
        check("", "");
        check("{peer} at {local} of {listener}\n", "P at L of web\n");
        check("{peer}{peer}", "PP");
        check("{{peer}", "{peer}");
        check("{{{peer}}", "{P}");
        check("{other} {Peer} { } {", "{other} {Peer} { } {");
        check("{{", "{");
        check("grün {listener} 欢", "grün web 欢");
    }

    #[test]
    fn now_is_a_time_in_utc_with_whole_seconds() {
        let options = Options { body: "{now}".into(), ..Options::default() };
        let reply = Reply::new(options, &Context::new("l", "/".as_ref())).unwrap();
        let now = reply.render(&"", &"", "");
        assert_eq!((now.len(), &now[10..11], &now[19..]), (20, "T", "Z"), "{now}");
    }
}
