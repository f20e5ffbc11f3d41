//! A request's body, found and thrown away (RFC 9112, sections 6 and 7). Pure, and fed any pieces.

use super::request::{Fault, Framing, is_token};

/// The longest body, in bytes.
pub(super) const MAX_BODY: u64 = 1 << 20;

/// The most bytes of a chunked body that are not its content: sizes, extensions, trailers. Chunks of one byte
/// each end here after about 200 KiB of content.
const MAX_OVERHEAD: u64 = 1 << 20;

/// The longest line of a chunk's size with its extensions, and the longest trailer section.
const MAX_CHUNK_LINE: usize = 4 * 1024;
const MAX_TRAILERS: usize = 8 * 1024;

/// Goes through one body.
#[derive(Debug)]
pub(super) enum Skipper {
    /// So many bytes are left.
    Length(u64),
    /// Within a chunked body.
    Chunked(Chunked),
}

/// Where a chunked body is.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Content so far.
    content: u64,
    /// Everything else so far.
    overhead: u64,
    /// Bytes of the present line.
    line: usize,
    /// The size that is being read, and whether it has a digit.
    size: u64,
    has_digit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The digits of a size.
    Size,
    /// `;` and what follows.
    Extension,
    /// The LF of a size's line.
    SizeLf,
    /// Content; so many bytes are left.
    Data(u64),
    /// CRLF after the content.
    DataCr,
    DataLf,
    /// The start of a line of the trailer section, or its end.
    Trailer,
    /// Within the name, and the value, of a trailer field.
    TrailerName,
    TrailerLine,
    TrailerLf,
    /// The LF that ends it all.
    LastLf,
}

impl Skipper {
    /// For a body of that framing, or the fault of one that is too long.
    pub(super) fn new(framing: Framing) -> Result<Self, Fault> {
        match framing {
            Framing::Length(length) if length > MAX_BODY => Err(Fault::ContentTooLarge),
            Framing::Length(length) => Ok(Skipper::Length(length)),
            Framing::Chunked => Ok(Skipper::Chunked(Chunked {
                state: State::Size,
                content: 0,
                overhead: 0,
                line: 0,
                size: 0,
                has_digit: false,
            })),
        }
    }

    /// Takes what belongs to the body from the front: how many bytes, and whether the body is complete.
    pub(super) fn skip(&mut self, input: &[u8]) -> Result<(usize, bool), Fault> {
        match self {
            Skipper::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                Ok((taken, *left == 0))
            }
            Skipper::Chunked(chunked) => chunked.skip(input),
        }
    }
}

impl Chunked {
    fn skip(&mut self, input: &[u8]) -> Result<(usize, bool), Fault> {
        let mut at = 0;
        while at < input.len() {
            if let State::Data(left) = self.state {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                at += taken;
                let left = left - taken as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                continue;
            }
            self.overhead += 1;
            if self.overhead > MAX_OVERHEAD {
                return Err(Fault::ContentTooLarge);
            }
            if self.byte(input[at])? {
                return Ok((at + 1, true));
            }
            at += 1;
        }
        Ok((at, false))
    }

    /// One byte that is not content; true at the end of the body.
    fn byte(&mut self, byte: u8) -> Result<bool, Fault> {
        self.line += 1;
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from((byte as char).to_digit(16).unwrap_or(0));
                // Leading zeros are legal, but no number needs a line of them.
                self.size = self.size.saturating_mul(16).saturating_add(digit);
                self.has_digit = true;
                State::Size
            }
            (State::Size, b'\r') if self.has_digit => State::SizeLf,
            (State::Size, b';') if self.has_digit => State::Extension,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..=0xff) => State::Extension,
            (State::SizeLf, b'\n') => self.begin_chunk()?,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                (self.line, self.size, self.has_digit) = (0, 0, false);
                State::Size
            }
            (State::Trailer, b'\r') => State::LastLf,
            (State::Trailer | State::TrailerName, byte) if is_token(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerLine,
            (State::TrailerLine, b'\r') => State::TrailerLf,
            (State::TrailerLine, b'\t' | b' '..=b'~' | 0x80..=0xff) => State::TrailerLine,
            (State::TrailerLf, b'\n') => State::Trailer,
            (State::LastLf, b'\n') => return Ok(true),
            _ => return Err(Fault::BadRequest),
        };
        let in_trailers = matches!(
            self.state,
            State::Trailer | State::TrailerName | State::TrailerLine | State::TrailerLf | State::LastLf
        );
        match in_trailers {
            true if self.line > MAX_TRAILERS => Err(Fault::FieldsTooLarge),
            false if self.line > MAX_CHUNK_LINE => Err(Fault::BadRequest),
            _ => Ok(false),
        }
    }

    fn begin_chunk(&mut self) -> Result<State, Fault> {
        self.line = 0;
        self.content = self.content.saturating_add(self.size);
        if self.content > MAX_BODY {
            return Err(Fault::ContentTooLarge);
        }
        Ok(if self.size == 0 { State::Trailer } else { State::Data(self.size) })
    }
}
