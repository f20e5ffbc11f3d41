//! `upper`: each chunk comes back in upper case.

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::{DEFAULT_CHUNK, check_chunk};
use crate::config::{Findings, Size, Transports};
use crate::handler::{Answer, BuildError, Conn, Context, DatagramHandler, Handler, Packet, StreamHandler};

/// Options of `upper`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "upper")]
pub struct Options {
    /// Which letters have an upper case.
    charset: Charset,
    /// Strip white space off both ends of each chunk, and answer nothing if nothing is left.
    strip: bool,
    /// The most that one read takes on streams: 1 B to 64 KiB.
    chunk: Size,
}

impl Default for Options {
    fn default() -> Self {
        Options { charset: Charset::Ascii, strip: false, chunk: DEFAULT_CHUNK }
    }
}

/// Which letters have an upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Charset {
    /// a to z; every other byte passes unchanged.
    #[serde(rename = "ascii")]
    Ascii,
    /// Unicode's, right across the borders of chunks. Bytes that are not UTF-8 pass unchanged.
    #[serde(rename = "utf-8")]
    Utf8,
}

/// What one read takes at most where the answer may be three times as long (`ΐ` has 2 bytes, `Ϊ́` 6), with the
/// three bytes that may be left of the read before: so no more than 64 KiB wait for a slow peer.
const MOST_UNICODE: usize = 64 * 1024 / 3 - 3;

/// The `upper` handler.
#[derive(Debug)]
pub struct Upper {
    charset: Charset,
    strip: bool,
    chunk: usize,
}

impl Handler for Upper {
    const NAME: &'static str = "upper";
    const TRANSPORTS: Transports = Transports::ALL;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        Vec::from_iter(check_chunk(options.chunk))
    }

    /// `ŉ` (2 bytes) becomes `ʼN` (3): the upper case can be longer.
    fn amplifies(options: &Options) -> bool {
        options.charset == Charset::Utf8
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let chunk = usize::try_from(options.chunk.bytes()).map_err(|e| BuildError::new(e.to_string()))?;
        Ok(Upper { charset: options.charset, strip: options.strip, chunk })
    }
}

impl StreamHandler for Upper {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let mut tail = Vec::new();
        let most = match self.charset {
            Charset::Ascii => self.chunk,
            Charset::Utf8 => self.chunk.min(MOST_UNICODE),
        };
        while let Some(mut chunk) = conn.read_chunk(most).await? {
            match self.charset {
                Charset::Ascii => {
                    chunk.make_ascii_uppercase();
                    conn.write_all(&chunk[self.kept(&chunk)]).await?;
                }
                Charset::Utf8 => {
                    let answer = self.unicode(&mut tail, &chunk);
                    drop(chunk);
                    conn.write_all(&answer).await?;
                }
            }
        }
        conn.write_all(&tail).await
    }
}

impl DatagramHandler for Upper {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        let empty = packet.bytes().is_empty();
        let answer = match self.charset {
            Charset::Ascii => {
                packet.bytes_mut().make_ascii_uppercase();
                packet.keep(self.kept(packet.bytes()));
                Answer::Reply
            }
            Charset::Utf8 => {
                let mut tail = Vec::new();
                let mut answer = self.unicode(&mut tail, packet.bytes());
                answer.append(&mut tail);
                packet.replace(&answer)
            }
        };
        if self.strip && !empty && packet.bytes().is_empty() { Answer::Silence } else { answer }
    }
}

impl Upper {
    /// The part of the bytes that is left after stripping what Python's `bytes.strip` strips.
    fn kept(&self, bytes: &[u8]) -> std::ops::Range<usize> {
        let solid = |b: &u8| !matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
        if !self.strip {
            return 0..bytes.len();
        }
        let start = bytes.iter().position(solid).unwrap_or(0);
        let end = bytes.iter().rposition(solid).map_or(start, |last| last + 1);
        start..end
    }

