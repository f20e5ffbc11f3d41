//! Which member a new connection gets. Pure but for the members' own counters.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::member::Member;
use crate::config::Balance;

/// Slots of the Maglev table: a prime, so that every step walks over all of them, and a hundred times as many as
/// upstreams usually have members, so that shares are even to a percent (Eisenbud et al., NSDI 2016, 3.4).
const SLOTS: usize = 4093;

/// A member that may be chosen, with its weight.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) member: Arc<Member>,
    pub(super) weight: u32,
}

/// A Maglev table: for each slot the place of a member in the upstream's list.
#[derive(Debug)]
pub(super) struct Table(Vec<u16>);

/// Chooses one; `key` is the client's address.
pub(super) fn choose<'a>(
    balance: Balance,
    candidates: &'a [Candidate],
    key: Option<IpAddr>,
    table: impl FnOnce() -> Option<&'a Candidate>,
) -> Option<&'a Candidate> {
    match (candidates, balance) {
        ([], _) => None,
        ([only], _) => Some(only),
        (_, Balance::RoundRobin) => round_robin(candidates),
        (_, Balance::LeastConnections) => least(candidates),
        (_, Balance::Source) => rendezvous(candidates, key),
        (_, Balance::RandomTwo) => random_two(candidates),
        (_, Balance::Maglev) => table().or_else(|| rendezvous(candidates, key)),
    }
}

/// Smooth weighted round-robin: each gains its weight, the richest pays for all. To be called under a lock.
fn round_robin(candidates: &[Candidate]) -> Option<&Candidate> {
    let total: i64 = candidates.iter().map(|c| i64::from(c.weight)).sum();
    for candidate in candidates {
        candidate.member.turn.fetch_add(i64::from(candidate.weight), Relaxed);
    }
    // The first of equals, so that the order of the file is the order of turns.
    let richest = candidates.iter().rev().max_by_key(|c| c.member.turn.load(Relaxed))?;
    richest.member.turn.fetch_sub(total, Relaxed);
    Some(richest)
}

/// What a member would carry for its weight with one more connection.
fn load(candidate: &Candidate) -> f64 {
    (candidate.member.account().active() + 1) as f64 / f64::from(candidate.weight)
}

/// The least loaded; equals take turns.
fn least(candidates: &[Candidate]) -> Option<&Candidate> {
    let lowest = candidates.iter().map(load).min_by(f64::total_cmp)?;
    let equal: Vec<&Candidate> = candidates.iter().filter(|c| load(c) <= lowest).collect();
    equal.get(fastrand::usize(..equal.len().max(1))).copied()
}

/// Weighted rendezvous hashing: every member has a score for the client, the highest wins, so that a member that
/// goes moves its own clients only (Thaler and Ravishankar 1998; weights by -w / ln h).
fn rendezvous(candidates: &[Candidate], key: Option<IpAddr>) -> Option<&Candidate> {
    let score = |candidate: &Candidate| {
        let hash = hash(&(key, candidate.member.endpoint().to_string()), 0);
        let unit = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(candidate.weight) / unit.ln()
    };
    candidates.iter().max_by(|a, b| score(a).total_cmp(&score(b)))
}

fn random_two(candidates: &[Candidate]) -> Option<&Candidate> {
    let total: u64 = candidates.iter().map(|c| u64::from(c.weight)).sum();
    let draw = || {
        let mut at = fastrand::u64(..total.max(1));
        candidates.iter().find(|c| match at.checked_sub(u64::from(c.weight)) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        })
    };
    let (one, two) = (draw()?, draw()?);
    // The draw has the weights already: of two that carry nothing the first one stays.
    let carries = |c: &Candidate| c.member.account().active() as f64 / f64::from(c.weight);
    Some(if carries(two) < carries(one) { two } else { one })
}

