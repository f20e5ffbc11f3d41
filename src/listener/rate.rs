//! How many datagrams each source may send: the generic cell rate algorithm over a table of fixed size.
//!
//! The memory is bounded whatever addresses an attacker forges: a set of entries that is full forgets the
//! source that has been quiet for the longest. A forged source cannot use up another one's rate.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sets in the table, and sources in a set: 4,096 sources.
const SETS: usize = 1024;
const WAYS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Entry {
    source: Option<IpAddr>,
    /// The theoretical arrival time: when the source will have used up nothing of its burst.
    even_at: Duration,
}

/// The rates of the sources that one loop hears.
#[derive(Debug)]
pub(super) struct SourceRates {
    start: Instant,
    hasher: RandomState,
    /// Made when the first source is looked at: most listeners only hear trusted ones.
    sets: Vec<[Entry; WAYS]>,
}

impl SourceRates {
    pub(super) fn new() -> Self {
        SourceRates { start: Instant::now(), hasher: RandomState::new(), sets: Vec::new() }
    }

    /// Whether a source may send one more now, by `rate` a second and `burst` at once (neither is 0).
    pub(super) fn admit(&mut self, source: IpAddr, now: Instant, rate: u32, burst: u32) -> bool {
        if self.sets.is_empty() {
            self.sets = vec![[Entry { source: None, even_at: Duration::ZERO }; WAYS]; SETS];
        }
        let now = now.saturating_duration_since(self.start);
        let interval = Duration::from_secs(1) / rate.max(1);
        let tolerance = interval * (burst.max(1) - 1);
        let index = usize::try_from(self.hasher.hash_one(source) % SETS as u64).unwrap_or(0);
        let set = &mut self.sets[index];
        let way = match set.iter().position(|entry| entry.source == Some(source)) {
            Some(way) => way,
            None => {
                let quietest = (0..WAYS).min_by_key(|way| set[*way].even_at).unwrap_or(0);
                set[quietest] = Entry { source: Some(source), even_at: Duration::ZERO };
                quietest
            }
        };
        let even_at = set[way].even_at.max(now);
        let admitted = even_at <= now + tolerance;
        if admitted {
            set[way].even_at = even_at + interval;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    #[test]
    fn a_source_has_its_burst_then_its_rate_and_takes_nothing_from_others() {
        let mut rates = SourceRates::new();
        let start = rates.start;
        let admitted = (0..100).filter(|_| rates.admit(ip(1), start, 10, 5)).count();
        assert_eq!(admitted, 5);
        assert!(rates.admit(ip(2), start, 10, 5));
        let second = start + Duration::from_secs(1);
        let admitted = (0..100).filter(|_| rates.admit(ip(1), second, 10, 5)).count();
        assert_eq!(admitted, 5, "a pause fills the burst, not more");
        let admitted: usize =
            (1..=100).filter(|n| rates.admit(ip(1), second + Duration::from_millis(10 * n), 10, 5)).count();
        assert_eq!(admitted, 10, "one second at ten a second");
    }

    #[test]
    fn forged_sources_take_no_more_memory() {
        let mut rates = SourceRates::new();
        let start = rates.start;
        for n in 0..200_000 {
            assert!(rates.admit(ip(n), start, 10, 5));
        }
        assert_eq!(rates.sets.len(), SETS);
    }
}
