//! What goes out: lines of the command line, or of standard input, read by a thread of its own because such a read
//! cannot be called off.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, Read as _};

use tokio::sync::mpsc;

/// The longest line of standard input that stays in one piece.
const LONGEST_LINE: u64 = 64 * 1024;

/// Where lines come from.
pub(super) enum Input {
    Lines(VecDeque<Vec<u8>>),
    Standard(mpsc::Receiver<Vec<u8>>),
}

impl Input {
    /// These, each with that end.
    pub(super) fn lines(lines: &[String], end: &'static [u8]) -> Self {
        Input::Lines(lines.iter().map(|line| [line.as_bytes(), end].concat()).collect())
    }

    /// Those of standard input, with that end instead of their own.
    pub(super) fn standard(end: &'static [u8]) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::Builder::new().name("stdin".into()).spawn(move || read(end, &sender))?;
        Ok(Input::Standard(receiver))
    }

    /// The next one; none at the end. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        match self {
            Input::Lines(lines) => lines.pop_front(),
            Input::Standard(receiver) => receiver.recv().await,
        }
    }
}

/// Until the end, an error (which is an end too), or until nobody wants more.
fn read(end: &[u8], sender: &mpsc::Sender<Vec<u8>>) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match (&mut stdin).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        // A line that was cut, or a last one without an end, goes as it is.
        if line.last() == Some(&b'\n') {
            line.pop();
            line.extend_from_slice(end);
        }
        if sender.blocking_send(line).is_err() {
            return;
        }
    }
}
