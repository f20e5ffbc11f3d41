//! `console`: every connection is a conversation that an operator follows and answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::config::{Finding, Findings, Timeout, Transports};
use crate::console::{About, Consoles, Speaker, Talk};
use crate::handler::{BuildError, Conn, Context, Handler, StreamHandler};

/// What one read takes at most, and so one entry of a conversation holds.
const CHUNK: usize = 4 * 1024;

/// Options of `console`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "console")]
pub struct Options {
    /// Sent once when a connection is accepted.
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
    options: Options,
    consoles: Arc<Consoles>,
}

impl Handler for Console {
    const NAME: &'static str = "console";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        let never = !options.default_reply.is_empty() && options.timeout.get().is_none();
        let finding = || Finding::warning(&["default_reply"], "it is never sent, since `timeout` is off");
        never.then(finding).into_iter().collect()
    }

    fn new(options: Options, context: &Context) -> Result<Self, BuildError> {
        Ok(Console { options, consoles: context.consoles()?.clone() })
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

/// One conversation.
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

/// Bytes become text although characters are cut between two reads.
#[derive(Debug, Default)]
struct Text {
    /// The beginning of a character.
    cut: Vec<u8>,
}

impl Text {
    fn take(&mut self, bytes: &[u8]) -> String {
        self.cut.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.cut);
        let whole = all.len() - cut_off(&all);
        self.cut = all[whole..].to_vec();
        String::from_utf8_lossy(&all[..whole]).into_owned()
    }

    fn rest(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.cut)).into_owned()
    }
}

/// How many of the last bytes begin a character that is not complete.
fn cut_off(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let length = match bytes[bytes.len() - back] {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_be_cut_anywhere() {
        let all = "aé€😀z";
        for cut in 0..=all.len() {
            let mut text = Text::default();
            let (first, second) = all.as_bytes().split_at(cut);
            assert_eq!(text.take(first) + &text.take(second) + &text.rest(), all, "cut at {cut}");
        }
        let mut text = Text::default();
        assert_eq!(text.take(b"\xff\x80\xe2\x82") + &text.rest(), "\u{fffd}\u{fffd}\u{fffd}");
        let mut text = Text::default();
        assert_eq!(text.take(b"\x80\x80\x80\x80"), "\u{fffd}".repeat(4));
    }

    #[test]
    fn a_reply_that_is_never_sent_is_a_warning() {
        let options = Options { default_reply: "nobody is here".into(), ..Options::default() };
        assert_eq!(Console::check(&options, Transports::STREAMS).len(), 1);
        let options = Options { timeout: Timeout::after_secs(1), ..options };
        assert_eq!(Console::check(&options, Transports::STREAMS), []);
    }
}