impl Table {
    /// A table over members, named by their endpoints, with their weights.
    pub(super) fn new(members: &[(String, u32)]) -> Option<Self> {
        if members.is_empty() || members.len() > SLOTS {
            return None;
        }
        const FREE: u16 = u16::MAX;
        let mut slots = vec![FREE; SLOTS];
        let walks: Vec<(usize, usize)> = members
            .iter()
            .map(|(name, _)| {
                let start = hash(name, 1) % SLOTS as u64;
                let step = hash(name, 2) % (SLOTS as u64 - 1) + 1;
                (start as usize, step as usize)
            })
            .collect();
        let most = members.iter().map(|(_, weight)| *weight).max().unwrap_or(1);
        let mut steps = vec![0; members.len()];
        let mut credit = vec![0_u64; members.len()];
        let mut free = SLOTS;
        while free > 0 {
            for (index, (_, weight)) in members.iter().enumerate() {
                // A heavier member takes a slot in more of the rounds.
                credit[index] += u64::from(*weight);
                if credit[index] < u64::from(most) {
                    continue;
                }
                credit[index] -= u64::from(most);
                let (start, step) = walks[index];
                loop {
                    let slot = (start + steps[index] * step) % SLOTS;
                    steps[index] += 1;
                    if slots[slot] == FREE {
                        slots[slot] = index as u16;
                        free -= 1;
                        break;
                    }
                }
                if free == 0 {
                    break;
                }
            }
        }
        Some(Table(slots))
    }

    /// The members' places for a client, the first one first: the next ones stand in when it is out.
    pub(super) fn walk(&self, key: Option<IpAddr>) -> impl Iterator<Item = usize> {
        let start = (hash(&key, 3) % SLOTS as u64) as usize;
        (0..SLOTS).map(move |offset| usize::from(self.0[(start + offset) % SLOTS]))
    }
}

fn hash(value: &impl Hash, seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let stats = Arc::new(Stats::new());
        let member = |(index, weight): (usize, &u32)| {
            let endpoint: crate::config::Endpoint = format!("tcp://10.0.0.{index}:1").parse().unwrap();
            let account = stats.upstream("u", &endpoint.to_string());
            Candidate { member: Arc::new(Member::new(endpoint, account, stats.clone())), weight: *weight }
        };
        weights.iter().enumerate().map(member).collect()
    }

    fn client(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n)))
    }

    /// How often each is chosen by so many clients.
    fn shares(balance: Balance, candidates: &[Candidate], clients: u32) -> Vec<u32> {
        let mut counts = vec![0; candidates.len()];
        for n in 0..clients {
            let chosen = choose(balance, candidates, client(n), || None).unwrap();
            let place = candidates.iter().position(|c| Arc::ptr_eq(&c.member, &chosen.member)).unwrap();
            counts[place] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_is_exact_and_smooth() {
        let all = candidates(&[5, 1, 1]);
        let order: Vec<usize> = (0..7)
            .map(|_| {
                let chosen = choose(Balance::RoundRobin, &all, None, || None).unwrap();
                all.iter().position(|c| Arc::ptr_eq(&c.member, &chosen.member)).unwrap()
            })
            .collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn weights_are_the_shares() {
        for balance in [Balance::Source, Balance::RandomTwo] {
            let counts = shares(balance, &candidates(&[1, 3]), 4_000);
            assert!((800..1_200).contains(&counts[0]), "{balance:?}: {counts:?}");
        }
    }

    #[test]
    fn a_client_stays_with_its_member_when_another_goes() {
        let all = candidates(&[1, 1, 1, 1]);
        let fewer = &all[..3];
        for n in 0..500 {
            let before = choose(Balance::Source, &all, client(n), || None).unwrap();
            let after = choose(Balance::Source, fewer, client(n), || None).unwrap();
            let gone = Arc::ptr_eq(&before.member, &all[3].member);
            assert!(gone || Arc::ptr_eq(&before.member, &after.member), "client {n} moved");
        }
    }

    #[test]
    fn a_maglev_table_is_full_even_and_moves_few() {
        let names = |n: usize| (0..n).map(|i| (format!("tcp://10.0.0.{i}:1"), 1)).collect::<Vec<_>>();
        let (four, three) = (Table::new(&names(4)).unwrap(), Table::new(&names(3)).unwrap());
        for member in 0..4 {
            let share = four.0.iter().filter(|slot| usize::from(**slot) == member).count();
            assert!((1_000..1_047).contains(&share), "{member}: {share}");
        }
        let moved = four.0.iter().zip(&three.0).filter(|(old, new)| **old != 3 && old != new).count();
        assert!(moved < SLOTS / 8, "{moved} of {SLOTS} slots moved for nothing");
        assert!(Table::new(&[]).is_none());
        let heavy = Table::new(&[("a".into(), 3), ("b".into(), 1)]).unwrap();
        let share = heavy.0.iter().filter(|slot| **slot == 0).count();
        assert!((3_000..3_140).contains(&share), "{share}");
    }
}
