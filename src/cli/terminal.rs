//! Writing to people and pipes: never a panic on a closed one, no colour where it does not belong,
//! and no control character that came from somebody else.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::ops::ControlFlow;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::exit::{Exit, Failure};

/// Writes to standard output. A reader that has gone (`| head`) is no failure, a full disk is one.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text).map(|_| ())
}

/// The same for whoever has more to say: breaks off where the reader has gone.
pub(crate) fn write(text: &str) -> Result<ControlFlow<()>, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::new(Exit::Failure, format!("cannot write to standard output: {error}"))),
    }
}

/// Whether nobody reads standard output any more, so that what is still to come is for nobody.
pub(crate) fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().contains(PollFlags::ERR)
}

/// Writes to standard error. Nobody is left to hear that this failed.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether what is written to standard output may have colours.
pub(crate) fn color_on_stdout() -> bool {
    color(io::stdout().is_terminal(), std::env::var_os("NO_COLOR"))
}

/// Whether what is written to standard error may have colours.
pub(crate) fn color_on_stderr() -> bool {
    color(io::stderr().is_terminal(), std::env::var_os("NO_COLOR"))
}

/// As <https://no-color.org> has it: set and not empty switches colours off.
fn color(terminal: bool, no_color: Option<OsString>) -> bool {
    terminal && no_color.is_none_or(|value| value.is_empty())
}

/// The text with control characters, and those that turn the direction of writing, made visible.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        push_escaped(&mut out, character);
    }
    out
}

/// Appends one character as [`escape`] has it.
pub(crate) fn push_escaped(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_unsafe(c) => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Whether a terminal would do something else with it than show it.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_and_no_no_color() {
        assert!(color(true, None));
        assert!(color(true, Some("".into())));
        assert!(!color(true, Some("1".into())));
        assert!(!color(false, None));
    }

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(escape("plain ä €"), "plain ä €");
        assert_eq!(escape("a\u{1b}[31m\r\n\t\0b"), "a\\u{1b}[31m\\r\\n\\t\\u{0}b");
        assert_eq!(escape("\u{9b}x\u{202e}y\u{7f}"), "\\u{9b}x\\u{202e}y\\u{7f}");
    }
}
