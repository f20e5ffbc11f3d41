//! Passwords: read from a terminal that does not show them, from standard input, a file or the environment; never
//! from the command line, where every process could see them.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::exit::{Exit, Failure};
use super::terminal::{self, escape};

/// The variable that holds a password.
const VARIABLE: &str = "POLYGATE_PASSWORD";

/// The longest password, in bytes, that a file or a line is read for.
const LONGEST: usize = 1024;

/// The password of a login elsewhere: the file's, the environment's, or one that is asked for.
pub(crate) fn of_login(user: &str, file: Option<&Path>) -> Result<String, Failure> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::new(Exit::of_read(&error), format!("cannot read {}: {error}", file.display()))
        })?;
        return checked(text);
    }
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => checked(text),
        _ => password(&format!("Password of {}: ", escape(user))),
    }
}

/// One line: from the terminal, where it is not shown, or from whatever standard input is.
pub(crate) fn password(prompt: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let _hidden = if stdin.is_terminal() {
        terminal::complain(prompt);
        Some(Hidden::begin().map_err(|error| wrong(&error))?)
    } else {
        None
    };
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|error| wrong(&error))?;
    checked(line)
}

/// Without the line end.
fn checked(line: String) -> Result<String, Failure> {
    let password =
        line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match password {
        "" => Err(wrong(&"it is empty; type it, or give it on standard input")),
        // Signals are off while it is typed, so that the terminal is never left without its echo.
        typed if typed.contains('\x03') => Err(wrong(&"interrupted")),
        lines if lines.contains(['\r', '\n', '\0']) => Err(wrong(&"it has more than one line")),
        long if long.len() > LONGEST => Err(wrong(&format!("it is longer than {LONGEST} bytes"))),
        password => Ok(password.to_owned()),
    }
}

fn wrong(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("cannot read the password: {error}"))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes &= !(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        terminal::complain("\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for line in ["sesame", "sesame\n", "sesame\r\n"] {
            assert_eq!(checked(line.into()).unwrap(), "sesame");
        }
        for (line, part) in [("\n", "empty"), ("a\nDELE b\n", "more than one line"), ("a\x03", "interrupted")]
        {
            assert!(checked(line.into()).unwrap_err().message.contains(part), "{line:?}");
        }
    }
}
