//! What a process has started, wherever it has gone: a daemon leaves its group and its session, but not its
//! environment.
//!
//! Each process is given a variable that no other has, and whoever carries it belongs to its family. A program
//! that cleans its environment and leaves its group is not found; nothing short of a control group would hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::children;

/// The variable.
pub(super) const VARIABLE: &str = "POLYGATE_PROCESS";

/// A process and its descendants.
#[derive(Debug, Clone)]
pub(super) struct Family {
    /// The variable with its value, as the environment holds it.
    mark: Arc<str>,
}

impl Family {
    /// One that no process belongs to yet.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (gateway, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        Family { mark: format!("{VARIABLE}={gateway}.{number}").into() }
    }

    /// The variable's value.
    pub(super) fn value(&self) -> &str {
        &self.mark[VARIABLE.len() + 1..]
    }

    /// Kills all that live of the family of a process that was started here, and says how many those were. Reads
    /// /proc, and so blocks a little.
    pub(super) fn kill(&self, leader: Pid) -> usize {
        candidates(leader).into_iter().filter(|pid| self.kill_one(*pid)).count()
    }

    fn kill_one(&self, pid: i32) -> bool {
        let Some(number) = Pid::from_raw(pid) else { return false };
        if !self.has(pid) {
            return false;
        }
        let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else { return false };
        // Looked at again: the number may have become another's before it was opened.
        self.has(pid) && pidfd_send_signal(&process, Signal::KILL).is_ok()
    }

    /// Whether a process lives and carries the mark; of one that has ended the environment is empty.
    fn has(&self, pid: i32) -> bool {
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|variable| variable == self.mark.as_bytes())
    }
}

/// The processes to look at. Where orphans come here, all that a family has left are descendants of its leader, or of
/// orphans that have come already, and those of other leaders need no look; else they may be anywhere.
fn candidates(leader: Pid) -> Vec<i32> {
    if !children::adopts() {
        return everybody();
    }
    let mut found = children::orphans();
    found.push(leader.as_raw_nonzero().get());
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children::of(&pid.to_string()));
        at += 1;
    }
    found
}

fn everybody() -> Vec<i32> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
