//! The bandwidth of an account, as transfers ask for it.

use tokio_util::sync::CancellationToken;

use super::pump::Failure;
use crate::storage::Home;

/// The smallest piece: what is smaller costs more than it moves.
const SMALLEST: u64 = 4 * 1024;

/// How many pieces a second are moved at least, so that transfers flow and those who share take turns.
const PIECES: u64 = 16;

/// What one transfer knows of it.
pub(super) struct Pacer {
    home: Home,
    /// For accounts that have no rate of their own, in bytes a second.
    default: Option<u64>,
}

impl Pacer {
    pub(super) fn new(home: Home, default: Option<u64>) -> Self {
        Pacer { home, default }
    }

    fn rate(&self) -> Option<u64> {
        self.home.usage().pace().rate(self.default)
    }

    /// Waits for the next piece's turn, and says how much it may be of so much.
    pub(super) async fn turn(&self, most: u64, abort: &CancellationToken) -> Result<u64, Failure> {
        let Some(rate) = self.rate() else { return Ok(most) };
        tokio::select! {
            biased;
            () = abort.cancelled() => Err(Failure::Aborted),
            () = self.home.usage().pace().turn() => Ok(most.min((rate / PIECES).max(SMALLEST))),
        }
    }

    /// So much of it was moved.
    pub(super) fn moved(&self, bytes: usize) {
        if let Some(rate) = self.rate() {
            self.home.usage().pace().moved(bytes as u64, rate);
        }
    }
}
