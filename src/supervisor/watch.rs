//! The watch: takes a change of the configuration's files over by itself.
//!
//! The system tells of changes in the *folders* of the files, since editors and ConfigMaps replace files rather
//! than write them; and the files are looked at again and again, since bind mounts and network file systems
//! tell nothing. Either way it is the content that counts, and it must have settled: a file that is gone, empty
//! or still being written is not a configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::{Running, Supervisor};
use crate::config::ReadFile;
use crate::stats::Trigger;

/// How long the files must stay as they are before they are taken over.
const SETTLE: Duration = Duration::from_millis(200);

/// The largest file whose content is compared.
const LARGEST: u64 = 8 << 20;

/// What the files hold.
type Content = Vec<[u8; 32]>;

/// Why there is nothing to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unusable(String);

/// Watches for as long as it is polled, whenever the running configuration wants it.
pub async fn run(supervisor: Supervisor) {
    let mut running = supervisor.subscribe();
    loop {
        let current = running.borrow_and_update().clone();
        if current.config.reload.watch && !current.files.is_empty() {
            let mut watch = Watch::new(&current);
            tokio::select! {
                changed = running.changed() => if changed.is_err() { return },
                () = watch.until_changed() => {
                    // What fails is not tried again until the files change once more.
                    watch.reload(&supervisor, &mut running).await;
                }
            }
        } else if running.changed().await.is_err() {
            return;
        }
    }
}

impl Supervisor {
    /// Reloads for a trigger that waits for no answer: while one reload waits for its turn, more of the same
    /// trigger are that one, which reads the files when it begins.
    pub async fn reload_soon(&self, trigger: Trigger) {
        if !self.inner.asked[trigger as usize].swap(true, Ordering::AcqRel) {
            let turn = self.inner.live.clone().lock_owned().await;
            self.inner.asked[trigger as usize].store(false, Ordering::Release);
            drop(turn);
            let _ = self.reload(trigger, false).await;
        }
    }
}

struct Watch {
    files: Arc<[ReadFile]>,
    interval: Duration,
    /// What was last taken over, or tried.
    seen: Result<Content, Unusable>,
    told: Arc<Notify>,
    _system: Option<RecommendedWatcher>,
}

impl Watch {
    /// Compares with what the running configuration was made of.
    fn new(running: &Running) -> Self {
        let told = Arc::new(Notify::new());
        let files = running.files.clone();
        Watch {
            seen: Ok(files.iter().map(|file| file.sha256).collect()),
            interval: running.config.reload.watch_interval.get(),
            _system: system(&files, &told),
            files,
            told,
        }
    }

    /// Returns when the files hold something else, and have settled.
    async fn until_changed(&mut self) {
        // What changed before the system was asked to tell of it shows itself at once.
        self.told.notify_one();
        loop {
            let _ = tokio::time::timeout(self.interval, self.told.notified()).await;
            let now = self.read().await;
            if now == self.seen {
                continue;
            }
            if let Err(Unusable(reason)) = &now {
                tracing::warn!(target: "polygate::watch", reason, "the files cannot be taken over, the old configuration goes on");
                self.seen = now;
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            if self.read().await == now {
                self.seen = now;
                return;
            }
            // Still being written: looked at again at once.
            self.told.notify_one();
        }
    }

    /// Reloads, and goes on from there if that fails or changes nothing.
    async fn reload(
        &mut self,
        supervisor: &Supervisor,
        running: &mut tokio::sync::watch::Receiver<Arc<Running>>,
    ) {
        loop {
            supervisor.reload_soon(Trigger::Watch).await;
            let applied = running.has_changed().unwrap_or(true);
            if applied {
                return;
            }
            tokio::select! {
                _ = running.changed() => return,
                () = self.until_changed() => {}
            }
        }
    }

    async fn read(&self) -> Result<Content, Unusable> {
        let files = self.files.clone();
        // Files may be on a network file system, which may be slow.
        let read = tokio::task::spawn_blocking(move || content(&files)).await;
        read.unwrap_or_else(|error| Err(Unusable(error.to_string())))
    }
}

/// What the files hold now, or why one of them cannot be a configuration.
fn content(files: &[ReadFile]) -> Result<Content, Unusable> {
    let mut hashes = Vec::with_capacity(files.len());
    for ReadFile { path, .. } in files {
        let unusable = |reason: &dyn std::fmt::Display| Unusable(format!("{}: {reason}", path.display()));
        let facts = std::fs::metadata(path).map_err(|error| unusable(&error))?;
        if facts.len() == 0 {
            return Err(unusable(&"the file is empty"));
        }
        if facts.len() > LARGEST {
            return Err(unusable(&"the file is too large"));
        }
        let bytes = std::fs::read(path).map_err(|error| unusable(&error))?;
        hashes.push(ReadFile::new(path.clone(), &bytes).sha256);
    }
    Ok(hashes)
}

/// Lets the system tell of changes in the folders of the files, and of what they are links to. Where it cannot,
/// looking again and again is what is left.
fn system(files: &[ReadFile], told: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let teller = told.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is an event, too, and the files are read at every one.
        if !event.is_ok_and(|event| event.kind.is_access() && !is_written(&event)) {
            teller.notify_one();
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(target: "polygate::watch", %error, "the system does not tell of changes: looking at the files instead");
            return None;
        }
    };
    for folder in folders(files) {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::warn!(target: "polygate::watch", folder = %folder.display(), %error, "the system does not tell of changes here: looking at the files instead");
        }
    }
    Some(watcher)
}

/// Whether a file was closed that had been open for writing.
fn is_written(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode};
    matches!(event.kind, notify::EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

/// The folders in which a change of a file shows itself: its own, and that of what a link leads to.
fn folders(files: &[ReadFile]) -> BTreeSet<PathBuf> {
    let target = |file: &ReadFile| file.path.canonicalize().ok();
    let paths = files.iter().map(|file| file.path.clone()).chain(files.iter().filter_map(target));
    paths.filter_map(|path| path.parent().map(Path::to_owned)).collect()
}
