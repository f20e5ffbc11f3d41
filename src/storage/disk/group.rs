//! Group commit of directories: whoever wants one synced shares the next sync with all who came meanwhile.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{fstat, fsync};
use rustix::io::Errno;

/// The directories that are being synced. A sync that began before a name changed does not cover it, so a
/// caller takes part in the next one that begins.
#[derive(Debug, Default)]
pub(super) struct DirectorySyncs(Mutex<HashMap<(u64, u64), Arc<Rounds>>>);

/// The syncs of one directory, one after the other.
#[derive(Debug, Default)]
struct Rounds {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// How many have begun, and what came of the last ones.
    begun: u64,
    finished: u64,
    failed: Option<(u64, Errno)>,
}

impl DirectorySyncs {
    /// Syncs the directory, or waits for somebody else who begins after this call.
    pub(super) fn sync(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let stat = fstat(directory)?;
        let key = (stat.st_dev, stat.st_ino);
        let rounds = locked(&self.0).entry(key).or_default().clone();
        let result = rounds.take_part(directory);
        let mut all = locked(&self.0);
        // The map holds one, this call the other: nobody else is there.
        if all.get(&key).is_some_and(|same| Arc::ptr_eq(same, &rounds) && Arc::strong_count(same) == 2) {
            all.remove(&key);
        }
        result
    }
}

impl Rounds {
    fn take_part(&self, directory: &OwnedFd) -> Result<(), Errno> {
        let mut state = locked(&self.state);
        let mine = state.begun + 1;
        loop {
            if state.finished >= mine {
                // A failure is told to everyone from that round on: the kernel reports it once only.
                return state
                    .failed
                    .filter(|(round, _)| *round >= mine)
                    .map_or(Ok(()), |(_, errno)| Err(errno));
            }
            if !state.running {
                break;
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        state.begun += 1;
        let round = state.begun;
        drop(state);
        let result = fsync(directory);
        let mut state = locked(&self.state);
        state.running = false;
        state.finished = round;
        if let Err(errno) = result {
            state.failed = Some((round, errno));
        }
        drop(state);
        self.done.notify_all();
        result
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
