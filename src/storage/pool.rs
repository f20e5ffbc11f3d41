//! Threads for what blocks, so many and no more.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A bound on how much blocking work of one kind is under way. What is more waits its turn, in order; how many
/// can wait is bounded by how many conns there are.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Semaphore>);

impl Pool {
    /// For so many at once, at least one.
    pub fn new(at_once: usize) -> Self {
        Pool(Arc::new(Semaphore::new(at_once.max(1))))
    }

    /// Does something that blocks on a thread that may. If the caller goes away meanwhile, it is done all the
    /// same and its place is taken until then. To be called inside a runtime.
    ///
    /// # Panics
    /// If `work` does.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // The semaphore is never closed: without a place the work would be done anyway.
        let place = self.0.clone().acquire_owned().await.ok();
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        match task.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
