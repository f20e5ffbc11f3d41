//! `chargen`: lines of characters for as long as somebody reads (RFC 864).

use std::io;
use std::pin::pin;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::config::{Finding, Findings, Transports};
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// The printing characters of ASCII, space to tilde: the ring that the lines turn through.
const RING: usize = 95;

/// A line without its end, and with it.
const LINE: usize = 72;
const WHOLE_LINE: usize = LINE + 2;

/// After so many lines, and so bytes, the pattern begins anew. One write of a stream is all of it.
const PATTERN: usize = RING * WHOLE_LINE;

/// The most that a datagram brings (RFC 864: 0 to 512 characters).
const MAX_DATAGRAM: u16 = 512;

/// How much of a peer's input is thrown away between two writes.
const INPUT: usize = 16 * 1024;

/// Options of `chargen`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "chargen")]
pub struct Options {
    /// How many bytes answer a datagram: 0 to 512.
    datagram_bytes: u16,
    /// After so many bytes a stream is closed; 0 is never.
    total_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { datagram_bytes: WHOLE_LINE as u16, total_bytes: 0 }
    }
}

/// The `chargen` handler.
#[derive(Debug)]
pub struct Chargen {
    pattern: Box<[u8]>,
    datagram: usize,
    total: u64,
}

impl Handler for Chargen {
    const NAME: &'static str = "chargen";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        let too_long = options.datagram_bytes > MAX_DATAGRAM;
        Vec::from_iter(
            too_long.then(|| Finding::error(&["datagram_bytes"], "expected a number from 0 to 512")),
        )
    }

    fn amplifies(options: &Options) -> bool {
        options.datagram_bytes > 0
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let pattern = (0..RING).flat_map(line).collect();
        Ok(Chargen { pattern, datagram: options.datagram_bytes.into(), total: options.total_bytes })
    }
}

/// The line that begins with the ring's character at `first`.
fn line(first: usize) -> impl Iterator<Item = u8> {
    let letters = (first..first + LINE).map(|at| b' ' + (at % RING) as u8);
    letters.chain(*b"\r\n")
}

impl StreamHandler for Chargen {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let mut draining = pin!(conn.draining());
        let mut left = if self.total == 0 { u64::MAX } else { self.total };
        while left > 0 && !conn.is_draining() {
            let next = usize::try_from(left).unwrap_or(PATTERN).min(PATTERN);
            tokio::select! {
                result = conn.write_all(&self.pattern[..next]) => result?,
                // A line may be cut: whoever does not read would hold up the drain.
                () = &mut draining => return Ok(()),
            }
            if self.total > 0 {
                left -= next as u64;
            }
            // What the peer says means nothing; it must not pile up either.
            drop(conn.try_chunk(INPUT));
            // A peer that reads as fast as this writes must not have the worker to itself.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl DatagramHandler for Chargen {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        packet.replace(&self.pattern[..self.datagram])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_turn_through_the_ring_by_one_character_each() {
        let chargen = Chargen::new(Options::default(), &Context::new("l", "/".as_ref())).unwrap();
        let text = String::from_utf8(chargen.pattern.to_vec()).unwrap();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 95);
        assert!(lines.iter().all(|line| line.len() == 72));
        assert!(lines[0].starts_with(" !\"#$%") && lines[0].ends_with("defg"));
        assert!(lines[1].starts_with("!\"#$%&") && lines[1].ends_with("efgh"));
        assert!(lines[94].starts_with("~ !\"#"));
    }
}
