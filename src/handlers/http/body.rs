//! A request's body, which is read and dropped: nobody needs it, but what comes behind it is the next request.

use super::head::{Framing, is_token};
use super::refusal::Refusal;

/// The largest body; larger ones get 413.
pub const MAX_BODY: u64 = 1024 * 1024;

/// All chunk extensions of a body together (RFC 9112, 7.1.1 asks for a limit).
pub const MAX_EXTENSIONS: u16 = 4 * 1024;

/// All trailer fields of a body together.
pub const MAX_TRAILERS: u16 = 8 * 1024;

/// The most digits of a chunk's size.
const MAX_DIGITS: u8 = 16;

/// How much of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunks),
}

/// Where in a chunked body one is (RFC 9112, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    /// The bytes of data so far, those of the chunk under way included.
    total: u64,
    /// The size as read so far, then what is left of the chunk.
    left: u64,
    digits: u8,
    extensions: u16,
    trailers: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    SpaceBehindSize,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

impl Body {
    pub(super) fn of(framing: Framing) -> Result<Self, Refusal> {
        match framing {
            Framing::Length(n) if n > MAX_BODY => Err(Refusal::BODY_TOO_LARGE),
            Framing::Length(n) => Ok(Body::Length(n)),
            Framing::Chunked => Ok(Body::Chunked(Chunks {
                at: At::Size,
                total: 0,
                left: 0,
                digits: 0,
                extensions: 0,
                trailers: 0,
            })),
        }
    }

    /// Takes what belongs to the body; says whether that was all of it.
    pub(super) fn drop_from(&mut self, input: &mut &[u8]) -> Result<bool, Refusal> {
        match self {
            Body::Length(left) => {
                take(left, input);
                Ok(*left == 0)
            }
            Body::Chunked(chunks) => chunks.drop_from(input),
        }
    }
}

/// Skips at most `left` bytes.
fn take(left: &mut u64, input: &mut &[u8]) {
    let n = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *input = &input[n..];
    *left -= n as u64;
}

impl Chunks {
    fn drop_from(&mut self, input: &mut &[u8]) -> Result<bool, Refusal> {
        loop {
            if self.at == At::Data {
                take(&mut self.left, input);
                if self.left == 0 {
                    self.at = At::DataCr;
                }
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(false) };
            *input = rest;
            self.at = self.step(*byte)?;
            if self.at == At::EndLf && *byte == b'\n' {
                return Ok(true);
            }
        }
    }

    fn step(&mut self, byte: u8) -> Result<At, Refusal> {
        match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (At::Size, b'\r' | b';' | b' ' | b'\t') if self.digits == 0 => Err(Refusal::BAD_CHUNK),
            (At::Size | At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Size | At::SpaceBehindSize, b';') => self.extension(),
            // RFC 9112, 7.1.1: "bad" white space before a semicolon.
            (At::Size | At::SpaceBehindSize, b' ' | b'\t') => self.extension().map(|_| At::SpaceBehindSize),
            (At::Extension, byte) if is_text(byte) => self.extension(),
            (At::SizeLf, b'\n') => self.sized(),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size),
            (At::TrailerStart, b'\r') => Ok(At::EndLf),
            (At::TrailerStart | At::TrailerName, byte) if is_token(byte) => self.trailer(At::TrailerName),
            (At::TrailerName, b':') => self.trailer(At::TrailerValue),
            (At::TrailerValue, b'\r') => self.trailer(At::TrailerLf),
            (At::TrailerValue, byte) if is_text(byte) => self.trailer(At::TrailerValue),
            (At::TrailerLf, b'\n') => self.trailer(At::TrailerStart),
            (At::EndLf, b'\n') => Ok(At::EndLf),
            (At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLf | At::EndLf, _) => {
                Err(Refusal::BAD_TRAILER)
            }
            _ => Err(Refusal::BAD_CHUNK),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<At, Refusal> {
        self.digits += 1;
        if self.digits > MAX_DIGITS {
            return Err(Refusal::BAD_CHUNK);
        }
        let value = char::from(byte).to_digit(16).unwrap_or(0);
        self.left = (self.left << 4) | u64::from(value);
        // Not only at the end of the line: no number is too long for a body that is too large.
        if self.left > MAX_BODY { Err(Refusal::BODY_TOO_LARGE) } else { Ok(At::Size) }
    }

    fn sized(&mut self) -> Result<At, Refusal> {
        self.digits = 0;
        if self.left == 0 {
            return Ok(At::TrailerStart);
        }
        self.total = self.total.saturating_add(self.left);
        if self.total > MAX_BODY { Err(Refusal::BODY_TOO_LARGE) } else { Ok(At::Data) }
    }

    fn extension(&mut self) -> Result<At, Refusal> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Refusal::EXTENSIONS) } else { Ok(At::Extension) }
    }

    fn trailer(&mut self, at: At) -> Result<At, Refusal> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS { Err(Refusal::TRAILERS) } else { Ok(at) }
    }
}

/// What may stand in a field value or an extension: no control character but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
