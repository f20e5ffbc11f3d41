//! What to do about errors of accept: none of them ends a loop.

use std::io;
use std::time::{Duration, Instant};

use crate::stats::AcceptError;

/// The first and the longest pause after an error that will not go away at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How often such an error is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Pauses after errors of accept, ever longer ones while they last.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
    logged_at: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { pause: PAUSES.0, logged_at: None }
    }
}

impl Backoff {
    /// After a success the next pause is a short one again.
    pub fn reset(&mut self) {
        self.pause = PAUSES.0;
    }

    /// How long to pause now: 10 ms, and each time twice as long, up to 500 ms.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        pause
    }

    /// Whether the error is to be logged: one in five seconds is.
    pub fn may_log(&mut self) -> bool {
        let may = self.logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if may {
            self.logged_at = Some(Instant::now());
        }
        may
    }
}

/// `accept(2)` also passes on errors of the new connection's network, which concern that one only.
pub fn classify(error: &io::Error) -> AcceptError {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => AcceptError::Emfile,
        Some(Errno::NFILE) => AcceptError::Enfile,
        Some(Errno::NOBUFS | Errno::NOMEM) => AcceptError::Enobufs,
        Some(
            Errno::CONNABORTED
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH,
        ) => AcceptError::Econnaborted,
        _ => AcceptError::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_second_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.next_pause().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 500, 500]);
        backoff.reset();
        assert_eq!(backoff.next_pause(), PAUSES.0);
    }

    #[test]
    fn one_error_of_many_is_logged() {
        let mut backoff = Backoff::default();
        assert!(backoff.may_log());
        backoff.reset();
        assert!(!backoff.may_log());
    }

    #[test]
    fn an_error_of_one_connection_is_told_from_one_of_ours() {
        let error = |errno: rustix::io::Errno| classify(&errno.into());
        assert_eq!(error(rustix::io::Errno::MFILE), AcceptError::Emfile);
        assert_eq!(error(rustix::io::Errno::NOMEM), AcceptError::Enobufs);
        assert_eq!(error(rustix::io::Errno::HOSTUNREACH), AcceptError::Econnaborted);
        assert_eq!(error(rustix::io::Errno::INVAL), AcceptError::Other);
    }
}
