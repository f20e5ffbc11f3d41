//! Wrong tokens by address: after ten in a minute it has to wait.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::net::PeerKey;

/// So many wrong tokens …
const MOST: usize = 10;

/// … in so long.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered. When it is full, the one that was wrong longest ago is forgotten: whoever has
/// so many addresses is not slowed by any such limit.
const ADDRESSES: usize = 1024;

/// The wrong tokens of the last minute.
#[derive(Debug, Default)]
pub(super) struct Strikes(Mutex<HashMap<PeerKey, VecDeque<Instant>>>);

impl Strikes {
    /// How long the address has to wait still; none where it may ask.
    pub(super) fn blocked(&self, peer: &PeerKey) -> Option<Duration> {
        self.blocked_at(peer, Instant::now())
    }

    /// Notes a wrong token.
    pub(super) fn strike(&self, peer: PeerKey) {
        self.strike_at(peer, Instant::now());
    }

    fn blocked_at(&self, peer: &PeerKey, now: Instant) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.get(&place(*peer))?;
        let oldest = *times.front().filter(|_| times.len() == MOST)?;
        (oldest + WINDOW).checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn strike_at(&self, peer: PeerKey, now: Instant) {
        let peer = place(peer);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES && !all.contains_key(&peer) {
            all.retain(|_, times| times.back().is_some_and(|last| *last + WINDOW > now));
            let oldest = all.iter().min_by_key(|(_, times)| times.back()).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest.filter(|_| all.len() >= ADDRESSES) {
                all.remove(&oldest);
            }
        }
        let times = all.entry(peer).or_default();
        if times.len() == MOST {
            times.pop_front();
        }
        times.push_back(now);
    }
}

/// What counts as one address: of IPv6 the network of a link, where a host has as many as it likes.
fn place(peer: PeerKey) -> PeerKey {
    match peer {
        PeerKey::Ip(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none() => {
            PeerKey::Ip(Ipv6Addr::from(u128::from(ip) >> 64 << 64).into())
        }
        PeerKey::Ip(ip) => PeerKey::Ip(ip.to_canonical()),
        user @ PeerKey::User(_) => user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> PeerKey {
        PeerKey::Ip(text.parse().unwrap())
    }

    #[test]
    fn ten_in_a_minute_block_until_the_first_is_a_minute_old() {
        let (strikes, start) = (Strikes::default(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        for n in 0..10 {
            assert_eq!(strikes.blocked_at(&peer("10.0.0.1"), second(n)), None, "after {n}");
            strikes.strike_at(peer("10.0.0.1"), second(n));
        }
        assert_eq!(strikes.blocked_at(&peer("10.0.0.1"), second(9)), Some(Duration::from_secs(51)));
        assert_eq!(strikes.blocked_at(&peer("10.0.0.2"), second(9)), None, "another address");
        assert_eq!(strikes.blocked_at(&peer("10.0.0.1"), second(60)), None);
        strikes.strike_at(peer("10.0.0.1"), second(60));
        assert_eq!(strikes.blocked_at(&peer("10.0.0.1"), second(60)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_addresses_of_one_link_are_one() {
        let (strikes, now) = (Strikes::default(), Instant::now());
        (0..10).for_each(|n| strikes.strike_at(peer(&format!("2001:db8::{n}")), now));
        assert!(strikes.blocked_at(&peer("2001:db8::ffff"), now).is_some());
        assert!(strikes.blocked_at(&peer("2001:db8:0:1::1"), now).is_none());
    }

    #[test]
    fn no_more_than_so_many_addresses_are_remembered() {
        let (strikes, start) = (Strikes::default(), Instant::now());
        for n in 0..2 * u32::try_from(ADDRESSES).unwrap() {
            let at = start + Duration::from_millis(u64::from(n));
            strikes.strike_at(PeerKey::Ip(std::net::Ipv4Addr::from(n).into()), at);
        }
        assert_eq!(strikes.0.lock().unwrap().len(), ADDRESSES);
    }
}
