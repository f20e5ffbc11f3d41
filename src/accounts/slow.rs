//! Failed logins make the next ones wait, by address and by name: slowed, never locked out.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::net::PeerKey;

/// The most addresses, and the most names, that are remembered. What is longest at rest is forgotten first.
const REMEMBERED: usize = 16_384;

/// One failure is forgotten each time that this has passed without another.
const FORGETS: Duration = Duration::from_secs(10);

/// The most failures that are remembered of one: after so many there is nothing to be added.
const MOST_FAILURES: u32 = 60;

/// How many failures cost nothing, and what the next ones cost: each twice the one before.
const FREE: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait. Of a name it is shorter: strangers must not keep an account's owner waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT_OF_A_NAME: Duration = Duration::from_secs(2);

/// How long an attempt may wait behind others of its address; those beyond are refused unseen.
const LONGEST_QUEUE: Duration = Duration::from_secs(30);

/// What failed of late.
#[derive(Debug, Default)]
pub(super) struct Slowdown {
    addresses: Mutex<Failures<PeerKey>>,
    names: Mutex<Failures<String>>,
}

#[derive(Debug)]
struct Failures<K>(HashMap<K, Record>);

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Failures(HashMap::new())
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    /// When the next attempt may be looked at.
    next: Instant,
    last: Instant,
}

impl Slowdown {
    /// How long this attempt waits. One that has to wait takes its turn: the next one waits longer, so that many
    /// connections get no more attempts than one. None: too many of its address wait already.
    pub(super) fn wait(&self, peer: Option<PeerKey>, name: &str, now: Instant) -> Option<Duration> {
        let of_address = peer
            .map_or(Duration::ZERO, |peer| locked(&self.addresses).wait(&network(peer), LONGEST_WAIT, now));
        if of_address > LONGEST_QUEUE {
            return None;
        }
        let of_name = locked(&self.names).wait(&name.to_owned(), LONGEST_WAIT_OF_A_NAME, now);
        Some(of_address.max(of_name.min(LONGEST_WAIT_OF_A_NAME)))
    }

    /// The attempt failed.
    pub(super) fn failed(&self, peer: Option<PeerKey>, name: &str, now: Instant) {
        if let Some(peer) = peer {
            locked(&self.addresses).failed(network(peer), LONGEST_WAIT, now);
        }
        locked(&self.names).failed(name.to_owned(), LONGEST_WAIT_OF_A_NAME, now);
    }

    /// The attempt succeeded: the name is forgiven. The address is not, or its owner could guess at other names
    /// in between.
    pub(super) fn succeeded(&self, name: &str) {
        locked(&self.names).0.remove(name);
    }
}

impl Record {
    fn forget(&mut self, now: Instant) {
        let steps = u32::try_from(now.duration_since(self.last).as_secs() / FORGETS.as_secs());
        let steps = steps.unwrap_or(u32::MAX).min(self.failures);
        self.failures -= steps;
        self.last += FORGETS * steps;
    }
}

impl<K: Hash + Eq + Clone> Failures<K> {
    fn wait(&mut self, key: &K, longest: Duration, now: Instant) -> Duration {
        let Some(record) = self.0.get_mut(key) else { return Duration::ZERO };
        record.forget(now);
        let wait = record.next.saturating_duration_since(now);
        if !wait.is_zero() && wait <= LONGEST_QUEUE {
            record.next += penalty(record.failures, longest);
        }
        wait
    }

    fn failed(&mut self, key: K, longest: Duration, now: Instant) {
        if !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let record = self.0.entry(key).or_insert(Record { failures: 0, next: now, last: now });
        record.forget(now);
        record.failures = (record.failures + 1).min(MOST_FAILURES);
        record.last = now;
        record.next = record.next.max(now + penalty(record.failures, longest));
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() < REMEMBERED {
            return;
        }
        self.0.retain(|_, record| {
            record.forget(now);
            record.failures > 0
        });
        if self.0.len() < REMEMBERED {
            return;
        }
        // The older half goes, so that this is done once in a while and not each time.
        let mut ages: Vec<Instant> = self.0.values().map(|record| record.last).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        self.0.retain(|_, record| record.last > median);
    }
}

fn penalty(failures: u32, longest: Duration) -> Duration {
    match failures.checked_sub(FREE) {
        None | Some(0) => Duration::ZERO,
        Some(over) => FIRST_WAIT.saturating_mul(1 << (over - 1).min(16)).min(longest),
    }
}

/// An IPv6 host has a whole /64 to itself.
fn network(peer: PeerKey) -> PeerKey {
    match peer {
        PeerKey::Ip(IpAddr::V6(ip)) => {
            PeerKey::Ip(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))))
        }
        other => other,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn peer(text: &str) -> Option<PeerKey> {
        Some(PeerKey::Ip(text.parse().unwrap()))
    }

    fn wait(slow: &Slowdown, address: &str, name: &str, now: Instant) -> Duration {
        slow.wait(peer(address), name, now).unwrap()
    }

    #[test]
    fn a_queue_has_an_end() {
        let (slow, now) = (Slowdown::default(), Instant::now());
        for _ in 0..20 {
            slow.failed(peer("192.0.2.1"), "n", now);
        }
        let waits = std::iter::from_fn(|| slow.wait(peer("192.0.2.1"), "n", now)).take(100);
        assert_eq!(waits.map(|wait| wait.as_secs()).collect::<Vec<_>>(), [4, 8, 12, 16, 20, 24, 28]);
    }

    #[test]
    fn failures_of_an_address_slow_it_whatever_the_name() {
        let (slow, now) = (Slowdown::default(), Instant::now());
        for n in 0..4 {
            assert_eq!(wait(&slow, "192.0.2.1", &format!("n{n}"), now), Duration::ZERO);
            slow.failed(peer("192.0.2.1"), &format!("n{n}"), now);
        }
        assert_eq!(wait(&slow, "192.0.2.1", "new", now), 250 * MS);
        // The second connection waits behind the first.
        assert_eq!(wait(&slow, "192.0.2.1", "new", now), 500 * MS);
        assert_eq!(wait(&slow, "192.0.2.2", "new", now), Duration::ZERO);
        slow.succeeded("new");
        assert!(wait(&slow, "192.0.2.1", "new", now) > Duration::ZERO);
        // Four failures; one is forgotten after ten seconds, and three are free.
        assert_eq!(wait(&slow, "192.0.2.1", "new", now + FORGETS), Duration::ZERO);
    }

    #[test]
    fn failures_of_a_name_slow_it_wherever_they_come_from_and_success_ends_that() {
        let (slow, now) = (Slowdown::default(), Instant::now());
        for n in 0..40 {
            slow.failed(peer(&format!("2001:db8:{n}::1")), "root", now);
        }
        assert_eq!(wait(&slow, "192.0.2.9", "root", now), LONGEST_WAIT_OF_A_NAME);
        slow.succeeded("root");
        assert_eq!(wait(&slow, "192.0.2.9", "root", now), Duration::ZERO);
    }

    #[test]
    fn neighbours_in_an_ipv6_network_are_one_and_memory_is_bounded() {
        let (slow, now) = (Slowdown::default(), Instant::now());
        for n in 0..4 {
            slow.failed(peer(&format!("2001:db8::{n}")), &n.to_string(), now);
        }
        assert_eq!(wait(&slow, "2001:db8::ffff", "x", now), 250 * MS);
        for n in 0..(3 * REMEMBERED as u64) {
            slow.failed(None, &n.to_string(), now + MS * u32::try_from(n).unwrap());
        }
        assert!(locked(&slow.names).0.len() <= REMEMBERED);
    }
}
