//! `chargen`: lines of characters for as long as somebody reads (RFC 864).

use std::io;
use std::pin::pin;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::config::{Finding, Findings, Size, Transports};
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// The printing characters of ASCII, space to tilde: the ring that the lines turn through.
const RING: usize = 95;

/// A line without its end, and with it.
const LINE: usize = 72;
const WHOLE_LINE: usize = LINE + 2;

/// After so many lines, and so bytes, the pattern begins anew. One write of a stream is all of it.
const PATTERN: usize = RING * WHOLE_LINE;

/// The most that a datagram brings (RFC 864: up to 512 characters).
const MAX_DATAGRAM: u64 = 512;

/// How much of a peer's input is thrown away between two writes.
const INPUT: usize = 16 * 1024;

/// Options of `chargen`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "chargen")]
pub struct Options {
    /// How long the answer to a datagram is: 1 B to 512 B.
    datagram_size: Size,
    /// After so many bytes a stream is closed; without it, it goes on for as long as somebody reads.
    total: Option<Size>,
}

impl Default for Options {
    fn default() -> Self {
        Options { datagram_size: Size::of(WHOLE_LINE as u64), total: None }
    }
}

/// The `chargen` handler.
#[derive(Debug)]
pub struct Chargen {
    pattern: Box<[u8]>,
    datagram: usize,
    total: Option<u64>,
}

impl Handler for Chargen {
    const NAME: &'static str = "chargen";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        let too_long = options.datagram_size.bytes() > MAX_DATAGRAM;
        let finding = || Finding::error(&["datagram_size"], "expected a size from \"1B\" to \"512B\"");
        Vec::from_iter(too_long.then(finding))
    }

    fn amplifies(_: &Options) -> bool {
        true
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let pattern = (0..RING).flat_map(line).collect();
        let datagram = usize::try_from(options.datagram_size.bytes()).unwrap_or(usize::MAX).min(PATTERN);
        Ok(Chargen { pattern, datagram, total: options.total.map(Size::bytes) })
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
        let mut left = self.total.unwrap_or(u64::MAX);
        while left > 0 && !conn.is_draining() {
            let next = usize::try_from(left).unwrap_or(PATTERN).min(PATTERN);
            tokio::select! {
                result = conn.write_all(&self.pattern[..next]) => result?,
                // A line may be cut: whoever does not read would hold up the drain.
                () = &mut draining => return Ok(()),
            }
            if self.total.is_some() {
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
