//! How many at once: counted places with a limit that may change while they are taken.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::stats::Peer;

/// Counted places. Unlike a semaphore its limit can fall below what is taken: nobody is thrown out, and
/// nobody enters until there is room again.
#[derive(Debug)]
pub struct Gate {
    limit: AtomicUsize,
    taken: AtomicUsize,
    left: Notify,
}

impl Gate {
    /// With room for `limit`.
    pub fn new(limit: usize) -> Self {
        Gate { limit: AtomicUsize::new(limit), taken: AtomicUsize::new(0), left: Notify::new() }
    }

    /// Changes the limit.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Release);
        self.left.notify_waiters();
    }

    /// The limit.
    pub fn limit(&self) -> usize {
        self.limit.load(Acquire)
    }

    /// Places taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Acquire)
    }

    /// Takes a place if there is one.
    pub fn try_enter(&self) -> bool {
        let limit = self.limit();
        self.taken.fetch_update(AcqRel, Acquire, |taken| (taken < limit).then_some(taken + 1)).is_ok()
    }

    /// Waits for a place and takes it. Dropping the future takes none.
    pub async fn enter(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Registered before the look, so that a place left in between is not missed.
            left.as_mut().enable();
            if self.try_enter() {
                return;
            }
            left.await;
        }
    }

    /// Gives a place back.
    pub fn leave(&self) {
        self.taken.fetch_sub(1, AcqRel);
        self.left.notify_one();
    }
}

/// What conns are counted by where one peer may have only so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerKey {
    /// An address.
    Ip(IpAddr),
    /// A user of this machine, on Unix sockets.
    User(u32),
}

impl PeerKey {
    /// The key of a peer; none if it cannot be told from others.
    pub fn of(peer: &Peer) -> Option<Self> {
        match peer {
            Peer::Unix { uid, .. } => Some(PeerKey::User(*uid)),
            other => other.ip().map(PeerKey::Ip),
        }
    }
}

/// How many conns each peer has.
#[derive(Debug, Default)]
pub struct PeerCounts(Mutex<HashMap<PeerKey, usize>>);

impl PeerCounts {
    fn locked(&self) -> MutexGuard<'_, HashMap<PeerKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more unless the peer has `limit` already.
    pub fn try_enter(&self, key: PeerKey, limit: usize) -> bool {
        let mut counts = self.locked();
        let count = counts.entry(key).or_insert(0);
        let room = *count < limit;
        if room {
            *count += 1;
        }
        room
    }

    fn leave(&self, key: PeerKey) {
        let mut counts = self.locked();
        if let Some(count) = counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&key);
            }
        }
        // After a crowd the map gives its memory back.
        if counts.capacity() > 256 && counts.len() < counts.capacity() / 8 {
            counts.shrink_to_fit();
        }
    }
}

/// The places that one conn takes: in its listener, in the process, and among its peer's.
#[derive(Debug)]
pub struct Permit {
    listener: Arc<Gate>,
    process: Arc<Gate>,
    peer: Option<(Arc<PeerCounts>, PeerKey)>,
}

impl Permit {
    /// Takes both places, or none.
    pub fn try_take(listener: &Arc<Gate>, process: &Arc<Gate>) -> Option<Self> {
        if !listener.try_enter() {
            return None;
        }
        if !process.try_enter() {
            listener.leave();
            return None;
        }
        Some(Permit { listener: listener.clone(), process: process.clone(), peer: None })
    }

    /// Waits for both places.
    pub async fn take(listener: &Arc<Gate>, process: &Arc<Gate>) -> Self {
        listener.enter().await;
        // Holds the listener's place while it waits for the process's, and gives it back if dropped.
        let held = Place(listener);
        process.enter().await;
        std::mem::forget(held);
        Permit { listener: listener.clone(), process: process.clone(), peer: None }
    }

    /// Adds the peer's count, taken by [`PeerCounts::try_enter`].
    pub fn count_peer(&mut self, counts: Arc<PeerCounts>, key: PeerKey) {
        self.peer = Some((counts, key));
    }
}

struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((counts, key)) = self.peer.take() {
            counts.leave(key);
        }
        self.listener.leave();
        self.process.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_may_fall_below_what_is_taken() {
        let gate = Gate::new(2);
        assert!(gate.try_enter() && gate.try_enter() && !gate.try_enter());
        gate.set_limit(1);
        gate.leave();
        assert!(!gate.try_enter(), "one is still taken");
        gate.leave();
        assert!(gate.try_enter());
    }

    #[test]
    fn a_permit_takes_all_its_places_or_none() {
        let (listener, process) = (Arc::new(Gate::new(5)), Arc::new(Gate::new(1)));
        let permit = Permit::try_take(&listener, &process);
        assert!(permit.is_some() && Permit::try_take(&listener, &process).is_none());
        assert_eq!(listener.taken(), 1);
        drop(permit);
        assert_eq!((listener.taken(), process.taken()), (0, 0));
    }

    #[tokio::test]
    async fn whoever_waits_enters_when_one_leaves_and_a_waiter_that_gives_up_takes_nothing() {
        let (listener, process) = (Arc::new(Gate::new(2)), Arc::new(Gate::new(1)));
        let first = Permit::take(&listener, &process).await;
        let mut second = Box::pin(Permit::take(&listener, &process));
        assert!(futures_poll(&mut second).is_none());
        assert_eq!(listener.taken(), 2, "the listener's place is held while waiting for the process's");
        let mut third = Box::pin(Permit::take(&listener, &process));
        assert!(futures_poll(&mut third).is_none());
        drop(second);
        assert!(futures_poll(&mut third).is_none(), "now it waits for the process");
        drop(first);
        let third = third.await;
        assert_eq!((listener.taken(), process.taken()), (1, 1));
        drop(third);
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn a_peer_has_so_many_and_no_more() {
        let counts = PeerCounts::default();
        let key = PeerKey::User(1);
        assert!(counts.try_enter(key, 1) && !counts.try_enter(key, 1));
        assert!(counts.try_enter(PeerKey::User(2), 1));
        counts.leave(key);
        assert!(counts.try_enter(key, 1));
    }
}
