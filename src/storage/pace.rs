//! How fast bytes may move: one bucket a home, shared by everybody who moves bytes of it.
//!
//! Whoever wants to move a piece waits for its turn, moves it, and says then how much it was. What was moved is owed:
//! the next turn comes when it has been paid off at the rate. Those who wait are served in the order in which they
//! came, and sleep meanwhile. Nothing is saved up: after a rest the first piece goes at once, and no more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// In `own`: it has no rate of its own.
const NOT_SET: u64 = u64::MAX;

/// The bucket of one home.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second; 0 is no limit.
    own: AtomicU64,
    /// Until when what was moved is owed.
    owed: Mutex<Option<Instant>>,
    /// Held by the one whose turn is next.
    turn: tokio::sync::Mutex<()>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { own: NOT_SET.into(), owed: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl Pace {
    /// Gives it a rate of its own, in bytes a second; 0 is none at all, and None that of whoever asks. Takes effect
    /// with the next turn.
    pub fn set_own(&self, rate: Option<u64>) {
        self.own.store(rate.unwrap_or(NOT_SET), Relaxed);
    }

    /// The rate that holds where `default` is that of others. None is no limit.
    pub fn rate(&self, default: Option<u64>) -> Option<u64> {
        match self.own.load(Relaxed) {
            NOT_SET => default,
            0 => None,
            own => Some(own),
        }
    }

    /// Waits until a piece may be moved. To be asked only where there is a rate.
    pub async fn turn(&self) {
        let _turn = self.turn.lock().await;
        let until = *self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until
            && until > Instant::now()
        {
            sleep_until(until).await;
        }
    }

    /// So many bytes were moved, at that rate.
    pub fn moved(&self, bytes: u64, rate: u64) {
        let now = Instant::now();
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed = Some(owed.map_or(now, |until| until.max(now)) + time_of(bytes, rate));
    }
}

/// How long so many bytes take. Rounded up, so that many small pieces are not faster than one large one.
fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
    // A debt is never beyond any clock.
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).min(3_600_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves so many pieces of 1000 bytes, each in its turn.
    async fn run(pace: &Pace, pieces: u32, rate: u64) {
        for _ in 0..pieces {
            pace.turn().await;
            pace.moved(1000, rate);
        }
    }

    // The clock of these tests is paused: it moves when everybody sleeps, by exactly as much as they do.

    #[tokio::test(start_paused = true)]
    async fn bytes_move_at_the_rate() {
        let pace = Pace::default();
        let began = Instant::now();
        run(&pace, 101, 10_000).await;
        // The first piece goes at once.
        assert_eq!(began.elapsed().as_millis(), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_share_it_move_together_as_fast_as_one_and_alike() {
        let pace = Pace::default();
        let began = Instant::now();
        let finish = async |pieces| {
            run(&pace, pieces, 10_000).await;
            began.elapsed().as_millis()
        };
        let (a, b, c) = tokio::join!(finish(50), finish(50), finish(50));
        let last = a.max(b).max(c);
        // Up to one piece each may be under way beyond the rate.
        assert!((14_700..=15_000).contains(&last), "{last} ms");
        assert!(a.min(b).min(c) + 500 >= last, "{a}, {b}, {c}: one was served before the others");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_saved_up_in_a_rest() {
        let pace = Pace::default();
        run(&pace, 5, 10_000).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let began = Instant::now();
        run(&pace, 11, 10_000).await;
        assert_eq!(began.elapsed().as_millis(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_anew_pays_what_is_owed_first() {
        let pace = Pace::default();
        pace.moved(10_000, 10_000);
        let began = Instant::now();
        run(&pace, 1, 10_000).await;
        assert_eq!(began.elapsed().as_millis(), 1000);
    }

    #[test]
    fn its_own_rate_goes_before_that_of_the_asker() {
        let pace = Pace::default();
        assert_eq!((pace.rate(None), pace.rate(Some(5))), (None, Some(5)));
        pace.set_own(Some(7));
        assert_eq!((pace.rate(None), pace.rate(Some(5))), (Some(7), Some(7)));
        pace.set_own(Some(0));
        assert_eq!((pace.rate(None), pace.rate(Some(5))), (None, None));
    }

    #[test]
    fn small_pieces_are_not_faster_than_large_ones() {
        assert_eq!(time_of(1, 3) * 3, time_of(3, 3) + Duration::from_nanos(2));
        assert!(time_of(u64::MAX, 0) <= Duration::from_secs(3600));
    }
}
