//! What processes say on stderr goes to the log, line by line and not without end.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ChildStderr;
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

/// The most of a line that is logged, in bytes.
const LINE: usize = 1024;

/// The most lines of one process.
const LINES: usize = 1000;

/// Whose process it is.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) listener: Arc<str>,
    pub(super) conn: u64,
    pub(super) program: Arc<str>,
    pub(super) pid: i32,
}

/// Reads stderr until its end. To be called inside the runtime.
pub(super) fn follow(stderr: ChildStderr, about: About) -> io::Result<JoinHandle<()>> {
    let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr))?;
    Ok(tokio::spawn(async move {
        let mut lines = Lines { about, line: Vec::new(), cut: false, logged: 0 };
        let mut buffer = [0; 2048];
        while pipe.readable().await.is_ok() {
            match pipe.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => lines.take(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        lines.end();
    }))
}

struct Lines {
    about: About,
    line: Vec<u8>,
    cut: bool,
    logged: usize,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end(),
                _ if self.line.len() < LINE => self.line.push(*byte),
                _ => self.cut = true,
            }
        }
    }

    fn end(&mut self) {
        if self.line.is_empty() {
            return;
        }
        self.logged += 1;
        let mut text = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
        if std::mem::take(&mut self.cut) {
            text.push('…');
        }
        self.line.clear();
        if self.logged > LINES {
            return;
        }
        let About { listener, conn, program, pid } = &self.about;
        tracing::info!(target: "polygate::process", %listener, conn, %program, pid, stderr = text, "says");
        if self.logged == LINES {
            tracing::warn!(target: "polygate::process", %listener, conn, %program, pid, "says too much: the rest is not logged");
        }
    }
}
