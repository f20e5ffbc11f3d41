//! What came: printed, and compared with what was expected.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use super::super::exit::{Exit, Failure};
use super::super::terminal::{is_unsafe, push_escaped};

/// The texts that must come, in this order, and the end of what has come.
pub(super) struct Expected {
    texts: VecDeque<String>,
    all: usize,
    /// What came since the last text that was seen, as far as another could begin in it.
    heard: Vec<u8>,
}

/// Standard output: bytes as they came for a pipe, no control sequences for a terminal.
pub(super) struct Printer {
    terminal: bool,
    stream: bool,
    /// The beginning of a character that was cut.
    cut: Vec<u8>,
    /// The last byte that was printed.
    last: u8,
}

// === impl Expected ===

impl Expected {
    pub(super) fn new(texts: &[String]) -> Self {
        Expected { texts: texts.iter().cloned().collect(), all: texts.len(), heard: Vec::new() }
    }

    /// The one that is waited for.
    pub(super) fn next(&self) -> Option<&str> {
        self.texts.front().map(String::as_str)
    }

    /// How many were seen.
    pub(super) fn seen(&self) -> usize {
        self.all - self.texts.len()
    }

    /// Takes what came; true if a text was in it.
    pub(super) fn look(&mut self, bytes: &[u8]) -> bool {
        let before = self.texts.len();
        self.heard.extend_from_slice(bytes);
        while let Some(text) = self.texts.front() {
            let Some(at) = find(&self.heard, text.as_bytes()) else { break };
            self.heard.drain(..at + text.len());
            self.texts.pop_front();
        }
        // No more is kept than a text that was cut needs.
        let keep = self.texts.front().map_or(0, |text| text.len() - 1);
        let surplus = self.heard.len().saturating_sub(keep);
        self.heard.drain(..surplus);
        self.texts.len() < before
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

// === impl Printer ===

impl Printer {
    pub(super) fn new(stream: bool) -> Self {
        Printer { terminal: io::stdout().is_terminal(), stream, cut: Vec::new(), last: b'\n' }
    }

    /// Prints it. A datagram ends its line, so that one is told from the next.
    pub(super) fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.terminal {
            let text = self.visible(bytes);
            self.write(text.as_bytes())?;
        } else {
            self.write(bytes)?;
        }
        if self.stream { Ok(()) } else { self.end_line() }
    }

    /// What comes next on a terminal, the shell's prompt for one, begins a line.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.cut)).into_owned();
        self.write(rest.as_bytes())?;
        if self.terminal { self.end_line() } else { Ok(()) }
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        if self.last == b'\n' { Ok(()) } else { self.write(b"\n") }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Failure, format!("cannot write to standard output: {error}")))
            }
            _ => {
                self.last = bytes.last().copied().unwrap_or(self.last);
                Ok(())
            }
        }
    }

    /// Text with its line ends and tabs, and everything else visible that a terminal would act on.
    fn visible(&mut self, bytes: &[u8]) -> String {
        self.cut.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.cut) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.cut.len(),
        };
        let mut out = String::new();
        for character in String::from_utf8_lossy(&self.cut[..whole]).chars() {
            match character {
                '\n' | '\r' | '\t' => out.push(character),
                c if is_unsafe(c) => push_escaped(&mut out, c),
                c => out.push(c),
            }
        }
        self.cut.drain(..whole);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_seen_in_order_and_across_cuts() {
        let mut expected = Expected::new(&["ab".into(), "ba".into()]);
        assert!(!expected.look(b"xxa"));
        assert!(expected.look(b"ba"));
        assert_eq!((expected.seen(), expected.next()), (1, Some("ba")));
        assert!(!expected.look(b"xb"));
        assert!(expected.look(b"a"));
        assert_eq!(expected.next(), None);
        assert!(expected.heard.is_empty());
    }

    #[test]
    fn a_terminal_gets_text_only_and_characters_whole() {
        let mut printer = Printer { terminal: true, stream: true, cut: Vec::new(), last: 0 };
        assert_eq!(printer.visible(b"a\x1b[31m\r\n"), "a\\u{1b}[31m\r\n");
        assert_eq!(printer.visible(&"欢".as_bytes()[..2]), "");
        assert_eq!(printer.visible(&"欢".as_bytes()[2..]), "欢");
        assert_eq!(printer.visible(b"\xff!"), "\u{fffd}!");
    }
}
