//! The end of a gateway: waited for, begun, and made to happen.

use std::time::Duration;

use super::live::Published;
use super::{POLL, Supervisor};
use crate::stats::CloseReason;

/// How long closing waits for a reload that is under way.
const CLOSE_WAIT: Duration = Duration::from_millis(200);

impl Supervisor {
    /// Waits until every listener has had its `accept_total` and the last conn is gone. With no listener
    /// there is nothing to wait for that could come: it never returns.
    pub async fn stopped(&self) {
        let mut running = self.subscribe();
        loop {
            let stops: Vec<_> = self.inner.published().iter().map(|l| l.door.stopped().clone()).collect();
            let all = async {
                for stop in &stops {
                    stop.cancelled().await;
                }
                while self.active() > 0 {
                    tokio::time::sleep(POLL).await;
                }
            };
            tokio::select! {
                biased;
                _ = running.changed() => {}
                () = all, if !stops.is_empty() => return,
            }
        }
    }

    /// Stops accepting: what is queued is taken, then the ports are closed; conns are asked to finish. No
    /// reload comes after it.
    pub async fn close(&self) {
        // Ends the loops without waiting for a reload that waits for a name server: it will not commit.
        self.inner.hold.close();
        self.inner.stats.control().set_draining(true);
        self.inner.drain.cancel();
        self.inner.stats.each_live(|meter| meter.notice_drain());
        if let Ok(mut live) = tokio::time::timeout(CLOSE_WAIT, self.inner.live.lock()).await {
            live.sockets.clear();
        }
    }

    /// After [`Supervisor::close`]: waits until the loops have taken what was queued and no conn is open, at
    /// most so long.
    pub async fn idle(&self, at_most: Option<Duration>) {
        let empty = async {
            while self.active() > 0 || self.inner.published().iter().any(Published::has_loops) {
                tokio::time::sleep(POLL).await;
            }
        };
        match at_most {
            Some(limit) => drop(tokio::time::timeout(limit, empty).await),
            None => empty.await,
        }
    }

    /// Kills every conn, and returns how many.
    pub fn kill_all(&self, reason: CloseReason) -> u64 {
        let mut killed = 0;
        self.inner.stats.each_live(|meter| killed += u64::from(meter.kill(reason)));
        killed
    }
}
