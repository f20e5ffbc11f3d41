//! `daytime`: the date and time as a line for people (RFC 867).

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::config::Transports;
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// How the time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `Friday, November 27, 2026 02:10:00-UTC`, the first of the forms in RFC 867.
    Rfc867,
    /// `2026-11-27T02:10:00Z`.
    Rfc3339,
}

/// Options of `daytime`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "daytime")]
pub struct Options {
    /// `"rfc867"` (`Friday, November 27, 2026 02:10:00-UTC`) or `"rfc3339"` (`2026-11-27T02:10:00Z`).
    format: Format,
}

impl Default for Options {
    fn default() -> Self {
        Options { format: Format::Rfc867 }
    }
}

/// The `daytime` handler.
#[derive(Debug)]
pub struct Daytime {
    format: Format,
}

impl Handler for Daytime {
    const NAME: &'static str = "daytime";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    /// An empty datagram is a question.
    fn amplifies(_: &Options) -> bool {
        true
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        Ok(Daytime { format: options.format })
    }
}

impl StreamHandler for Daytime {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        conn.write_all(self.line(jiff::Timestamp::now().as_second()).as_bytes()).await
    }
}

impl DatagramHandler for Daytime {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        packet.replace(self.line(jiff::Timestamp::now().as_second()).as_bytes())
    }
}

impl Daytime {
    /// The line for a time in whole seconds since 1970.
    fn line(&self, second: i64) -> String {
        let at = jiff::Timestamp::from_second(second).unwrap_or_default();
        match self.format {
            Format::Rfc867 => at.strftime("%A, %B %d, %Y %H:%M:%S-UTC\r\n").to_string(),
            Format::Rfc3339 => format!("{at}\r\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_either_form() {
        let line = |format| Daytime { format }.line(1_795_745_400);
        assert_eq!(line(Format::Rfc867), "Friday, November 27, 2026 02:10:00-UTC\r\n");
        assert_eq!(line(Format::Rfc3339), "2026-11-27T02:10:00Z\r\n");
    }
}