    /// The upper case of what came before and was cut (`tail`) and of `bytes`. What is cut now is the new
    /// tail: at most three bytes.
    fn unicode(&self, tail: &mut Vec<u8>, bytes: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(tail);
        text.extend_from_slice(bytes);
        let whole = text.len() - cut_length(&text);
        *tail = text.split_off(whole);
        let mut answer = Vec::with_capacity(text.len());
        for piece in text.utf8_chunks() {
            let upper = piece.valid().chars().flat_map(char::to_uppercase);
            upper.for_each(|c| answer.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()));
            answer.extend_from_slice(piece.invalid());
        }
        if self.strip { strip_unicode(&answer).to_vec() } else { answer }
    }
}

/// How many bytes at the end begin a character that is not complete. The last invalid piece is one if more
/// bytes could make it valid, which is what no error length means (`Utf8Error::error_len`).
fn cut_length(bytes: &[u8]) -> usize {
    // A character has at most four bytes, so what is cut begins in the last three.
    let from = bytes.len().saturating_sub(3);
    (from..bytes.len())
        .find(|start| {
            let rest = &bytes[*start..];
            rest[0] >= 0xc2
                && std::str::from_utf8(rest).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .map_or(0, |start| bytes.len() - start)
}

/// Without the white space (Unicode's) at both ends. Bytes that are not UTF-8 are no white space.
fn strip_unicode(bytes: &[u8]) -> &[u8] {
    let mut start = bytes.len();
    let mut end = 0;
    let mut at = 0;
    for piece in bytes.utf8_chunks() {
        for (offset, c) in piece.valid().char_indices().filter(|(_, c)| !c.is_whitespace()) {
            start = start.min(at + offset);
            end = at + offset + c.len_utf8();
        }
        at += piece.valid().len();
        if !piece.invalid().is_empty() {
            start = start.min(at);
            at += piece.invalid().len();
            end = at;
        }
    }
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Peer;

    fn upper(charset: Charset, strip: bool) -> Upper {
        Upper { charset, strip, chunk: 1024 }
    }

    #[track_caller]
    fn check(handler: &Upper, question: &[u8], expected: Option<&[u8]>) {
        let mut buffer = [0; 64];
        buffer[..question.len()].copy_from_slice(question);
        let mut packet = Packet::new(&mut buffer, question.len(), &Peer::Unnamed, "l");
        let answer = DatagramHandler::answer(handler, &mut packet);
        assert_eq!((answer == Answer::Reply).then(|| packet.bytes()), expected);
    }

    #[test]
    fn ascii_leaves_other_bytes_alone() {
        check(&upper(Charset::Ascii, false), "aß\u{e9}z\n".as_bytes(), Some("Aß\u{e9}Z\n".as_bytes()));
        check(&upper(Charset::Ascii, false), b"", Some(b""));
    }

    #[test]
    fn stripping_answers_nothing_if_nothing_is_left() {
        check(&upper(Charset::Ascii, true), b" \x0b hi you\r\n", Some(b"HI YOU"));
        check(&upper(Charset::Ascii, true), b" \r\n", None);
        check(&upper(Charset::Utf8, true), "\u{3000}grün\u{a0}".as_bytes(), Some("GRÜN".as_bytes()));
        check(&upper(Charset::Utf8, true), " \u{3000}".as_bytes(), None);
    }

    #[test]
    fn an_incomplete_tail_of_a_datagram_and_broken_bytes_pass_unchanged() {
        check(&upper(Charset::Utf8, false), b"a\xc3", Some(b"A\xc3"));
        check(&upper(Charset::Utf8, false), b"a\xff\xc3(b\xe2\x82", Some(b"A\xff\xc3(B\xe2\x82"));
    }

    #[test]
    fn unicode_is_right_wherever_a_stream_is_cut() {
        let text = "straße ŉ żółć ǆ 😀 ё\u{301}";
        let expected = text.to_uppercase().into_bytes();
        let handler = upper(Charset::Utf8, false);
        for cut in 0..=text.len() {
            for second in cut..=text.len() {
                let mut tail = Vec::new();
                let mut answer = Vec::new();
                for piece in
                    [&text.as_bytes()[..cut], &text.as_bytes()[cut..second], &text.as_bytes()[second..]]
                {
                    answer.extend(handler.unicode(&mut tail, piece));
                }
                assert!(tail.is_empty());
                assert_eq!(answer, expected, "cut at {cut} and {second}");
            }
        }
    }
}
