//! What a listener counts across its endpoints and configurations: places, rate, and how many are still to come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::net::{Gate, PeerCounts};

/// The state of one listener that outlives a reload.
#[derive(Debug)]
pub struct Door {
    /// Its places.
    pub gate: Arc<Gate>,
    /// Its conns by peer.
    pub peers: Arc<PeerCounts>,
    rate: Mutex<Bucket>,
    /// `accept_total`, 0 for no limit, and how many of it are left.
    total: u64,
    left: AtomicU64,
    stopped: CancellationToken,
    /// Whether somebody has been told that it has stopped.
    told: AtomicBool,
    pause: watch::Sender<Steered>,
}

/// What was asked of a listener last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steered {
    pause: Pause,
    /// Counts what was asked.
    number: u64,
}

/// Whether a listener accepts, as its operator wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// It does.
    No,
    /// It keeps its ports and does not.
    Paused,
    /// It does not, and its conns have been asked to finish.
    Draining,
}

impl Door {
    /// For `max_connections`, `accept_rate` and `accept_total`, each 0 for no limit but the first.
    pub fn new(max_connections: usize, rate: u32, total: u64) -> Self {
        Door {
            gate: Arc::new(Gate::new(max_connections)),
            peers: Arc::default(),
            rate: Mutex::new(Bucket::new(rate)),
            total,
            left: AtomicU64::new(total),
            stopped: CancellationToken::new(),
            told: AtomicBool::new(false),
            pause: watch::Sender::new(Steered { pause: Pause::No, number: 0 }),
        }
    }

    /// Whether it accepts, as its operator wants it.
    pub fn pause(&self) -> Pause {
        self.pause.borrow().pause
    }

    /// Takes effect with the next connection or datagram. Returns the number of this change, see [`Door::is_at`].
    pub fn set_pause(&self, pause: Pause) -> u64 {
        let mut number = 0;
        self.pause.send_modify(|state| {
            state.number += 1;
            state.pause = pause;
            number = state.number;
        });
        number
    }

    /// Whether nothing has been asked of it since the change with that number.
    pub fn is_at(&self, number: u64) -> bool {
        self.pause.borrow().number == number
    }

    /// Hears of every change.
    pub(super) fn watch_pause(&self) -> watch::Receiver<Steered> {
        self.pause.subscribe()
    }

    /// True once, after `accept_total` has been used up.
    pub(super) fn tells_stopped(&self) -> bool {
        self.stopped.is_cancelled() && !self.told.swap(true, Relaxed)
    }

    /// The same place for a new `accept_total`: who is inside is still counted.
    #[must_use]
    pub fn renewed(&self, rate: u32, total: u64) -> Self {
        let mut door = Door::new(self.gate.limit(), rate, total);
        door.gate = self.gate.clone();
        door.peers = self.peers.clone();
        door
    }

    /// Its `accept_total`.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Changes `accept_rate`.
    pub fn set_rate(&self, rate: u32) {
        let mut bucket = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.rate != f64::from(rate) {
            *bucket = Bucket::new(rate);
        }
    }

    /// Whether one more may come now.
    pub fn in_rate(&self) -> bool {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }

    /// Takes one of `accept_total`; false if none is left. The last one stops the listener.
    pub fn take_one(&self) -> bool {
        if self.total == 0 {
            return true;
        }
        match self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(left) => {
                if left == 1 {
                    self.stopped.cancel();
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Cancelled once `accept_total` is used up.
    pub fn stopped(&self) -> &CancellationToken {
        &self.stopped
    }
}

/// A token bucket: `rate` a second, at most one second's worth at once.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        Bucket { rate: f64::from(rate), tokens: f64::from(rate), filled_at: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.rate == 0.0 {
            return true;
        }
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(self.rate);
        self.filled_at = now;
        let room = self.tokens >= 1.0;
        if room {
            self.tokens -= 1.0;
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_gives_a_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(2);
        let start = bucket.filled_at;
        assert!(bucket.take(start) && bucket.take(start) && !bucket.take(start));
        assert!(!bucket.take(start + Duration::from_millis(400)));
        assert!(bucket.take(start + Duration::from_millis(500)));
        let later = start + Duration::from_secs(60);
        assert!(bucket.take(later) && bucket.take(later) && !bucket.take(later), "no more than a burst");
    }

    #[test]
    fn the_last_of_a_total_stops_the_listener() {
        let door = Door::new(1, 0, 2);
        assert!(door.take_one() && !door.stopped().is_cancelled());
        assert!(door.take_one() && door.stopped().is_cancelled());
        assert!(!door.take_one());
        assert!(Door::new(1, 0, 0).take_one());
    }
}
