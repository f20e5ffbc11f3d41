//! `console`: every connection, and every sender of datagrams, is a conversation that an operator follows and
//! answers.

mod datagrams;
mod text;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::peers::Peers;
use crate::config::{Finding, Findings, Timeout, Transports};
use crate::console::{About, Consoles, Speaker, Talk};
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};
use text::Text;

/// What one read takes at most, and so one entry of a conversation holds.
const CHUNK: usize = 4 * 1024;

/// Options of `console`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "console")]
pub struct Options {
    /// Sent once when a connection is accepted. Datagrams have no beginning, so it does not apply to them.
    greeting: String,
    /// How long a client waits for an operator's answer.
    timeout: Timeout,
    /// What a client gets when nobody answers in time; if it is empty the connection ends then.
    default_reply: String,
}

impl Default for Options {
    fn default() -> Self {
        Options { greeting: String::new(), timeout: Timeout::OFF, default_reply: String::new() }
    }
}

/// The `console` handler.
#[derive(Debug)]
pub struct Console {
    options: Arc<Options>,
    consoles: Arc<Consoles>,
    peers: Arc<Peers<String>>,
}

impl Handler for Console {
    const NAME: &'static str = "console";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn check(options: &Options, transports: Transports) -> Findings {
        let mut findings = Vec::new();
        if !options.greeting.is_empty() && !transports.intersects(Transports::STREAMS) {
            let message =
                "a greeting is for streams, and a listener with this handler has datagram endpoints only";
            findings.push(Finding::error(&["greeting"], message));
        }
        let never = !options.default_reply.is_empty() && options.timeout.get().is_none();
        let finding = || Finding::warning(&["default_reply"], "it is never sent, since `timeout` is off");
        findings.extend(never.then(finding));
        findings
    }

    fn amplifies(options: &Options) -> bool {
        !options.default_reply.is_empty() && options.timeout.get().is_some()
    }

    fn new(options: Options, context: &Context) -> Result<Self, BuildError> {
        Ok(Console {
            options: Arc::new(options),
            consoles: context.consoles()?.clone(),
            peers: Arc::default(),
        })
    }
}

impl StreamHandler for Console {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let ledger = &conn.meter().site().ledger;
        let about = About {
            id: conn.id().0,
            listener: ledger.listener().clone(),
            transport: ledger.transport(),
            peer: conn.peer().to_string(),
        };
        let Some(talk) = self.consoles.open(about) else {
            tracing::warn!(target: "polygate::conn", conn = conn.id().0, listener = conn.listener(), "too many conversations");
            return Ok(());
        };
        if !self.options.greeting.is_empty() {
            conn.write_all(self.options.greeting.as_bytes()).await?;
            talk.say(Speaker::Gateway, self.options.greeting.clone());
        }
        Visit { options: &self.options, talk, text: Text::default(), due: None, ended: false }.run(conn).await
    }
}

impl DatagramHandler for Console {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        datagrams::heard(self, packet)
    }

    fn is_busy(&self) -> bool {
        self.peers.len() > 0
    }
}

/// One conversation over a connection.
struct Visit<'a> {
    options: &'a Options,
    talk: Talk,
    text: Text,
    /// When somebody must have answered.
    due: Option<Instant>,
    /// Whether the client has said all that it will say.
    ended: bool,
}

impl Visit<'_> {
    async fn run(mut self, conn: &mut Conn) -> io::Result<()> {
        // A client that closes its sending side still hears the answer to what it has said.
        while !self.ended || self.talk.waits() {
            tokio::select! {
                biased;
                Some(reply) = self.talk.next() => {
                    conn.write_all(reply.text.as_bytes()).await?;
                    self.talk.confirm(reply);
                    self.due = None;
                }
                chunk = conn.read_chunk(CHUNK), if !self.ended => match chunk? {
                    Some(chunk) => {
                        let text = self.text.take(&chunk);
                        self.heard(text);
                    }
                    None => {
                        self.ended = true;
                        let text = self.text.rest();
                        self.heard(text);
                    }
                },
                () = tokio::time::sleep_until(self.due.unwrap_or_else(Instant::now)), if self.due.is_some() => {
                    self.due = None;
                    if self.options.default_reply.is_empty() {
                        return Ok(());
                    }
                    conn.write_all(self.options.default_reply.as_bytes()).await?;
                    self.talk.say(Speaker::Gateway, self.options.default_reply.clone());
                }
            }
        }
        Ok(())
    }

    fn heard(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        self.talk.say(Speaker::Client, text);
        if self.due.is_none() {
            let far = |time: Duration| Instant::now().checked_add(time);
            self.due = self.options.timeout.get().and_then(far);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_never_sent_is_a_warning() {
        let options = Options { default_reply: "nobody is here".into(), ..Options::default() };
        assert_eq!(Console::check(&options, Transports::STREAMS).len(), 1);
        let options = Options { timeout: Timeout::after_secs(1), ..options };
        assert_eq!(Console::check(&options, Transports::STREAMS), []);
    }
}
