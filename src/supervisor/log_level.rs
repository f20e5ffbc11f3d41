//! The level of the log as its operator wants it for now, over the configured one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Supervisor;

/// What goes over the configuration.
#[derive(Debug, Default)]
pub(super) struct LogLevel {
    /// The filter, and until when.
    level: watch::Sender<Option<(String, Option<Instant>)>>,
    revert: Mutex<Option<AbortHandle>>,
}

impl Supervisor {
    /// The filter that goes over the configured one, and how long it still holds; none if none does.
    pub fn log_level(&self) -> Option<(String, Option<Duration>)> {
        let level = self.inner.log_level.level.borrow().clone();
        level.map(|(level, until)| (level, until.map(|at| at.saturating_duration_since(Instant::now()))))
    }

    /// Puts a filter over the configured one, for so long or until the next change. It must be one that
    /// [`check_log_filter`](crate::config::check_log_filter) takes. To be called inside a runtime.
    pub fn set_log_level(&self, level: String, at_most: Option<Duration>) {
        let control = &self.inner.log_level;
        let mut revert = control.revert.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = revert.take() {
            task.abort();
        }
        control.level.send_replace(Some((level, at_most.map(|limit| Instant::now() + limit))));
        *revert = at_most.map(|limit| {
            let supervisor = self.clone();
            let task = tokio::spawn(async move {
                tokio::time::sleep(limit).await;
                supervisor.inner.log_level.level.send_replace(None);
            });
            task.abort_handle()
        });
    }

    /// Resolves when the filter that goes over the configured one has changed since the receiver last looked.
    pub fn follow_log_level(&self) -> watch::Receiver<Option<(String, Option<Instant>)>> {
        self.inner.log_level.level.subscribe()
    }
}
