//! Child processes: started in a group of their own, bounded, and ended with everything that they started.
//!
//! A process is waited for through its pidfd and reaped last of all, so that its number and that of its group
//! stay its own for as long as anything is sent to them. It never runs through a shell, inherits no descriptor
//! but its three, and no variable but those that are given.

mod children;
mod counts;
mod family;
mod log;
mod program;
mod run;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

pub use children::{adopt, reap};
pub use counts::{Account, Counts, FAILURES, Names};
pub use program::{Given, Program, Start, Whose, find_group, find_user};
pub use run::{Failed, output};

use family::Family;

/// How long what has been killed may take to be gone before it is given up.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// How long the last lines on stderr may take once nothing of the process is left.
const LOG_WAIT: Duration = Duration::from_millis(200);

/// How long a runtime's end may wait for a process that has been killed.
const LAST_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The pause before looking again whether anything of a family is left.
const AGAIN: Duration = Duration::from_millis(10);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with that status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

impl End {
    /// Whether all went well.
    pub fn is_success(self) -> bool {
        self == End::Exit(0)
    }

    fn of(status: &WaitIdStatus) -> Self {
        match status.exit_status() {
            Some(code) => End::Exit(code),
            None => End::Signal(status.terminating_signal().unwrap_or(0)),
        }
    }
}

/// A running process. Dropping it ends it, its group, and what has left the group where it can be found.
#[derive(Debug)]
pub struct Process {
    body: Option<Body>,
    /// Its output, where that is a pipe.
    pub stdout: Option<pipe::Receiver>,
}

#[derive(Debug)]
struct Body {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    family: Family,
    log: Option<JoinHandle<()>>,
    /// How long it may take to end by itself after SIGTERM; none kills it at once.
    grace: Option<Duration>,
    reaped: bool,
    _account: Account,
    _place: Option<OwnedSemaphorePermit>,
}

impl Process {
    /// Its number.
    pub fn id(&self) -> i32 {
        self.body.as_ref().map_or(0, |body| body.pid.as_raw_nonzero().get())
    }

    /// Waits until it has ended. It is not reaped yet, so that its group can still be told from others.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn wait(&self) -> io::Result<End> {
        match &self.body {
            Some(body) => body.ended().await,
            None => Ok(End::Signal(0)),
        }
    }

    /// Ends what is left of it and waits until all of it is gone.
    pub async fn finish(mut self) {
        if let Some(body) = self.body.take() {
            body.end().await;
        }
    }

    /// Kills what is left in its group.
    pub fn kill_group(&self) {
        if let Some(body) = &self.body {
            body.signal(Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        body.signal(if body.grace.is_some() { Signal::TERM } else { Signal::KILL });
        // Without a runtime, or when it ends, the body's own drop does what can be done at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(body.end());
        }
    }
}

impl Body {
    async fn ended(&self) -> io::Result<End> {
        loop {
            let mut ready = self.pidfd.ready(Interest::READABLE).await?;
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            if let Some(status) = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)? {
                return Ok(End::of(&status));
            }
            ready.clear_ready();
        }
    }

    /// To the whole group. Its number is not another's yet, since its leader has not been reaped.
    fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Waits for the end after the first signal, kills what is left, and reaps.
    async fn end(mut self) {
        if let Some(grace) = self.grace.take()
            && tokio::time::timeout(grace, self.ended()).await.is_err()
        {
            tracing::debug!(target: "polygate::process", pid = self.pid.as_raw_nonzero().get(), "killed");
        }
        self.signal(Signal::KILL);
        let _ = tokio::time::timeout(KILL_WAIT, self.ended()).await;
        let deadline = tokio::time::Instant::now() + KILL_WAIT;
        loop {
            self.signal(Signal::KILL);
            let (family, leader) = (self.family.clone(), self.pid);
            let left = tokio::task::spawn_blocking(move || family.kill(leader)).await.unwrap_or(0);
            if left == 0 || tokio::time::Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.reap();
        if let Some(log) = self.log.take() {
            let abort = log.abort_handle();
            if tokio::time::timeout(LOG_WAIT, log).await.is_err() {
                abort.abort();
            }
        }
    }

    fn reap(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Ok(Some(_)) = waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            self.reaped = true;
            children::forget(self.pid);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // The runtime ends: a killed process is usually gone within a millisecond, and whoever takes over from
        // this process reaps what is not.
        self.signal(Signal::KILL);
        self.family.kill(self.pid);
        let mut ended = [PollFd::new(self.pidfd.get_ref(), PollFlags::IN)];
        let _ = poll(&mut ended, Some(&LAST_WAIT));
        self.reap();
        children::forget(self.pid);
    }
}

#[cfg(test)]
mod tests;
