//! Remembers the kernel's drop counters, so that the sum of a listener's sockets never runs backwards.
//!
//! The kernel counts for each socket, and a reload may replace sockets: a new one starts at 0.

use std::collections::{BTreeMap, HashMap};

use crate::config::Transport;
use crate::net::sock_diag::Queue;
use crate::supervisor::ListenerView;

/// Datagrams that the kernel dropped, by listener.
#[derive(Debug, Default)]
pub(super) struct Drops {
    listeners: BTreeMap<String, Account>,
}

#[derive(Debug, Default)]
struct Account {
    total: u64,
    /// What each socket's counter said last, by inode.
    seen: HashMap<u64, u64>,
}

impl Drops {
    /// Takes over what the kernel says now. Listeners that are gone are forgotten.
    pub(super) fn update(&mut self, listeners: &[ListenerView], queues: &HashMap<u64, Queue>) {
        self.listeners.retain(|name, _| listeners.iter().any(|l| l.config.name == *name));
        for listener in listeners {
            let sockets = (listener.endpoints.iter())
                .filter(|endpoint| endpoint.transport == Transport::Udp)
                .filter_map(|endpoint| Some((endpoint.inode, queues.get(&endpoint.inode)?.drops)));
            self.listeners.entry(listener.config.name.clone()).or_default().update(sockets.collect());
        }
    }

    /// The total of a listener.
    pub(super) fn of(&self, listener: &str) -> u64 {
        self.listeners.get(listener).map_or(0, |account| account.total)
    }
}

impl Account {
    fn update(&mut self, now: HashMap<u64, u64>) {
        for (inode, drops) in &now {
            let before = self.seen.get(inode).copied().unwrap_or(0);
            // Less than before: another socket got the inode.
            self.total += drops.checked_sub(before).unwrap_or(*drops);
        }
        self.seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_only_grows_when_sockets_come_and_go() {
        let mut account = Account::default();
        let mut check = |now: &[(u64, u64)], total: u64| {
            account.update(now.iter().copied().collect());
            assert_eq!(account.total, total, "after {now:?}");
        };
        check(&[(1, 5), (2, 1)], 6);
        check(&[(1, 7), (2, 1)], 8);
        check(&[(3, 0), (2, 1)], 8);
        check(&[(3, 4)], 12);
        check(&[], 12);
        check(&[(3, 1)], 13);
        check(&[(3, 1)], 13);
    }
}
