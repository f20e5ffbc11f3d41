//! Where a request ends: at a line end, or when nothing more has come for a while.

use std::time::{Duration, Instant};

/// The longest request in bytes, its line end aside.
pub(super) const LONGEST: usize = 1024;

/// What has come and is not used yet. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    last: Option<Instant>,
}

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole request, its line end taken off.
    Request(Vec<u8>),
    /// Nothing, or a part of one.
    Part,
    /// More than a request may have.
    TooLong,
}

impl Input {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How much is here.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) {
        self.bytes.extend_from_slice(bytes);
        self.last = Some(now);
    }

    /// When what is here is a request although no line end has come; none while nothing is here.
    pub(super) fn due(&self, gap: Duration) -> Option<Instant> {
        self.last.filter(|_| !self.is_empty()).map(|last| last + gap)
    }

    /// Takes the first request that ends with a line end. Empty lines are no requests: a client may end a line
    /// with two bytes that come apart.
    pub(super) fn line(&mut self) -> Found {
        loop {
            let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
                let over = match self.bytes.get(LONGEST) {
                    None => false,
                    Some(byte) => *byte != b'\r' || self.bytes.len() > LONGEST + 1,
                };
                return if over { Found::TooLong } else { Found::Part };
            };
            let request = without_return(&self.bytes[..end]).to_vec();
            if end + 1 == self.bytes.len() {
                self.bytes = Vec::new();
            } else {
                self.bytes.drain(..=end);
            }
            if request.len() > LONGEST {
                return Found::TooLong;
            }
            if !request.is_empty() {
                return Found::Request(request);
            }
        }
    }

    /// Takes all that is here for one request, since nothing more has come. To be called where no line end is in it.
    pub(super) fn all(&mut self) -> Option<Vec<u8>> {
        let bytes = std::mem::take(&mut self.bytes);
        Some(without_return(&bytes).to_vec()).filter(|request| !request.is_empty())
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Found {
        Found::Request(text.into())
    }

    #[test]
    fn a_line_end_of_either_kind_ends_a_request_wherever_it_is_cut() {
        let text = b"uptime\r\n\r\n\nseq 1 2\nStart\r\nrest";
        for cut in 0..=text.len() {
            let mut input = Input::default();
            let mut found = Vec::new();
            for piece in [&text[..cut], &text[cut..]] {
                input.push(piece, Instant::now());
                loop {
                    match input.line() {
                        Found::Part => break,
                        other => found.push(other),
                    }
                }
            }
            assert_eq!(found, [request("uptime"), request("seq 1 2"), request("Start")], "cut at {cut}");
            assert_eq!(input.all(), Some(b"rest".to_vec()));
            assert!(input.is_empty() && input.due(Duration::ZERO).is_none());
        }
    }

    #[test]
    fn a_request_has_1024_bytes_and_no_more() {
        for (length, end, fits) in [
            (1024, "\n", true),
            (1024, "\r\n", true),
            (1024, "", true),
            (1024, "\r", true),
            (1025, "\n", false),
            (1025, "", false),
            (1024, "\r\r", false),
        ] {
            let mut input = Input::default();
            input.push(&[b"x".repeat(length), end.into()].concat(), Instant::now());
            let found = match input.line() {
                Found::Part => input.all().map(|bytes| bytes.len()),
                Found::Request(bytes) => Some(bytes.len()),
                Found::TooLong => None,
            };
            assert_eq!(found, fits.then_some(length), "{length} {end:?}");
        }
    }
}
