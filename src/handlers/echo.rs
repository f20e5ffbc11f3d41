//! `echo`: what comes goes back, with a greeting before all of it and a prefix before each chunk, if asked for.

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::{DEFAULT_CHUNK, check_chunk};
use crate::config::{Finding, Findings, Size, Transports};
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// Options of `echo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "echo")]
pub struct Options {
    /// Sent once when a stream is accepted. Datagrams have no beginning, so it does not apply to them.
    greeting: String,
    /// Put before every chunk or datagram that goes back.
    prefix: String,
    /// The most that one read takes, and so one answer holds, on streams: 1 B to 64 KiB.
    chunk: Size,
}

impl Default for Options {
    fn default() -> Self {
        Options { greeting: String::new(), prefix: String::new(), chunk: DEFAULT_CHUNK }
    }
}

/// The `echo` handler (RFC 862, and the echo servers of the socket tutorials).
#[derive(Debug)]
pub struct Echo {
    greeting: String,
    prefix: String,
    chunk: usize,
}

impl Handler for Echo {
    const NAME: &'static str = "echo";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn check(options: &Options, transports: Transports) -> Findings {
        let mut findings = Vec::from_iter(check_chunk(options.chunk));
        if !options.greeting.is_empty() && !transports.intersects(Transports::STREAMS) {
            let message =
                "a greeting is for streams, and a listener with this handler has datagram endpoints only";
            findings.push(Finding::error(&["greeting"], message).help("remove it, or use prefix"));
        }
        findings
    }

    fn amplifies(options: &Options) -> bool {
        !options.prefix.is_empty()
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let chunk = usize::try_from(options.chunk.bytes()).map_err(|e| BuildError::new(e.to_string()))?;
        Ok(Echo { greeting: options.greeting, prefix: options.prefix, chunk })
    }
}

impl StreamHandler for Echo {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        if !self.greeting.is_empty() {
            conn.write_all(self.greeting.as_bytes()).await?;
        }
        while let Some(chunk) = conn.read_chunk(self.chunk).await? {
            if self.prefix.is_empty() {
                conn.write_all(&chunk).await?;
            } else {
                // One write: the tutorials' clients take what one recv gives for one message.
                conn.write_pair(self.prefix.as_bytes(), &chunk).await?;
            }
        }
        Ok(())
    }
}

impl DatagramHandler for Echo {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        packet.prepend(self.prefix.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Peer;

    #[test]
    fn a_datagram_goes_back_with_the_prefix_the_empty_one_too() {
        let options = Options { prefix: "response:".into(), ..Options::default() };
        let echo = Echo::new(options, &Context::new("l", "/".as_ref())).unwrap();
        for (question, expected) in [("hi", "response:hi"), ("", "response:")] {
            let mut buffer = [0; 64];
            buffer[..question.len()].copy_from_slice(question.as_bytes());
            let mut packet = Packet::new(&mut buffer, question.len(), &Peer::Unnamed, "l");
            assert_eq!(DatagramHandler::answer(&echo, &mut packet), Answer::Reply);
            assert_eq!(packet.bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn a_greeting_on_datagrams_alone_and_a_chunk_over_64_kib_are_errors() {
        let greeting = Options { greeting: "hi".into(), ..Options::default() };
        assert_eq!(Echo::check(&greeting, Transports::DATAGRAMS).len(), 1);
        assert!(Echo::check(&greeting, Transports::ALL).is_empty());
        let chunk = Options { chunk: Size::kib(65), ..Options::default() };
        assert_eq!(Echo::check(&chunk, Transports::ALL)[0].path, ["chunk"]);
    }
}
