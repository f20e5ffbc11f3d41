//! Showing something again and again: redrawn in place on a terminal, one after another in a pipe.

use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use polygate::config::Period;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Exit, Failure};
use super::terminal;

/// More often would only keep the gateway busy.
const SHORTEST: Duration = Duration::from_millis(100);

/// For clap: how often something is asked for.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let interval = text.parse::<Period>().map_err(|error| error.to_string())?.get();
    match interval < SHORTEST {
        true => Err("the shortest interval is 100ms".into()),
        false => Ok(interval),
    }
}

/// Shows what `make` gives until a signal comes, nobody reads any more, or the gateway has gone. With `time` each
/// text has a line above it that says when that was.
pub(crate) fn run(
    interval: Duration,
    time: bool,
    mut make: impl FnMut() -> Result<String, Failure>,
) -> Result<(), Failure> {
    end_on_signals()?;
    let redraw = io::stdout().is_terminal();
    // The first one fails as it would without watching.
    let mut text = make()?;
    loop {
        let whole = if time { format!("{}\n{text}", now()) } else { text };
        let shown = match redraw {
            true => terminal::write(&frame(&whole, size()))?,
            false => terminal::write(&whole)?,
        };
        if shown == ControlFlow::Break(()) {
            return Ok(());
        }
        pause(interval);
        text = make().map_err(gone)?;
    }
}

/// Waits for the next look.
#[allow(clippy::disallowed_methods, reason = "no runtime works on this thread, and no event is awaited")]
pub(crate) fn pause(interval: Duration) {
    thread::sleep(interval);
}

/// Does something, on a thread of its own, when a signal asks for the end.
pub(crate) fn on_end_signal(act: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = runtime.block_on(async {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        io::Result::Ok((interrupt?, terminate?, hangup?))
    })?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        act();
    });
    Ok(())
}

/// A signal ends it at once and without a word, even while an answer is awaited.
#[allow(clippy::disallowed_methods, reason = "a client holds nothing that a Drop would settle")]
fn end_on_signals() -> Result<(), Failure> {
    on_end_signal(|| std::process::exit(Exit::Ok as i32))
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot take signals: {error}")))
}

fn gone(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Unavailable => {
            Failure { message: format!("the gateway has gone: {}", failure.message), ..failure }
        }
        _ => failure,
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// The rows and columns of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}

/// The text from the upper left corner on, cut to the screen: a line that wraps or scrolls would spoil the next one.
fn frame(text: &str, (rows, columns): (usize, usize)) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = rows.saturating_sub(1).max(1);
    let kept = if lines.len() > room { room - 1 } else { lines.len() };
    let mut out = String::from("\x1b[H");
    for line in &lines[..kept] {
        out.extend(line.chars().take(columns));
        out.push_str("\x1b[K\r\n");
    }
    if kept < lines.len() {
        out.push_str(&format!("... {} more lines\x1b[K\r\n", lines.len() - kept));
    }
    out.push_str("\x1b[J");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_not_too_short() {
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert!(interval("99ms").is_err());
        assert!(interval("0s").is_err());
        assert!(interval("1").is_err());
    }

    #[test]
    fn a_frame_fits_the_screen() {
        assert_eq!(frame("one\ntwo\n", (24, 2)), "\x1b[Hon\x1b[K\r\ntw\x1b[K\r\n\x1b[J");
        assert_eq!(
            frame("1\n2\n3\n4\n", (4, 80)),
            "\x1b[H1\x1b[K\r\n2\x1b[K\r\n... 2 more lines\x1b[K\r\n\x1b[J"
        );
        assert_eq!(frame("1\n2\n", (1, 80)), "\x1b[H... 2 more lines\x1b[K\r\n\x1b[J");
    }
}
