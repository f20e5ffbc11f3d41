//! What a session does while a transfer runs.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::reply::Reply;
use super::session::{CHUNK, Session};
use super::{Command, Line, Verb};
use crate::handler::{Conn, Phase};

/// Lines that wait while a transfer runs; more stay with the client.
const MOST_QUEUED: usize = 64;

/// How often the progress of a transfer is shown.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Does a transfer's work, and what may be done meanwhile: NOOP and STAT are answered, ABOR cancels the work
    /// (its own reply follows when its turn comes), and so does the client's leaving. All else waits.
    pub(super) async fn accompany<T>(
        &mut self,
        conn: &mut Conn,
        progress: &Progress,
        abort: &CancellationToken,
        mut work: Pin<Box<dyn Future<Output = T> + Send + '_>>,
    ) -> io::Result<T> {
        conn.enter(Phase::Work);
        let mut killed = conn.killed();
        let mut dying = false;
        let mut failed = None;
        let mut show = tokio::time::interval_at(tokio::time::Instant::now() + SHOWN_EVERY, SHOWN_EVERY);
        let done = loop {
            self.act_at_once(conn, progress, abort);
            if failed.is_none() {
                failed = self.flush(conn).await.err();
            }
            if failed.is_some() || self.ended {
                abort.cancel();
            }
            let may_read = failed.is_none() && !self.ended && !self.quits() && self.queue.len() < MOST_QUEUED;
            tokio::select! {
                biased;
                done = &mut work => break done,
                _ = &mut killed, if !dying => {
                    dying = true;
                    abort.cancel();
                }
                chunk = conn.read_chunk(CHUNK), if may_read => match chunk {
                    Ok(Some(chunk)) => self.take_all(conn, &chunk),
                    Ok(None) => self.ended = true,
                    Err(error) => failed = Some(error),
                },
                _ = show.tick() => conn.describe("transfer", progress.to_string()),
            }
        };
        if progress.bytes() > 0 {
            conn.describe("transfer", "");
        }
        self.enter(conn, self.lines.is_within());
        failed.map_or(Ok(done), Err)
    }

    /// Whether QUIT waits: what comes behind it is not for us, and the transfer is let end.
    fn quits(&self) -> bool {
        let is_quit = |line: &Line| verb_of(line) == Some(Verb::Quit);
        self.queue.iter().any(is_quit)
    }

    fn act_at_once(&mut self, conn: &Conn, progress: &Progress, abort: &CancellationToken) {
        while let Some(verb @ (Verb::Noop | Verb::Stat)) = self.queue.front().and_then(verb_of) {
            let Some(Line::Whole(line)) = self.queue.front() else { return };
            // STAT with a path lists, which has to wait.
            if verb == Verb::Stat && !line[4..].trim_ascii().is_empty() {
                break;
            }
            self.queue.pop_front();
            self.counts.command(Some(verb));
            let reply = match verb {
                Verb::Noop => Reply::new(200, "OK."),
                _ => Reply::new(213, format!("{progress}, for {}.", conn.peer())),
            };
            self.say(&reply);
        }
        if self.queue.iter().any(|line| verb_of(line) == Some(Verb::Abor)) {
            abort.cancel();
        }
    }
}

fn verb_of(line: &Line) -> Option<Verb> {
    let Line::Whole(line) = line else { return None };
    Command::parse(line).ok().map(|command| command.verb)
}
