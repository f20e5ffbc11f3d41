//! The children of this process: those that were started here, and those that came to it as orphans.
//!
//! What a process starts and leaves behind goes to init. As PID 1, or after [`adopt`], this process is the one
//! that such orphans go to: it can find and end them, and must reap them.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, child_subreaper, getpid, set_child_subreaper, waitid};
use tokio::signal::unix::{SignalKind, signal};

/// The pause between two looks for orphans that have ended: many end at once, and none is in a hurry.
const PAUSE: Duration = Duration::from_millis(100);

/// Processes that somebody here waits for; the kernel has one list of children a process, so there is one here.
static STARTED: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

/// Held by whoever starts a process until it is in the list, and by the reaper while it looks.
static STARTING: RwLock<()> = RwLock::new(());

fn started() -> MutexGuard<'static, Option<HashSet<i32>>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process so that the reaper leaves it to whoever started it.
pub(super) fn start<T>(start: impl FnOnce() -> io::Result<(T, Pid)>) -> io::Result<(T, Pid)> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let begun = start()?;
    started().get_or_insert_default().insert(begun.1.as_raw_nonzero().get());
    Ok(begun)
}

/// Says that a process has been reaped.
pub(super) fn forget(pid: Pid) {
    if let Some(all) = started().as_mut() {
        all.remove(&pid.as_raw_nonzero().get());
    }
}

/// Whether orphans among the descendants become children of this process.
pub(super) fn adopts() -> bool {
    getpid().as_raw_nonzero().get() == 1 || matches!(child_subreaper(), Ok(Some(_)))
}

/// Makes this process the one that orphans among its descendants go to. For programs, not for libraries: whoever
/// does it must [`reap`].
///
/// # Errors
/// The kernel's.
pub fn adopt() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Reaps orphans for ever. Children that are waited for here are left alone; one that anything else in this
/// process started is not.
///
/// # Errors
/// SIGCHLD cannot be listened to.
pub async fn reap() -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    loop {
        // Before the first signal, too: some may have ended already.
        reap_now();
        tokio::time::sleep(PAUSE).await;
        if ended.recv().await.is_none() {
            return Ok(());
        }
    }
}

fn reap_now() {
    let _starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    for pid in orphans().into_iter().filter_map(Pid::from_raw) {
        // One that lives is left as it is.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// The children of this process that nobody here has started. One that is being started may be among them.
pub(super) fn orphans() -> Vec<i32> {
    let mut children = of("self");
    if let Some(ours) = started().as_ref() {
        children.retain(|child| !ours.contains(child));
    }
    children
}

/// The children of all threads of a process; none where the kernel does not tell (CONFIG_PROC_CHILDREN).
pub(super) fn of(process: &str) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let of_thread = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).ok();
    let lists = threads.flatten().filter_map(of_thread);
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
