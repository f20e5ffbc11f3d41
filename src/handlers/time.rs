//! `time`: the seconds since 1900 as a number of 32 bits (RFC 868).

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::config::Transports;
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// Seconds from 1900 to 1970 (RFC 868).
const TO_1970: i64 = 2_208_988_800;

/// Options of `time`: there are none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "time")]
pub struct Options {}

/// The `time` handler.
#[derive(Debug)]
pub struct Time;

impl Handler for Time {
    const NAME: &'static str = "time";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    /// Four bytes answer the empty datagram, which is the question.
    fn amplifies(_: &Options) -> bool {
        true
    }

    fn new(_: Options, _: &Context) -> Result<Self, BuildError> {
        Ok(Time)
    }
}

impl StreamHandler for Time {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        conn.write_all(&number(jiff::Timestamp::now().as_second())).await
    }
}

impl DatagramHandler for Time {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        packet.replace(&number(jiff::Timestamp::now().as_second()))
    }
}

/// The number for a time in seconds since 1970. It begins anew in 2036, as NTP's does.
fn number(second: i64) -> [u8; 4] {
    ((second + TO_1970).rem_euclid(1 << 32) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_rfc_and_begins_anew_in_2036() {
        // RFC 868: 2,208,988,800 is 00:00 on 1 January 1970.
        assert_eq!(number(0), 2_208_988_800_u32.to_be_bytes());
        assert_eq!(number(u32::MAX as i64 - TO_1970), [0xff; 4]);
        assert_eq!(number(u32::MAX as i64 - TO_1970 + 1), [0; 4]);
    }
}
