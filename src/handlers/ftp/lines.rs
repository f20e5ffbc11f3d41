//! Bytes of the control connection become lines: bounded, wherever they are cut, without the Telnet in them.

/// The longest line before a login, in bytes with its end.
pub(super) const LONGEST_BEFORE_LOGIN: usize = 4 * 1024;

/// The longest line after a login, in bytes with its end.
pub(super) const LONGEST_AFTER_LOGIN: usize = 8 * 1024;

/// The too long line in a row that ends the connection.
const TOO_MANY: u8 = 3;

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;

/// What came, once its end was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end, byte for byte as the client means it.
    Whole(Vec<u8>),
    /// One over the limit, skipped: 500.
    TooLong,
    /// The third of those in a row: 500 and close.
    Hopeless,
}

/// Where in the Telnet beneath the next byte is (RFC 854).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Text,
    /// After IAC.
    Command,
    /// After WILL, WONT, DO or DONT: its option.
    Option,
    /// Between SB and SE.
    Parameters,
    /// After an IAC in there.
    ParametersCommand,
}

/// Joins pieces to lines. It holds at most the line that is not complete.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// Bytes of the line as they came, so that Telnet cannot be dripped for ever.
    length: usize,
    telnet: Telnet,
    too_long: u8,
}

impl Lines {
    /// Takes from `input` up to the end of a line of at most `longest` bytes, and says what it was. None: `input` is
    /// used up and the line goes on.
    pub(super) fn next(&mut self, input: &mut &[u8], longest: usize) -> Option<Line> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.length = self.length.saturating_add(1);
            let fits = self.length <= longest;
            if !fits {
                self.line = Vec::new();
            }
            if *byte == b'\n' {
                return Some(self.end(fits));
            }
            self.take(*byte, fits);
        }
        None
    }

    /// Whether a line has begun.
    pub(super) fn is_within(&self) -> bool {
        self.length > 0
    }

    fn end(&mut self, fits: bool) -> Line {
        if self.telnet == Telnet::Command && fits {
            self.line.push(IAC);
        }
        let mut line = std::mem::take(&mut self.line);
        self.length = 0;
        self.telnet = Telnet::Text;
        if !fits {
            self.too_long = self.too_long.saturating_add(1);
            return if self.too_long >= TOO_MANY { Line::Hopeless } else { Line::TooLong };
        }
        self.too_long = 0;
        // A bare LF is tolerated; of the end CR LF both go.
        line.pop_if(|last| *last == b'\r');
        Line::Whole(line)
    }

    fn take(&mut self, byte: u8, fits: bool) {
        let mut keep = |bytes: &[u8]| {
            if fits {
                self.line.extend_from_slice(bytes);
            }
        };
        self.telnet = match (self.telnet, byte) {
            (Telnet::Text, IAC) => Telnet::Command,
            (Telnet::Text, byte) => {
                keep(&[byte]);
                Telnet::Text
            }
            // Doubled it is the byte itself.
            (Telnet::Command, IAC) => {
                keep(&[IAC]);
                Telnet::Text
            }
            (Telnet::Command, SB) => Telnet::Parameters,
            (Telnet::Command, 251..=254) => Telnet::Option,
            (Telnet::Command, SE..SB) => Telnet::Text,
            // No command: a client that sends names as they are has one with this byte in it.
            (Telnet::Command, byte) => {
                keep(&[IAC, byte]);
                Telnet::Text
            }
            (Telnet::Option, _) | (Telnet::ParametersCommand, SE) => Telnet::Text,
            (Telnet::Parameters, IAC) => Telnet::ParametersCommand,
            (Telnet::Parameters | Telnet::ParametersCommand, _) => Telnet::Parameters,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes out of pieces, with a limit of 16 bytes.
    fn read(pieces: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some(line) = lines.next(&mut rest, 16) {
                found.push(line);
            }
            assert!(rest.is_empty() && lines.line.len() <= 17);
        }
        found
    }

    fn whole(text: &[u8]) -> Line {
        Line::Whole(text.to_vec())
    }

    #[test]
    fn lines_end_with_cr_lf_and_a_bare_lf_is_tolerated() {
        assert_eq!(read(&[b"NOOP\r\nPWD\n\r\nCWD a\rb\r"]), [whole(b"NOOP"), whole(b"PWD"), whole(b"")]);
        assert_eq!(read(&[b"CWD a\rb\r", b"\n"]), [whole(b"CWD a\rb")]);
    }

    #[test]
    fn the_third_long_line_in_a_row_is_one_too_many() {
        let long = [&[b'x'; 40][..], b"\n"].concat();
        assert_eq!(read(&[&long, &long, b"NOOP\n"]), [Line::TooLong, Line::TooLong, whole(b"NOOP")]);
        assert_eq!(read(&[&long, &long, &long]), [Line::TooLong, Line::TooLong, Line::Hopeless]);
        assert_eq!(read(&[b"123456789012345\n"]), [whole(b"123456789012345")]);
        assert_eq!(read(&[b"1234567890123456\n"]), [Line::TooLong]);
    }

    #[test]
    fn telnet_goes_and_names_of_any_bytes_stay() {
        assert_eq!(read(&[b"\xff\xf4\xff\xf2ABOR\r\n"]), [whole(b"ABOR")]);
        assert_eq!(read(&[b"A\xff\xffB\n"]), [whole(b"A\xffB")]);
        assert_eq!(read(&[b"A\xff\xfb\x01B\xff\xfa\x01\xff\xff\xff\xf0C\n"]), [whole(b"ABC")]);
        assert_eq!(read(&[b"A \xff\xc3\xe9\xff\n"]), [whole(b"A \xff\xc3\xe9\xff")]);
    }

    proptest! {
        #[test]
        fn a_cut_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..80), cuts in proptest::collection::vec(0..80usize, 0..6)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[&bytes]));
        }
    }
}
