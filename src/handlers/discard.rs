//! `discard`: what comes is thrown away, and nothing is ever said (RFC 863).

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_CHUNK, check_chunk};
use crate::config::{Findings, Size, Transports};
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// Options of `discard`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "discard")]
pub struct Options {
    /// The most that one read takes, on streams: 1 B to 64 KiB.
    chunk: Size,
}

impl Default for Options {
    fn default() -> Self {
        Options { chunk: DEFAULT_CHUNK }
    }
}

/// The `discard` handler.
#[derive(Debug)]
pub struct Discard {
    chunk: usize,
}

impl Handler for Discard {
    const NAME: &'static str = "discard";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        Vec::from_iter(check_chunk(options.chunk))
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let chunk = usize::try_from(options.chunk.bytes()).map_err(|e| BuildError::new(e.to_string()))?;
        Ok(Discard { chunk })
    }
}

impl StreamHandler for Discard {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        while conn.read_chunk(self.chunk).await?.is_some() {}
        Ok(())
    }
}

impl DatagramHandler for Discard {
    fn answer(&self, _: &mut Packet<'_>) -> Answer {
        Answer::Silence
    }
}
